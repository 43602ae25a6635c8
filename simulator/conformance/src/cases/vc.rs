//! #VC: which instructions raise it, with which code, where RIP is, on which stack, from CPL 0 and 3 (APM vol. 2
//! §15.35.5; the intercepts are KVM's).

use core::sync::atomic::{AtomicU64, Ordering};
use guest_rt::context::{Context, KERNEL_CS, USER_CS};
use guest_rt::exec::{CodePage, Registers};
use guest_rt::need;
use guest_rt::paging::{self, Mapping};
use guest_rt::report::{Fault, check, check_that, gp, vc};
use guest_rt::trap::{self, Frame, Trap, vector};
use snp_abi::exit;

/// An address that is MMIO: the local APIC's ID register.
const MMIO: u64 = 0xFEE0_0020;
/// Where the cases map it.
const MMIO_VA: u64 = 0x60_0000_0000;

const CPUID: &[u8] = &[0x0F, 0xA2];

/// Runs the group.
pub fn run() {
    let code = CodePage::allocate();
    supervisor(&code);
    user(&code);
    mmio(&code);
    frame(&code);
    stacks(&code);
    resume(&code);
}

/// Name, instruction, registers (RAX, RCX, RDX), exit code.
type Case = (&'static str, &'static [u8], (u64, u64, u64), u64);

const SUPERVISOR: [Case; 19] = [
    ("vc-cpuid", CPUID, (0, 0, 0), exit::CPUID),
    ("vc-rdmsr-x2apic", &[0x0F, 0x32], (0, 0x802, 0), exit::MSR),
    (
        "vc-rdmsr-unknown",
        &[0x0F, 0x32],
        (0, 0xC001_1234, 0),
        exit::MSR,
    ),
    (
        "vc-rdmsr-outside-bitmap",
        &[0x0F, 0x32],
        (0, 0x4B56_4D00, 0),
        exit::MSR,
    ),
    ("vc-wrmsr", &[0x0F, 0x30], (0, 0x1B, 0), exit::MSR),
    ("vc-in-al-dx", &[0xEC], (0, 0, 0x71), exit::IOIO),
    ("vc-in-eax-dx", &[0xED], (0, 0, 0xCF8), exit::IOIO),
    ("vc-in-al-imm", &[0xE4, 0x61], (0, 0, 0), exit::IOIO),
    ("vc-out-dx-al", &[0xEE], (0, 0, 0x80), exit::IOIO),
    ("vc-out-dx-ax", &[0x66, 0xEF], (0, 0, 0x80), exit::IOIO),
    ("vc-rep-outsb", &[0xF3, 0x6E], (0, 1, 0x80), exit::IOIO),
    ("vc-rep-insb", &[0xF3, 0x6C], (0, 1, 0x71), exit::IOIO),
    ("vc-wbinvd", &[0x0F, 0x09], (0, 0, 0), exit::WBINVD),
    ("vc-vmmcall", &[0x0F, 0x01, 0xD9], (0, 0, 0), exit::VMMCALL),
    ("vc-rdpmc", &[0x0F, 0x33], (0, 0, 0), exit::RDPMC),
    (
        "vc-mov-to-dr7",
        &[0x0F, 0x23, 0xF8],
        (0x400, 0, 0),
        exit::WRITE_DR7,
    ),
    (
        "vc-mov-from-dr7",
        &[0x0F, 0x21, 0xF8],
        (0, 0, 0),
        exit::READ_DR7,
    ),
    (
        "vc-monitor",
        &[0x0F, 0x01, 0xC8],
        (0x82_0000, 0, 0),
        exit::MONITOR,
    ),
    ("vc-mwait", &[0x0F, 0x01, 0xC9], (0, 0, 0), exit::MWAIT),
];

fn registers((rax, rcx, rdx): (u64, u64, u64), buffer: u64) -> Registers {
    Registers {
        rax,
        rcx,
        rdx,
        rsi: buffer,
        rdi: buffer,
        ..Registers::default()
    }
}

/// The exit code, and whether RIP is at the instruction.
fn outcome(got: Result<Registers, Trap>, address: u64) -> (Result<(), Fault>, bool) {
    match got {
        Ok(_) => (Ok(()), true),
        Err(trap) => (Err(trap.into()), trap.frame.rip == address),
    }
}

