//! The guest's own page walk, in software: needed wherever the machine acts for the processor (exception frames,
//! operands of SNP instructions, instruction bytes).
//!
//! Rules: APM vol. 2 chapter 5; C-bit: §15.34.8 (without PAE paging everything is private; page tables are private
//! whatever the C-bit of the entry above says).

use crate::Geometry;
use crate::rmp::{Access as PhysicalAccess, Violation};
use snp_abi::vmsa::Vmsa;

/// Guest physical memory, as the vCPU's VMPL may use it: the implementor checks the RMP on every access.
///
/// A buffer never crosses a 4 KiB page.
pub trait GuestMemory {
    /// Copies bytes out of the guest.
    fn read(
        &mut self,
        gpa: u64,
        private: bool,
        access: PhysicalAccess,
        buffer: &mut [u8],
    ) -> Result<(), Violation>;

    /// Copies bytes into the guest.
    fn write(
        &mut self,
        gpa: u64,
        private: bool,
        access: PhysicalAccess,
        bytes: &[u8],
    ) -> Result<(), Violation>;
}

/// The registers that decide how addresses are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Paging {
    pub geometry: Geometry,
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub rflags: u64,
    pub pkru: u32,
}

impl Paging {
    /// Of a vCPU.
    pub fn of(vmsa: &Vmsa, geometry: Geometry) -> Paging {
        Paging {
            geometry,
            cr0: vmsa.cr0.get(),
            cr3: vmsa.cr3.get(),
            cr4: vmsa.cr4.get(),
            efer: vmsa.efer.get(),
            rflags: vmsa.rflags.get(),
            pkru: vmsa.pkru.get(),
        }
    }
}

/// A linear access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct LinearAccess {
    pub write: bool,
    pub fetch: bool,
    /// At CPL 3.
    pub user: bool,
    /// By the processor itself (descriptor tables, TSS, exception frames): RFLAGS.AC does not lift SMAP.
    pub implicit: bool,
}

/// What a page walk does with accessed and dirty bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessedDirty {
    /// Sets them, as the processor does.
    Set,
    /// Leaves them: a look without a trace.
    Leave,
}

/// Where a linear address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Guest physical address, offset included, without C-bit.
    pub gpa: u64,
    /// Whether the mapping has the C-bit (or paging mode makes everything private).
    pub private: bool,
    /// Bytes of the page that maps it: 4 KiB, 2 MiB, 4 MiB or 1 GiB; 4 KiB without paging.
    pub page_size: u64,
}

/// Why an address has no translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum WalkFault {
    #[error("page fault at {va:#x}, error code {error_code:#x}")]
    PageFault { va: u64, error_code: u32 },
    #[error("address {va:#x} is not canonical")]
    NonCanonical { va: u64 },
    #[error("page table or operand not accessible: {0}")]
    Memory(Violation),
    #[error("5-level paging (CR4.LA57) is not offered by this machine")]
    FiveLevel,
}

/// Translates `va`.
pub fn translate<M: GuestMemory + ?Sized>(
    memory: &mut M,
    paging: &Paging,
    va: u64,
    access: LinearAccess,
    accessed_dirty: AccessedDirty,
) -> Result<Translation, WalkFault> {
    let _ = (memory, paging, va, access, accessed_dirty);
    todo!()
}

/// Reads linear memory, page by page. With `access.fetch` these are instruction bytes.
pub fn read_linear<M: GuestMemory + ?Sized>(
    memory: &mut M,
    paging: &Paging,
    va: u64,
    access: LinearAccess,
    buffer: &mut [u8],
) -> Result<(), WalkFault> {
    let _ = (memory, paging, va, access, buffer);
    todo!()
}

/// Writes linear memory. All pages are translated before the first byte is written; `bytes` is at most a page.
pub fn write_linear<M: GuestMemory + ?Sized>(
    memory: &mut M,
    paging: &Paging,
    va: u64,
    access: LinearAccess,
    bytes: &[u8],
) -> Result<(), WalkFault> {
    let _ = (memory, paging, va, access, bytes);
    todo!()
}

/// Reads up to 15 instruction bytes at CS:RIP; fewer when the next page cannot be read. Returns how many.
pub fn fetch_instruction<M: GuestMemory + ?Sized>(
    memory: &mut M,
    vmsa: &Vmsa,
    geometry: Geometry,
    buffer: &mut [u8; 15],
) -> Result<usize, WalkFault> {
    let _ = (memory, vmsa, geometry, buffer);
    todo!()
}
