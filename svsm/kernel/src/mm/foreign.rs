//! Memory that someone else can write or take away: guest RAM. It is copied, never referenced, by instructions that may
//! fault (copy.s); and the two instructions that change the RMP.

use super::frames::{MEMORY, OutOfMemory, is_stack};
use super::page_table::{Access, HUGE_PAGE_SIZE};
use crate::arch::sync::Once;
use boot_abi::layout::{KERNEL_VIRTUAL_BASE, SVSM_SIZE};
use core::arch::global_asm;
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, RmpPermissions, Vmpl};
use svsm_core::machine::{MemoryFault, PageOpError, Validation};
use svsm_core::memory_map::RamMap;

global_asm!(include_str!("copy.s"));

unsafe extern "C" {
    fn foreign_copy(to: *mut u8, from: *const u8, bytes: usize) -> u64;
    fn foreign_zero(to: *mut u8, bytes: usize) -> u64;
    pub(super) fn foreign_pvalidate(va: u64, size: u32, validate: u32) -> u32;
    pub(super) fn foreign_rmpadjust(va: u64, size: u32, rdx: u64) -> u32;
    /// Pairs: where an instruction may fault, and where to go on.
    static __fixups_start: [u64; 2];
    static __fixups_end: [u64; 2];
}

/// Result of the instructions above: they faulted.
pub(super) const FAULTED: u32 = 1 << 31;
/// Result of PVALIDATE: the page already was in the state asked for.
pub(super) const UNCHANGED: u32 = 1 << 8;

/// Where guest RAM is mapped.
const GUEST_RAM: u64 = 0xFFFF_8000_0000_0000;

/// Which part of it is mapped.
static RAM: Once<RamMap> = Once::new();

/// Where to go on after a fault at `rip`, if that is an instruction that may.
pub fn fixup(rip: u64) -> Option<u64> {
    // SAFETY: the linker script puts the pairs between these symbols, in read-only memory.
    let pairs = unsafe {
        let start = &raw const __fixups_start;
        let len = (&raw const __fixups_end).offset_from(start) as usize;
        core::slice::from_raw_parts(start, len)
    };
    pairs.iter().find(|pair| pair[0] == rip).map(|pair| pair[1])
}

/// Maps all guest RAM, by the largest pages that fit. Once.
pub fn map_guest_ram(ram: RamMap, huge_pages: bool) -> Result<&'static RamMap, OutOfMemory> {
    let mut memory = MEMORY.lock();
    for range in ram.ranges() {
        let mut gpa = range.start;
        while gpa < range.end {
            let fits = |size: u64| gpa.is_multiple_of(size) && range.end - gpa >= size;
            let size = if huge_pages && fits(HUGE_PAGE_SIZE) {
                HUGE_PAGE_SIZE
            } else if fits(LARGE_PAGE_SIZE) {
                LARGE_PAGE_SIZE
            } else {
                PAGE_SIZE
            };
            memory.map(GUEST_RAM + gpa, gpa, size, Access::ReadWrite)?;
            gpa += size;
        }
    }
    RAM.set(ram).map_err(|_| OutOfMemory)
}

/// Where `bytes` bytes of guest RAM at `gpa` are mapped, if all of them are guest RAM.
fn guest_va(gpa: u64, bytes: u64) -> Result<u64, MemoryFault> {
    match RAM.get() {
        Some(ram) if ram.contains(gpa, bytes) => Ok(GUEST_RAM + gpa),
        _ => Err(MemoryFault),
    }
}

fn copied(result: u64) -> Result<(), MemoryFault> {
    if result == 0 {
        Ok(())
    } else {
        Err(MemoryFault)
    }
}

/// Copies from guest RAM.
pub fn read_guest(gpa: u64, buffer: &mut [u8]) -> Result<(), MemoryFault> {
    let from = guest_va(gpa, buffer.len() as u64)?;
    read_at(from, buffer)
}

/// Copies from an address that may fault.
pub(super) fn read_at(va: u64, buffer: &mut [u8]) -> Result<(), MemoryFault> {
    // SAFETY: the destination is the buffer; the source is only read, and a fault ends the copy.
    copied(unsafe { foreign_copy(buffer.as_mut_ptr(), va as *const u8, buffer.len()) })
}

