//! Instructions that a service has no business with, as bytes. The service has each as a function of its text.
//!
//! Which exception comes first where several apply, is the processor's: APM vol. 2 §8.6, and the pages of vol. 3.

use crate::cases::Ends::{self, Answers, Bounded, Exception};

/// An instruction, or a few.
pub struct Instruction {
    /// For people.
    pub name: &'static str,
    /// The code. RAX, RCX, RDX are 0 before it.
    pub code: &'static [u8],
    /// What must become of who executes it.
    pub ends: Ends,
}

const fn new(name: &'static str, code: &'static [u8], ends: Ends) -> Instruction {
    Instruction { name, code, ends }
}

const DE: Ends = Exception(&[0]);
const DB: Ends = Exception(&[1]);
const UD: Ends = Exception(&[6]);
/// No FPU state is kept for services, so CR0 or CR4 forbid it: #UD or #NM.
const FPU: Ends = Exception(&[6, 7]);
const GP: Ends = Exception(&[13]);
/// Not there or not allowed: depends on what the processor has and EFER says.
const UD_GP: Ends = Exception(&[6, 13]);
/// A way to ring 0 is not for ring 3.
const FRAME: Ends = Exception(&[13, 14]);
/// A gate of ring 0's (#GP), or none (#GP or #NP).
const GATE: Ends = Exception(&[11, 13]);
/// What the hypervisor intercepts: #VC.
const VC: Ends = Exception(&[29]);

