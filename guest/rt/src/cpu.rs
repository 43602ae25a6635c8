//! Processor instructions as functions: control registers, MSRs, TSC, CPUID, interrupt flag.
//!
//! Port I/O is not here: it goes through the GHCB, see [`crate::io`].

use core::arch::asm;

/// Reads an MSR. Raises #VC when the hypervisor intercepts it.
pub fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading an MSR changes no memory; an exception is reported by the trap handler.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    (high as u64) << 32 | low as u64
}

/// Writes an MSR.
///
/// # Safety
/// The value must not take away what running code relies on (paging mode, GS base).
pub unsafe fn wrmsr(msr: u32, value: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags))
    };
}

macro_rules! control_register {
    ($read:ident, $write:ident, $reg:literal) => {
        #[doc = concat!("Reads ", $reg, ".")]
        pub fn $read() -> u64 {
            let value: u64;
            // SAFETY: reading a control register changes nothing.
            unsafe { asm!(concat!("mov {}, ", $reg), out(reg) value, options(nomem, nostack, preserves_flags)) };
            value
        }
        #[doc = concat!("Writes ", $reg, ".")]
        ///
        /// # Safety
        /// The value must keep what running code relies on.
        pub unsafe fn $write(value: u64) {
            // SAFETY: the caller vouches for the value.
            unsafe { asm!(concat!("mov ", $reg, ", {}"), in(reg) value, options(nostack, preserves_flags)) };
        }
    };
}
control_register!(cr0, set_cr0, "cr0");
control_register!(cr2, set_cr2, "cr2");
control_register!(cr3, set_cr3, "cr3");
control_register!(cr4, set_cr4, "cr4");
control_register!(cr8, set_cr8, "cr8");
control_register!(dr6, set_dr6, "dr6");
control_register!(dr7, set_dr7, "dr7");

/// The time-stamp counter.
pub fn rdtsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe {
        asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    (high as u64) << 32 | low as u64
}

/// What CPUID returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Cpuid {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// Executes CPUID. Where it is intercepted, the #VC handler answers from the CPUID page.
pub fn cpuid(leaf: u32, subleaf: u32) -> Cpuid {
    let (eax, ebx, ecx, edx): (u32, u32, u32, u32);
    // SAFETY: CPUID changes only these registers; RBX is put back because the compiler reserves it.
    unsafe {
        asm!("mov {tmp:r}, rbx", "cpuid", "xchg {tmp:r}, rbx", tmp = out(reg) ebx,
            inout("eax") leaf => eax, inout("ecx") subleaf => ecx, out("edx") edx,
            options(nomem, nostack, preserves_flags))
    };
    Cpuid { eax, ebx, ecx, edx }
}

/// Reads XCR0. CR4.OSXSAVE must be set.
pub fn xgetbv() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a register.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    (high as u64) << 32 | low as u64
}

/// Writes XCR0. CR4.OSXSAVE must be set.
///
/// # Safety
/// The compiler uses no x87 or vector state on this target; code that does by hand must agree.
pub unsafe fn xsetbv(value: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nomem, nostack, preserves_flags))
    };
}

/// Enables interrupts.
pub fn sti() {
    // SAFETY: every vector has a handler.
    unsafe { asm!("sti", options(nostack)) };
}

/// Disables interrupts.
pub fn cli() {
    // SAFETY: it only holds interrupts back.
    unsafe { asm!("cli", options(nostack)) };
}

/// Halts until the next interrupt.
pub fn hlt() {
    // SAFETY: it only waits.
    unsafe { asm!("hlt", options(nostack)) };
}

/// Enables interrupts and halts; an interrupt that is pending already wakes it.
pub fn sti_hlt() {
    // SAFETY: every vector has a handler.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}

/// Drops the translation of one page.
pub fn invlpg(va: u64) {
    // SAFETY: it only drops a cached translation.
    unsafe { asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags)) };
}

/// RFLAGS.
pub fn rflags() -> u64 {
    let flags: u64;
    // SAFETY: pushes and pops one word.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags
}

/// Halts for good.
pub fn halt_forever() -> ! {
    loop {
        cli();
        hlt();
    }
}
