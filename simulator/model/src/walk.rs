//! The guest's own page walk, in software: needed wherever the machine acts for the processor (exception frames,
//! operands of SNP instructions, instruction bytes).
//!
//! Rules: APM vol. 2 chapter 5; C-bit: §15.34.8 (without PAE paging everything is private; page tables are private
//! whatever the C-bit of the entry above says). Protection keys, CET and 5-level paging are not offered by this machine.

mod tables;

use crate::Geometry;
use crate::rmp::{Access as PhysicalAccess, Violation};
use snp_abi::PAGE_SIZE;
use snp_abi::msr::EFER_LMA;
use snp_abi::vmsa::Vmsa;

/// CR0.PE.
pub const CR0_PE: u64 = 1 << 0;
/// CR0.WP.
pub const CR0_WP: u64 = 1 << 16;
/// CR0.PG.
pub const CR0_PG: u64 = 1 << 31;
/// CR4.PSE.
pub const CR4_PSE: u64 = 1 << 4;
/// CR4.PAE.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.LA57.
pub const CR4_LA57: u64 = 1 << 12;
/// CR4.SMEP.
pub const CR4_SMEP: u64 = 1 << 20;
/// CR4.SMAP.
pub const CR4_SMAP: u64 = 1 << 21;
/// RFLAGS.AC.
pub const RFLAGS_AC: u64 = 1 << 18;

/// Page fault error code: the page was present.
pub const PF_PRESENT: u32 = 1 << 0;
/// Page fault error code: a write.
pub const PF_WRITE: u32 = 1 << 1;
/// Page fault error code: at CPL 3.
pub const PF_USER: u32 = 1 << 2;
/// Page fault error code: a reserved bit was set.
pub const PF_RESERVED: u32 = 1 << 3;
/// Page fault error code: an instruction fetch (with NXE or SMEP).
pub const PF_FETCH: u32 = 1 << 4;

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

    /// Sets bits of one byte: accessed and dirty bits, a descriptor's accessed bit. Other vCPUs may change the same
    /// byte, so an implementor that can should do it atomically.
    fn set_bits(
        &mut self,
        gpa: u64,
        private: bool,
        access: PhysicalAccess,
        bits: u8,
    ) -> Result<(), Violation> {
        let mut byte = [0];
        self.read(gpa, private, access, &mut byte)?;
        byte[0] |= bits;
        self.write(gpa, private, access, &byte)
    }
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
        }
    }

    const fn long_mode(&self) -> bool {
        self.efer & EFER_LMA != 0
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
    let long = paging.long_mode();
    if paging.cr0 & CR0_PG == 0 {
        return Ok(Translation {
            gpa: va & 0xFFFF_FFFF,
            private: true,
            page_size: PAGE_SIZE,
        });
    }
    if long && paging.cr4 & CR4_LA57 != 0 {
        return Err(WalkFault::FiveLevel);
    }
    if long && !is_canonical(va) {
        return Err(WalkFault::NonCanonical { va });
    }
    let va = if long { va } else { va & 0xFFFF_FFFF };
    tables::walk(memory, paging, va, access, accessed_dirty)
}

/// Whether bits 63:47 are all the same.
pub const fn is_canonical(va: u64) -> bool {
    ((va << 16) as i64 >> 16) as u64 == va
}

impl LinearAccess {
    /// A load by the processor itself at CPL 0: descriptor tables, TSS.
    pub const SYSTEM_READ: LinearAccess = LinearAccess {
        write: false,
        fetch: false,
        user: false,
        implicit: true,
    };

    /// The RMP's view of it.
    pub const fn physical(self) -> PhysicalAccess {
        PhysicalAccess {
            read: !self.write && !self.fetch,
            write: self.write,
            execute: self.fetch,
            user: self.user,
            table_walk: false,
        }
    }
}

/// Reads linear memory, page by page. With `access.fetch` these are instruction bytes.
pub fn read_linear<M: GuestMemory + ?Sized>(
    memory: &mut M,
    paging: &Paging,
    mut va: u64,
    access: LinearAccess,
    mut buffer: &mut [u8],
) -> Result<(), WalkFault> {
    while !buffer.is_empty() {
        let length = within_page(va).min(buffer.len());
        let (now, later) = core::mem::take(&mut buffer).split_at_mut(length);
        let to = translate(memory, paging, va, access, AccessedDirty::Set)?;
        memory
            .read(to.gpa, to.private, access.physical(), now)
            .map_err(WalkFault::Memory)?;
        va = next_page(paging, va);
        buffer = later;
    }
    Ok(())
}

/// Writes linear memory. All pages are translated before the first byte is written; `bytes` is at most a page.
pub fn write_linear<M: GuestMemory + ?Sized>(
    memory: &mut M,
    paging: &Paging,
    va: u64,
    access: LinearAccess,
    bytes: &[u8],
) -> Result<(), WalkFault> {
    let (first, second) = bytes.split_at(within_page(va).min(bytes.len()));
    if first.is_empty() {
        return Ok(());
    }
    let low = translate(memory, paging, va, access, AccessedDirty::Set)?;
    let high = if second.is_empty() {
        None
    } else {
        let va = next_page(paging, va);
        Some(translate(memory, paging, va, access, AccessedDirty::Set)?)
    };
    memory
        .write(low.gpa, low.private, access.physical(), first)
        .map_err(WalkFault::Memory)?;
    if let Some(high) = high {
        memory
            .write(high.gpa, high.private, access.physical(), second)
            .map_err(WalkFault::Memory)?;
    }
    Ok(())
}

/// Bytes from `va` to the end of its 4 KiB page.
const fn within_page(va: u64) -> usize {
    (PAGE_SIZE - va % PAGE_SIZE) as usize
}

/// The start of the page after `va`'s; linear addresses wrap at 4 GiB outside of long mode.
const fn next_page(paging: &Paging, va: u64) -> u64 {
    let next = (va & !(PAGE_SIZE - 1)).wrapping_add(PAGE_SIZE);
    if paging.long_mode() {
        next
    } else {
        next & 0xFFFF_FFFF
    }
}

/// Segment attribute L: 64-bit code.
const ATTRIBUTE_L: u16 = 1 << 9;

/// The linear address of the instruction that the vCPU is at.
pub fn instruction_address(vmsa: &Vmsa) -> u64 {
    let long = vmsa.efer.get() & EFER_LMA != 0;
    if long && vmsa.cs.attributes.get() & ATTRIBUTE_L != 0 {
        vmsa.rip.get()
    } else {
        vmsa.cs.base.get().wrapping_add(vmsa.rip.get()) & 0xFFFF_FFFF
    }
}

/// Reads up to 15 instruction bytes at CS:RIP; fewer when the next page cannot be read. Returns how many.
pub fn fetch_instruction<M: GuestMemory + ?Sized>(
    memory: &mut M,
    vmsa: &Vmsa,
    geometry: Geometry,
    buffer: &mut [u8; 15],
) -> Result<usize, WalkFault> {
    let paging = Paging::of(vmsa, geometry);
    let access = LinearAccess {
        fetch: true,
        user: vmsa.cpl == 3,
        ..LinearAccess::default()
    };
    let va = instruction_address(vmsa);
    let (first, second) = buffer.split_at_mut(within_page(va).min(15));
    read_linear(memory, &paging, va, access, first)?;
    let rest = next_page(&paging, va);
    match read_linear(memory, &paging, rest, access, second) {
        Ok(()) => Ok(first.len() + second.len()),
        Err(_) => Ok(first.len()),
    }
}

#[cfg(test)]
pub(crate) mod test_memory;
#[cfg(test)]
mod tests;
