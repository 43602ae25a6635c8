//! Processor instructions as functions. None of them can be intercepted for this level, other than by #VC.

use super::traps::TrapFrame;
use crate::mm::{ShadowStacks, SharedPage};
use core::arch::asm;
use svsm_core::cpuid::CpuidResult;
use svsm_core::policy::Policy;

/// CR0: write protection holds for ring 0 too.
pub const CR0_WP: u64 = 1 << 16;
/// CR0: protection, no floating point (neither kernel nor services use it), extension type, numeric errors, paging.
pub const CR0_BASE: u64 = 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 31;
/// CR4: services cannot read the time-stamp counter; they ask for the time.
pub const CR4_TSD: u64 = 1 << 2;
/// CR4: machine checks are an exception, not a shutdown.
pub const CR4_MCE: u64 = 1 << 6;
/// CR4: physical address extension.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4: user code cannot read descriptor table registers.
pub const CR4_UMIP: u64 = 1 << 11;
/// CR4: ring 0 executes no user pages.
pub const CR4_SMEP: u64 = 1 << 20;
/// CR4: ring 0 reads and writes no user pages.
pub const CR4_SMAP: u64 = 1 << 21;

/// CR4: shadow stacks can be turned on.
pub const CR4_CET: u64 = 1 << 23;

/// Reads an MSR.
pub fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading an MSR changes no memory; one that does not exist raises an exception, which stops the SVSM.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    (high as u64) << 32 | low as u64
}

/// Writes an MSR.
///
/// # Safety
/// The value must keep what running code relies on: paging mode, GS base.
pub unsafe fn wrmsr(msr: u32, value: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

/// Puts `request` into the GHCB MSR, exits to the hypervisor, and returns what the MSR holds then. Everything that the
/// hypervisor may do to memory it does to shared pages, which are only ever copied.
pub fn vmgexit(request: u64) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the hypervisor sees and changes neither registers nor private memory of this level. The request may make
    // it run another level of this vCPU, which cannot reach the SVSM's memory either.
    unsafe {
        asm!("wrmsr", "rep vmmcall", "rdmsr",
            in("ecx") snp_abi::msr::GHCB,
            inout("eax") request as u32 => low, inout("edx") (request >> 32) as u32 => high,
            options(nostack));
    }
    (high as u64) << 32 | low as u64
}

/// Puts `request` into the GHCB MSR, without an exit. Ring 3 can make the exit, but not the request.
pub fn set_ghcb(request: u64) {
    // SAFETY: the MSR is only what the next exit asks for.
    unsafe { wrmsr(snp_abi::msr::GHCB, request) };
}

/// CR0, CR3, CR4 as an AP needs them.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct ControlRegisters {
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
}

/// Reads them.
pub fn control_registers() -> ControlRegisters {
    let (cr0, cr3, cr4): (u64, u64, u64);
    // SAFETY: reading control registers changes nothing.
    unsafe {
        asm!("mov {}, cr0", "mov {}, cr3", "mov {}, cr4", out(reg) cr0, out(reg) cr3, out(reg) cr4,
            options(nomem, nostack, preserves_flags));
    }
    ControlRegisters { cr0, cr3, cr4 }
}

/// The address of the last page fault.
pub fn cr2() -> u64 {
    let cr2: u64;
    // SAFETY: reading CR2 changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) cr2, options(nomem, nostack, preserves_flags)) };
    cr2
}

/// Turns on write protection, and of SMEP, SMAP, UMIP and no-execute what the policy found.
pub fn enable_protection(policy: &Policy) {
    let bit = |on, bit| if on { bit } else { 0 };
    let efer = rdmsr(snp_abi::msr::EFER) | bit(policy.nx, snp_abi::msr::EFER_NXE);
    let cr4 = CR4_TSD
        | CR4_PAE
        | CR4_MCE
        | bit(policy.shadow_stacks, CR4_CET)
        | bit(policy.umip, CR4_UMIP)
        | bit(policy.smep, CR4_SMEP)
        | bit(policy.smap, CR4_SMAP);
    // SAFETY: the processor has what the policy says. These bits only forbid, and nothing running relies on what they forbid:
    // no user pages exist, and pages that are written or executed are mapped so.
    unsafe {
        wrmsr(snp_abi::msr::EFER, efer);
        asm!("mov cr0, {}", "mov cr4, {}", in(reg) CR0_BASE | CR0_WP, in(reg) cr4,
            options(nostack, preserves_flags));
    }
}

