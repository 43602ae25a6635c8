//! The SNP instructions (APM vol. 3). Encoded by bytes because assemblers differ in what they know.

use core::arch::asm;
use snp_abi::{PageSize, RmpPermissions, Vmpl, rmp};

/// What PVALIDATE returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pvalidate {
    /// EAX: one of [`snp_abi::rmp::result`].
    pub code: u64,
    /// Carry flag: the page was in the requested state already. Meaningful with code 0.
    pub no_change: bool,
    /// RFLAGS after the instruction.
    pub rflags: u64,
}

impl Pvalidate {
    /// Succeeded and changed the entry.
    pub fn changed(self) -> bool {
        self.code == rmp::result::SUCCESS && !self.no_change
    }
}

/// PVALIDATE with raw operands: RAX, ECX, EDX.
///
/// # Safety
/// A rescinded page must not be used by anything until it is valid again.
pub unsafe fn pvalidate_raw(va: u64, size: u64, validate: u64) -> Pvalidate {
    let (code, rflags): (u64, u64);
    // SAFETY: the caller vouches for the page; only these registers and the flags change.
    unsafe {
        asm!(".byte 0xF2, 0x0F, 0x01, 0xFF", "pushfq", "pop {flags}", flags = out(reg) rflags,
            inout("rax") va => code, in("rcx") size, in("rdx") validate)
    };
    Pvalidate {
        code: code & 0xFFFF_FFFF,
        no_change: rflags & 1 != 0,
        rflags,
    }
}

/// PVALIDATE: validates or rescinds the page mapped at `va`.
///
/// # Safety
/// As [`pvalidate_raw`].
pub unsafe fn pvalidate(va: u64, size: PageSize, validate: bool) -> Pvalidate {
    // SAFETY: the caller's promise is the same.
    unsafe { pvalidate_raw(va, size as u64, validate as u64) }
}

/// RMPADJUST with raw operands RAX, RCX, RDX; returns EAX.
///
/// # Safety
/// It must not take from a VMPL what code that runs there needs, nor turn a page in use into a VMSA.
pub unsafe fn rmpadjust_raw(va: u64, size: u64, rdx: u64) -> u64 {
    let code: u64;
    // SAFETY: the caller vouches for the page.
    unsafe {
        asm!(".byte 0xF3, 0x0F, 0x01, 0xFE", inout("rax") va => code, inout("rcx") size => _,
            inout("rdx") rdx => _)
    };
    code & 0xFFFF_FFFF
}

/// RMPADJUST: gives `target` these permissions for the page mapped at `va`.
///
/// # Safety
/// As [`rmpadjust_raw`].
pub unsafe fn rmpadjust(
    va: u64,
    size: PageSize,
    target: Vmpl,
    permissions: RmpPermissions,
    vmsa: bool,
) -> u64 {
    // SAFETY: the caller's promise is the same.
    unsafe {
        rmpadjust_raw(
            va,
            size as u64,
            rmp::rmpadjust_rdx(target, permissions, vmsa),
        )
    }
}

/// What RMPQUERY returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RmpQuery {
    /// EAX.
    pub code: u64,
    /// RDX: permissions and VMSA flag as RMPADJUST takes them.
    pub rdx: u64,
    /// RCX: page size.
    pub rcx: u64,
}

/// RMPQUERY of the page mapped at `va` for VMPL `target`.
pub fn rmpquery(va: u64, target: u64) -> RmpQuery {
    let (code, rdx, rcx): (u64, u64, u64);
    // SAFETY: the instruction reads an RMP entry and changes only these registers.
    unsafe {
        asm!(".byte 0xF3, 0x0F, 0x01, 0xFD", inout("rax") va => code, inout("rcx") target => rcx,
            inout("rdx") target => rdx)
    };
    RmpQuery {
        code: code & 0xFFFF_FFFF,
        rdx,
        rcx,
    }
}

/// VMGEXIT with whatever the GHCB MSR and page hold.
pub fn vmgexit() {
    // SAFETY: the hypervisor can change nothing private; what it changes in shared pages is read by volatile copies.
    unsafe { asm!(".byte 0xF3, 0x0F, 0x01, 0xD9", options(nostack)) };
}