/// Copies to an address that may fault.
///
/// # Safety
/// Nothing may rely on what is there.
#[cfg(feature = "gdb")]
pub(super) unsafe fn write_at(va: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
    // SAFETY: the caller vouches for the destination; a fault ends the copy.
    copied(unsafe { foreign_copy(va as *mut u8, bytes.as_ptr(), bytes.len()) })
}

/// Copies from any address; `false` when that faults.
#[cfg(feature = "tests")]
pub fn try_read(va: u64, buffer: &mut [u8]) -> bool {
    read_at(va, buffer).is_ok()
}

/// Writes the byte that is there to any address of the kernel's half; `false` when reading or writing it faults.
#[cfg(feature = "tests")]
pub fn try_rewrite(va: u64) -> bool {
    let mut byte = [0];
    // SAFETY: memory holds the same afterwards; the address is nobody's who runs meanwhile.
    read_at(va, &mut byte).is_ok()
        && copied(unsafe { foreign_copy(va as *mut u8, byte.as_ptr(), 1) }).is_ok()
}

/// Copies to guest RAM.
pub fn write_guest(gpa: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
    let to = guest_va(gpa, bytes.len() as u64)?;
    // SAFETY: the destination is guest RAM, where nothing of the SVSM's is; a fault ends the copy.
    copied(unsafe { foreign_copy(to as *mut u8, bytes.as_ptr(), bytes.len()) })
}

/// Clears whole pages of guest RAM.
pub fn zero_guest(gpa: u64, bytes: u64) -> Result<(), MemoryFault> {
    if bytes == 0 || !gpa.is_multiple_of(PAGE_SIZE) || !bytes.is_multiple_of(PAGE_SIZE) {
        return Err(MemoryFault);
    }
    let to = guest_va(gpa, bytes)?;
    // SAFETY: as for `write_guest`.
    copied(unsafe { foreign_zero(to as *mut u8, bytes as usize) })
}

/// PVALIDATE of a page of guest RAM.
pub fn pvalidate_guest(
    gpa: u64,
    size: PageSize,
    validate: bool,
) -> Result<Validation, PageOpError> {
    let va = guest_va(gpa, size.bytes()).map_err(|MemoryFault| PageOpError::Fault)?;
    // SAFETY: it changes whether guest RAM can be accessed; accesses to it may fault and are made so that they can.
    match unsafe { foreign_pvalidate(va, size as u32, validate as u32) } {
        0 => Ok(Validation::Changed),
        UNCHANGED => Ok(Validation::Unchanged),
        code if code & FAULTED != 0 => Err(PageOpError::Fault),
        code => Err(PageOpError::Code((code & 0xFF) as u64)),
    }
}

/// RMPADJUST of a page of guest RAM.
pub fn rmpadjust_guest(
    gpa: u64,
    size: PageSize,
    target: Vmpl,
    permissions: RmpPermissions,
    vmsa: bool,
) -> Result<(), PageOpError> {
    let va = guest_va(gpa, size.bytes()).map_err(|MemoryFault| PageOpError::Fault)?;
    let rdx = snp_abi::rmp::rmpadjust_rdx(target, permissions, vmsa);
    // SAFETY: it changes what less privileged levels may do with guest RAM.
    match unsafe { foreign_rmpadjust(va, size as u32, rdx) } {
        0 => Ok(()),
        code if code & FAULTED != 0 => Err(PageOpError::Fault),
        code => Err(PageOpError::Code(code as u64)),
    }
}

/// Whether an address is in a page that is left out below a stack: whoever came there had no room any more.
pub fn is_guard(va: u64) -> bool {
    let page = va & !(PAGE_SIZE - 1);
    let stack = is_stack(va) || page == super::own::boot_stack_guard();
    stack && try_read_own(page).is_none() && try_read_own(page + PAGE_SIZE).is_some()
}

/// A word of the SVSM's own memory or stacks, for reports: the address may be anything.
pub fn try_read_own(va: u64) -> Option<u64> {
    let own = (KERNEL_VIRTUAL_BASE..KERNEL_VIRTUAL_BASE + SVSM_SIZE).contains(&va);
    if !own && !is_stack(va) {
        return None;
    }
    let mut word = [0; 8];
    read_at(va, &mut word).ok()?;
    Some(u64::from_le_bytes(word))
}