/// All of them.
#[rustfmt::skip] // a table
pub const INSTRUCTIONS: &[Instruction] = &[
    new("nop", &[0x90], Answers(0)),
    // Ring 0's.
    new("hlt", &[0xF4], GP),
    new("cli", &[0xFA], GP),
    new("sti", &[0xFB], GP),
    new("clts", &[0x0F, 0x06], GP),
    new("invd", &[0x0F, 0x08], GP),
    new("wbinvd", &[0x0F, 0x09], GP),
    new("mov cr0, rax", &[0x0F, 0x22, 0xC0], GP),
    new("mov cr3, rax", &[0x0F, 0x22, 0xD8], GP),
    new("mov cr4, rax", &[0x0F, 0x22, 0xE0], GP),
    new("mov cr8, rax", &[0x44, 0x0F, 0x22, 0xC0], GP),
    new("mov rax, cr2", &[0x0F, 0x20, 0xD0], GP),
    new("mov rax, cr3", &[0x0F, 0x20, 0xD8], GP),
    new("mov dr7, rax", &[0x0F, 0x23, 0xF8], GP),
    new("lmsw ax", &[0x0F, 0x01, 0xF0], GP),
    new("rdmsr", &[0x0F, 0x32], GP),
    new("wrmsr", &[0x0F, 0x30], GP),
    new("lgdt [rsp]", &[0x0F, 0x01, 0x14, 0x24], GP),
    new("lidt [rsp]", &[0x0F, 0x01, 0x1C, 0x24], GP),
    new("lldt ax", &[0x0F, 0x00, 0xD0], GP),
    new("ltr ax", &[0x0F, 0x00, 0xD8], GP),
    new("invlpg [rsp]", &[0x0F, 0x01, 0x3C, 0x24], GP),
    new("swapgs", &[0x0F, 0x01, 0xF8], GP),
    new("rdpmc", &[0x0F, 0x33], GP),
    new("xsetbv", &[0x0F, 0x01, 0xD1], UD_GP),
    new("clac", &[0x0F, 0x01, 0xCA], UD_GP),
    new("stac", &[0x0F, 0x01, 0xCB], UD_GP),
    new("monitor", &[0x0F, 0x01, 0xC8], UD_GP),
    new("mwait", &[0x0F, 0x01, 0xC9], UD_GP),
    // Ports.
    new("in al, dx", &[0xEC], GP),
    new("out dx, al", &[0xEE], GP),
    new("insb", &[0x6C], GP),
    new("outsb", &[0x6E], GP),
    // Ways into ring 0.
    new("syscall", &[0x0F, 0x05], UD),
    new("sysenter", &[0x0F, 0x34], UD_GP),
    new("sysexit", &[0x0F, 0x35], UD_GP),
    new("sysretq", &[0x48, 0x0F, 0x07], UD_GP),
    // push 0x10; push rsp; pushfq; push 8; push 0x400000. QEMU reads this frame as ring 0 would, which SMAP forbids.
    new("iretq to ring 0", &[0x6A, 0x10, 0x54, 0x9C, 0x6A, 0x08, 0x68, 0, 0, 0x40, 0, 0x48, 0xCF], FRAME),
    new("far return to ring 0", &[0x6A, 0x08, 0x68, 0, 0, 0x40, 0, 0x48, 0xCB], FRAME),
    new("int 0x00", &[0xCD, 0x00], GATE),
    new("int 0x01", &[0xCD, 0x01], GATE),
    new("int 0x02", &[0xCD, 0x02], GATE),
    new("int 0x03", &[0xCD, 0x03], GATE),
    new("int 0x08", &[0xCD, 0x08], GATE),
    new("int 0x0e", &[0xCD, 0x0E], GATE),
    new("int 0x1c", &[0xCD, 0x1C], GATE),
    new("int 0x1d", &[0xCD, 0x1D], GATE),
    new("int 0x20", &[0xCD, 0x20], GATE),
    new("int 0x7f", &[0xCD, 0x7F], GATE),
    new("int 0x81", &[0xCD, 0x81], GATE),
    new("int 0xff", &[0xCD, 0xFF], GATE),
    // The machine's.
    new("vmrun", &[0x0F, 0x01, 0xD8], UD_GP),
    new("vmload", &[0x0F, 0x01, 0xDA], UD_GP),
    new("vmsave", &[0x0F, 0x01, 0xDB], UD_GP),
    new("stgi", &[0x0F, 0x01, 0xDC], UD_GP),
    new("clgi", &[0x0F, 0x01, 0xDD], UD_GP),
    new("skinit", &[0x0F, 0x01, 0xDE], UD_GP),
    new("invlpga", &[0x0F, 0x01, 0xDF], UD_GP),
    new("pvalidate", &[0xF2, 0x0F, 0x01, 0xFF], UD_GP),
    new("rmpadjust", &[0xF3, 0x0F, 0x01, 0xFE], UD_GP),
    new("rmpupdate", &[0xF2, 0x0F, 0x01, 0xFE], UD_GP),
    new("psmash", &[0xF3, 0x0F, 0x01, 0xFF], UD_GP),
    new("vmmcall", &[0x0F, 0x01, 0xD9], Exception(&[6, 29])),
    // VMGEXIT is allowed in every ring: the host gets whatever the kernel left in its GHCB. It must find nothing to do.
    new("vmgexit", &[0xF3, 0x0F, 0x01, 0xD9], Bounded),
    new("cpuid", &[0x0F, 0xA2], VC),
    // What a processor may let everybody do.
    new("rdtsc", &[0x0F, 0x31], Bounded),
    new("rdtscp", &[0x0F, 0x01, 0xF9], Bounded),
    new("rdpru", &[0x0F, 0x01, 0xFD], Bounded),
    new("rdrand rax", &[0x48, 0x0F, 0xC7, 0xF0], Bounded),
    new("rdseed rax", &[0x48, 0x0F, 0xC7, 0xF8], Bounded),
    new("sgdt [rsp-16]", &[0x0F, 0x01, 0x44, 0x24, 0xF0], Bounded),
    new("sidt [rsp-16]", &[0x0F, 0x01, 0x4C, 0x24, 0xF0], Bounded),
    new("sldt eax", &[0x0F, 0x00, 0xC0], Bounded),
    new("str eax", &[0x0F, 0x00, 0xC8], Bounded),
    new("smsw eax", &[0x0F, 0x01, 0xE0], Bounded),
    new("wrfsbase rax", &[0xF3, 0x48, 0x0F, 0xAE, 0xD0], Bounded),
    new("wrgsbase rax", &[0xF3, 0x48, 0x0F, 0xAE, 0xD8], Bounded),
    new("xgetbv", &[0x0F, 0x01, 0xD0], Bounded),
    new("clflush [rsp]", &[0x0F, 0xAE, 0x3C, 0x24], Bounded),
    new("monitorx; mwaitx", &[0x48, 0x89, 0xE0, 0x0F, 0x01, 0xFA, 0x31, 0xC0, 0x0F, 0x01, 0xFB], Bounded),
    // State that is not switched between services.
    new("fld1", &[0xD9, 0xE8], FPU),
    new("pxor mm0, mm0", &[0x0F, 0xEF, 0xC0], FPU),
    new("pxor xmm0, xmm0", &[0x66, 0x0F, 0xEF, 0xC0], FPU),
    new("vzeroupper", &[0xC5, 0xF8, 0x77], FPU),
    // Wrong in any ring.
    new("ud2", &[0x0F, 0x0B], UD),
    new("into", &[0xCE], UD),
    new("lock nop", &[0xF0, 0x90], UD),
    new("div ecx", &[0x31, 0xC9, 0xF7, 0xF1], DE),
    new("int3", &[0xCC], Exception(&[3, 11, 13])),
    // Some emulators have no ICEBP.
    new("icebp", &[0xF1], Exception(&[1, 6])),
    // pushfq; or dword ptr [rsp], 0x100; popfq; nop
    new("nop with TF", &[0x9C, 0x81, 0x0C, 0x24, 0, 1, 0, 0, 0x9D, 0x90], DB),
    new("nop of 16 bytes", &[0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90], UD_GP),
];

/// Bytes for each of them in the service's text.
pub const ROOM: usize = 32;

/// The text: each instruction, and returns up to the next.
pub const fn text() -> [[u8; ROOM]; INSTRUCTIONS.len()] {
    const RET: u8 = 0xC3;
    let mut text = [[RET; ROOM]; INSTRUCTIONS.len()];
    let mut index = 0;
    while index < INSTRUCTIONS.len() {
        let code = INSTRUCTIONS[index].code;
        let mut at = 0;
        while at < code.len() {
            text[index][at] = code[at];
            at += 1;
        }
        index += 1;
    }
    text
}
