//! Processor instructions as functions. None of them can be intercepted for this level, other than by #VC.

use core::arch::asm;

/// CR0: write protection holds for ring 0 too.
pub const CR0_WP: u64 = 1 << 16;
/// CR0: protection, extension type, numeric errors, paging; write protection is added by [`set_cr0`]'s caller.
pub const CR0_BASE: u64 = 1 | 1 << 4 | 1 << 5 | 1 << 31;
/// CR4: physical address extension.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4: user code cannot read descriptor table registers.
pub const CR4_UMIP: u64 = 1 << 11;
/// CR4: ring 0 executes no user pages.
pub const CR4_SMEP: u64 = 1 << 20;
/// CR4: ring 0 reads and writes no user pages.
pub const CR4_SMAP: u64 = 1 << 21;

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

/// Turns on write protection, SMEP, SMAP, UMIP and no-execute, which the processor must have.
pub fn enable_protection() {
    let efer = rdmsr(snp_abi::msr::EFER) | snp_abi::msr::EFER_NXE;
    // SAFETY: these bits only forbid. Nothing running relies on what they forbid: no user pages exist, and pages that
    // are written or executed are mapped so.
    unsafe {
        wrmsr(snp_abi::msr::EFER, efer);
        asm!("mov cr0, {}", "mov cr4, {}",
            in(reg) CR0_BASE | CR0_WP, in(reg) CR4_PAE | CR4_UMIP | CR4_SMEP | CR4_SMAP,
            options(nostack, preserves_flags));
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

/// The caller's frame pointer.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let rbp: u64;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    rbp
}