/// Goes over to shadow stacks, this CPU's own (SDM vol. 1 chapter 17). Within a function that does not return: the return
/// addresses so far are on no shadow stack. Therefore inlined, too.
#[inline(always)]
pub fn enter_shadow_stacks(stacks: &ShadowStacks) {
    /// Shadow stacks are on, and ring 0 may write them with WRSS, as traps.s does.
    const ENABLE_AND_WRSS: u32 = 3;
    let high = |address: u64| (address >> 32) as u32;
    // SAFETY: the stacks are this CPU's, have their tokens, and are in use by nobody yet; CR4.CET is on where the policy has
    // shadow stacks. SETSSBSY takes the stack that PL0_SSP names, which then names that for entries from ring 3.
    unsafe {
        asm!(
            "mov ecx, {table}", "mov eax, {t:e}", "mov edx, {th:e}", "wrmsr",
            "mov ecx, {pl0}", "mov eax, {m:e}", "mov edx, {mh:e}", "wrmsr",
            "mov ecx, {s_cet}", "mov eax, {enable}", "xor edx, edx", "wrmsr",
            "setssbsy",
            "mov ecx, {pl0}", "mov eax, {e:e}", "mov edx, {eh:e}", "wrmsr",
            table = const snp_abi::msr::INTERRUPT_SSP_TABLE, pl0 = const snp_abi::msr::PL0_SSP,
            s_cet = const snp_abi::msr::S_CET, enable = const ENABLE_AND_WRSS,
            t = in(reg) stacks.table as u32, th = in(reg) high(stacks.table),
            m = in(reg) stacks.main as u32, mh = in(reg) high(stacks.main),
            e = in(reg) stacks.entry as u32, eh = in(reg) high(stacks.entry),
            out("eax") _, out("ecx") _, out("edx") _, options(nostack));
    }
}

/// The shadow stack pointer; 0 without shadow stacks.
pub fn shadow_stack_pointer() -> u64 {
    let mut ssp = 0u64;
    // SAFETY: it copies a register, or does nothing.
    unsafe { asm!("rdsspq {}", inout(reg) ssp, options(nomem, nostack, preserves_flags)) };
    ssp
}

/// Returns from a function to where it was not called from; comes back only where nothing notices.
#[cfg(feature = "tests")]
pub fn smash_return_address() {
    // SAFETY: both ways lead to the end of this block, with the stack as it was.
    unsafe {
        asm!("call 2f", "jmp 3f", "2:", "lea {0}, [rip + 4f]", "mov [rsp], {0}", "ret", "4:", "3:", out(reg) _);
    }
}

/// Loads page tables.
///
/// # Safety
/// They must map everything that is in use, as it is used.
pub unsafe fn set_cr3(cr3: u64) {
    // SAFETY: the caller vouches for the tables.
    unsafe { asm!("mov cr3, {}", in(reg) cr3, options(nostack, preserves_flags)) };
}

/// Drops this CPU's translation of one page.
pub fn invlpg(va: u64) {
    // SAFETY: only a cached translation is dropped.
    unsafe { asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags)) };
}

/// Drops all translations of all CPUs, of this guest.
pub fn invlpgb_all() {
    // SAFETY: only cached translations are dropped. RAX 0: neither address nor PCID given, so everything goes; ECX 0: no
    // further pages. INVLPGB, then TLBSYNC, which waits for all processors.
    unsafe {
        asm!(".byte 0x0f, 0x01, 0xfe", ".byte 0x0f, 0x01, 0xff",
            in("rax") 0u64, in("ecx") 0, in("edx") 0, options(nostack, preserves_flags));
    }
}