fn supervisor(code: &CodePage) {
    let buffer = code.address() + 0x1800;
    for (name, bytes, regs, exit_code) in SUPERVISOR {
        // SAFETY: each instruction either raises #VC or has no effect on memory but the page's own buffer.
        let got = unsafe { code.run(bytes, registers(regs, buffer)) };
        check(
            name,
            (Err(vc(exit_code)), true),
            outcome(got, code.address()),
        );
    }
}

/// From CPL 3: what is allowed there raises #VC, what is not raises #GP before any intercept.
fn user(code: &CodePage) {
    const IOPL_3: u64 = 3 << 12;
    const CASES: [(Case, u64); 6] = [
        (("vc-user-cpuid", CPUID, (0, 0, 0), exit::CPUID), 0),
        (
            (
                "vc-user-vmmcall",
                &[0x0F, 0x01, 0xD9],
                (0, 0, 0),
                exit::VMMCALL,
            ),
            0,
        ),
        (("vc-user-in", &[0xEC], (0, 0, 0x71), exit::IOIO), IOPL_3),
        (("vc-user-out", &[0xEE], (0, 0, 0x80), exit::IOIO), IOPL_3),
        (
            ("vc-user-rep-outsb", &[0xF3, 0x6E], (0, 1, 0x80), exit::IOIO),
            IOPL_3,
        ),
        (
            ("vc-user-rep-insb", &[0xF3, 0x6C], (0, 1, 0x71), exit::IOIO),
            IOPL_3,
        ),
    ];
    let buffer = code.user_address() + 0x1800;
    for ((name, bytes, regs, exit_code), rflags) in CASES {
        let got = code.run_user(bytes, registers(regs, buffer), rflags);
        check(
            name,
            (Err(vc(exit_code)), true),
            outcome(got, code.user_address()),
        );
    }
    const REFUSED: [(&str, &[u8]); 6] = [
        ("gp-user-rdmsr", &[0x0F, 0x32]),
        ("gp-user-wrmsr", &[0x0F, 0x30]),
        ("gp-user-in", &[0xEC]),
        ("gp-user-out", &[0xEE]),
        ("gp-user-wbinvd", &[0x0F, 0x09]),
        ("gp-user-mov-dr7", &[0x0F, 0x23, 0xF8]),
    ];
    for (name, bytes) in REFUSED {
        let got = code.run_user(bytes, registers((0x400, 0x1B, 0x80), buffer), 0);
        check(name, (Err(gp(0)), true), outcome(got, code.user_address()));
    }
}

fn mmio(code: &CodePage) {
    let user_mmio = Mapping {
        private: false,
        ..Mapping::USER
    };
    need!("vc-mmio", paging::map(MMIO_VA, MMIO & !0xFFF, user_mmio));
    let registers = Registers {
        rsi: MMIO_VA + (MMIO & 0xFFF),
        ..Registers::default()
    };
    for (name, bytes) in [
        ("vc-mmio-read", &[0x8B, 0x06][..]),
        ("vc-mmio-write", &[0x89, 0x06]),
        ("vc-mmio-read-byte", &[0x0F, 0xB6, 0x06]),
    ] {
        // SAFETY: the access raises #VC or reaches the local APIC's ID register, which is read-only.
        let got = unsafe { code.run(bytes, registers) };
        check(
            name,
            (Err(vc(exit::NPF)), true),
            outcome(got, code.address()),
        );
    }
    let got = code.run_user(&[0x8B, 0x06], registers, 0);
    check(
        "vc-user-mmio-read",
        (Err(vc(exit::NPF)), true),
        outcome(got, code.user_address()),
    );
}

