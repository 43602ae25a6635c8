//! What the logic here needs of the machine: guest memory by copying, and the two instructions that change the RMP.
//!
//! Both take guest-physical addresses and do what they are told; who may name which address is decided in this crate,
//! from the page map, before they are called.

use snp_abi::{PageSize, RmpPermissions, Vmpl};

/// An access failed: the page is not validated after all, because the host or the guest took it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryFault;

/// Copies from and to memory that someone else can write. Nothing is ever referenced in place.
pub trait GuestMemory {
    /// Copies `buffer.len()` bytes from `gpa`.
    fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<(), MemoryFault>;
    /// Copies `bytes` to `gpa`.
    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), MemoryFault>;
    /// Clears whole pages.
    fn zero(&self, gpa: u64, bytes: u64) -> Result<(), MemoryFault>;
}

/// Why PVALIDATE or RMPADJUST did not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOpError {
    /// The instruction's result code ([`snp_abi::rmp::result`]), not zero.
    Code(u64),
    /// The instruction faulted: the page is not validated, or not the guest's at all.
    Fault,
}

/// What PVALIDATE did, told by the carry flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// The page is now in the state asked for.
    Changed,
    /// The page already was.
    Unchanged,
}

/// The instructions that change the RMP, for pages of guest RAM.
pub trait PageOps {
    /// PVALIDATE.
    fn pvalidate(
        &self,
        gpa: u64,
        size: PageSize,
        validate: bool,
    ) -> Result<Validation, PageOpError>;
    /// RMPADJUST. It also sets the page's VMSA flag to `vmsa`, whatever VMPL it is about.
    fn rmpadjust(
        &self,
        gpa: u64,
        size: PageSize,
        target: Vmpl,
        permissions: RmpPermissions,
        vmsa: bool,
    ) -> Result<(), PageOpError>;
    /// Makes every vCPU forget translations with permissions that have been taken away.
    fn flush_guest_tlbs(&self);
}

/// RMPADJUST for a page of either size; where the RMP turns out to hold small entries (the host may split them at
/// any time), small page by small page.
pub fn adjust(
    ops: &impl PageOps,
    gpa: u64,
    size: PageSize,
    target: Vmpl,
    permissions: RmpPermissions,
) -> Result<(), PageOpError> {
    match ops.rmpadjust(gpa, size, target, permissions, false) {
        Err(PageOpError::Code(snp_abi::rmp::result::FAIL_SIZEMISMATCH))
            if size == PageSize::Size2M =>
        {
            (0..size.pages()).try_for_each(|page| {
                let small = gpa + page * snp_abi::PAGE_SIZE;
                ops.rmpadjust(small, PageSize::Size4K, target, permissions, false)
            })
        }
        other => other,
    }
}