/// Lets interrupts in and halts until one comes.
pub fn wait_for_interrupt() {
    // SAFETY: STI holds interrupts off until HLT has begun; their entry is traps.s, which keeps all registers.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// Stops this CPU for good.
pub fn stop() -> ! {
    loop {
        // SAFETY: nothing comes after it; interrupts are off, and an NMI ends here again.
        unsafe { asm!("cli", "hlt", options(nomem, nostack, preserves_flags)) };
    }
}

/// Executes CPUID.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    let (eax, ebx, ecx, edx): (u32, u32, u32, u32);
    // SAFETY: it changes four registers; LLVM keeps RBX to itself, so it is put aside.
    unsafe {
        asm!("mov {rbx:r}, rbx", "cpuid", "xchg {rbx:r}, rbx", rbx = out(reg) ebx,
            inout("eax") leaf => eax, inout("ecx") subleaf => ecx, out("edx") edx,
            options(nomem, nostack, preserves_flags));
    }
    CpuidResult { eax, ebx, ecx, edx }
}

/// Writes a register of this CPU's x2APIC.
pub fn write_x2apic(register: u32, value: u64) {
    debug_assert!(register < 0x40);
    // SAFETY: an APIC raises interrupts and resets other CPUs; neither touches memory, and handlers are there for all.
    unsafe { wrmsr(snp_abi::msr::X2APIC_FIRST + (register & 0x3F), value) };
}

/// Turns on this CPU's APIC, as an x2APIC if that is asked for.
pub fn enable_apic(x2apic: bool) {
    const ENABLED: u64 = 1 << 11;
    const X2APIC: u64 = 1 << 10;
    let base = rdmsr(snp_abi::msr::APIC_BASE) | ENABLED;
    // SAFETY: as for `write_x2apic`; the modes are entered in the order that the architecture has.
    unsafe {
        wrmsr(snp_abi::msr::APIC_BASE, base);
        if x2apic {
            wrmsr(snp_abi::msr::APIC_BASE, base | X2APIC);
        }
    }
}

/// Halts until the hypervisor resumes this vCPU at this level.
pub fn halt() {
    // SAFETY: it only waits. Interrupts stay off; the guest's wish to run VMPL0 ends it.
    unsafe { asm!("hlt", options(nomem, nostack, preserves_flags)) };
}

/// The time-stamp counter. Its rate is not known, so it only bounds waits.
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe {
        asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    (high as u64) << 32 | low as u64
}

/// Reads a port. The platform raises an exception for it, which is answered.
pub fn in8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: only ports of the timer are read with it; what they return is believed by nobody.
    unsafe {
        asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Writes a port.
pub fn out8(port: u16, value: u8) {
    // SAFETY: a device is told something; none has access to private memory.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags))
    };
}

/// Raises #BP, which the debugger handles.
#[cfg(feature = "gdb")]
pub fn breakpoint() {
    // SAFETY: the handler keeps all registers.
    unsafe { asm!("int3", options(nostack)) };
}

/// 64 random bits: by RDSEED, or by RDRAND where there is no RDSEED. `None`: the processor has none now.
pub fn random(rdseed: bool) -> Option<u64> {
    let (value, done): (u64, u8);
    // SAFETY: CPUID has the instruction, says the caller; it changes a register and flags.
    unsafe {
        if rdseed {
            asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) done, options(nomem, nostack));
        } else {
            asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) done, options(nomem, nostack));
        }
    }
    (done != 0).then_some(value)
}

unsafe extern "C" {
    fn enter_service(registers: *mut TrapFrame, doorbell: u64);
}

/// Goes on with a service, in ring 3 with the present page tables, until something interrupts it: then `registers` says
/// what, and what it was doing. With a doorbell page, a signal that waits there counts as an interruption.
///
/// # Safety
/// The page tables must have the kernel as it runs, and nothing of it open to ring 3. The registers' selectors must be those
/// of ring 3, and RFLAGS without anything but flags that ring 3 may set itself.
pub unsafe fn run_service(registers: &mut TrapFrame, doorbell: Option<SharedPage>) {
    // SAFETY: whatever ring 3 does, it comes back through traps.s, with this stack and these callee-saved registers. The
    // frame is only written then.
    unsafe { enter_service(registers, doorbell.map_or(0, SharedPage::va)) };
}

/// The caller's frame pointer.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let rbp: u64;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    rbp
}