/// The frame that the processor pushed: RIP, CS, RFLAGS, RSP, SS.
fn frame(code: &CodePage) {
    const FLAGS: u64 = 0x8D5;
    // Sets the status flags, then the instruction: 7 bytes of code before it.
    let mut bytes = [0; 10];
    bytes[..6].copy_from_slice(&[0x68, FLAGS as u8, (FLAGS >> 8) as u8, 0, 0, 0x9D]);
    bytes[6..8].copy_from_slice(CPUID);
    // SAFETY: pushes and pops one word.
    let Err(trap) = (unsafe { code.run(&bytes[..8], Registers::default()) }) else {
        return guest_rt::report::fail("vc-frame", "an exception", "none");
    };
    let f = trap.frame;
    check("vc-frame-rip", code.address() + 6, f.rip);
    check("vc-frame-cs", KERNEL_CS as u64, f.cs);
    check("vc-frame-rflags", FLAGS, f.rflags & 0x8D5);
    // On the same stack the processor aligns to 16 before it pushes six words: frame and error code.
    let pushed = trap.handler_stack + core::mem::offset_of!(Frame, error) as u64;
    check("vc-frame-position", (f.rsp & !15) - 48, pushed);
    let got = code.run_user(CPUID, Registers::default(), 0);
    let Err(trap) = got else {
        return guest_rt::report::fail("vc-user-frame", "an exception", "none");
    };
    let f = trap.frame;
    check("vc-user-frame-cs", USER_CS as u64, f.cs);
    check("vc-user-frame-ss", 0x1B, f.ss);
    check("vc-user-frame-rsp", code.user_stack(), f.rsp);
}

/// Where the handler's frame lies: on the interrupted stack, the TSS's RSP0, or an IST stack.
fn stacks(code: &CodePage) {
    let (rsp0, ist1, ist2) = Context::current().handler_stacks();
    let pushed = |trap: Trap| trap.handler_stack + core::mem::offset_of!(Frame, error) as u64;
    let top = |stack: u64| stack - 48;
    let got = code
        .run_user(CPUID, Registers::default(), 0)
        .map_err(pushed);
    check("vc-user-stack-rsp0", Some(top(rsp0)), got.err());
    for (ist, stack, name, user_name) in [
        (1, ist1, "vc-ist1", "vc-user-ist1"),
        (2, ist2, "vc-ist2", "vc-user-ist2"),
    ] {
        trap::set_gate(vector::VC as u8, ist, 0);
        // SAFETY: CPUID has no effect on memory.
        let got = unsafe { code.run(CPUID, Registers::default()) };
        let from_user = code.run_user(CPUID, Registers::default(), 0);
        trap::set_gate(vector::VC as u8, 0, 0);
        check(name, Some(top(stack)), got.map_err(pushed).err());
        check(user_name, Some(top(stack)), from_user.map_err(pushed).err());
    }
}

static SEEN: AtomicU64 = AtomicU64::new(0);

/// Handles CPUID by giving fixed values and going on.
fn answer(frame: &mut Frame) -> bool {
    if frame.error != exit::CPUID {
        return false;
    }
    // Bit 63 tells that interrupts were off in the handler, as an interrupt gate has it.
    let interrupts_off = guest_rt::cpu::rflags() & 1 << 9 == 0;
    SEEN.store(
        frame.rflags & 1 << 9 | (interrupts_off as u64) << 63,
        Ordering::Relaxed,
    );
    frame.rip += 2;
    frame.rax = 0xA;
    frame.rbx = 0xB;
    frame.rcx = 0xC;
    frame.rdx = 0xD;
    true
}

fn resume(code: &CodePage) {
    trap::set_hook(vector::VC as u8, Some(answer));
    let before = Registers {
        rsi: 0x1111,
        rdi: 0x2222,
        rbp: 0x3333,
        r8: 0x4444,
        r15: 0x5555,
        ..Registers::default()
    };
    // STI; CPUID; CLI: VMPL0 of this machine takes no interrupts, so none can come in between.
    // SAFETY: none of the instructions touches memory.
    let got = unsafe { code.run(&[0xFB, 0x90, 0x0F, 0xA2, 0xFA], before) };
    let from_user = code.run_user(CPUID, before, 0);
    trap::set_hook(vector::VC as u8, None);
    let expected = Registers {
        rax: 0xA,
        rbx: 0xB,
        rcx: 0xC,
        rdx: 0xD,
        ..before
    };
    let without_flags = |r: Registers| Registers { rflags: 0, ..r };
    check(
        "vc-resume",
        Ok(expected),
        got.map(without_flags).map_err(Fault::from),
    );
    check(
        "vc-user-resume",
        Ok(expected),
        from_user.map(without_flags).map_err(Fault::from),
    );
    let seen = SEEN.load(Ordering::Relaxed);
    check_that(
        "vc-handler-interrupts-off",
        seen >> 63 == 1,
        "IF clear",
        seen,
    );
}
