//! The payload's page tables.
//!
//! At entry the lowest 4 GiB are identity mapped by 2 MiB pages, private (C=1), writable, executable, for the
//! supervisor. More is mapped on demand: [`ensure_identity`] for memory above, [`map`] for single pages anywhere,
//! [`set_shared`] to change the C-bit of one page (the large page around it is split). Changes are seen by this
//! processor at once and by others when they next flush.

use crate::sync::{RawCell, SpinLock};
use crate::{cpu, pool};

/// Bits of a page-table entry.
pub mod pte {
    /// Present.
    pub const PRESENT: u64 = 1 << 0;
    /// Writable.
    pub const WRITE: u64 = 1 << 1;
    /// For CPL 3.
    pub const USER: u64 = 1 << 2;
    /// Accessed.
    pub const ACCESSED: u64 = 1 << 5;
    /// Dirty.
    pub const DIRTY: u64 = 1 << 6;
    /// Large page.
    pub const LARGE: u64 = 1 << 7;
    /// Not executable.
    pub const NX: u64 = 1 << 63;
}

/// Bits 51:12 of an entry, C-bit included.
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// No page is left for a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfPages;

unsafe extern "C" {
    static mut rt_pml4: [u64; 512];
}

static C_BIT: RawCell<u64> = RawCell::new(0);
/// Serialises changes of the tables.
static LOCK: SpinLock<()> = SpinLock::new(());

pub(crate) fn init(c_bit: u64) {
    // SAFETY: called once, before anything else runs.
    unsafe { C_BIT.get().write(c_bit) };
}

/// The C-bit's mask.
pub fn c_bit() -> u64 {
    // SAFETY: written only by `init`.
    unsafe { C_BIT.get().read() }
}

/// GPA of the PML4, without the C-bit.
pub fn root() -> u64 {
    &raw const rt_pml4 as u64
}

/// How a page is to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// C=1.
    pub private: bool,
    /// For CPL 3 as well.
    pub user: bool,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub execute: bool,
}

impl Mapping {
    /// Private, writable, executable, for the supervisor.
    pub const PRIVATE: Mapping = Mapping {
        private: true,
        user: false,
        write: true,
        execute: true,
    };
    /// Shared, writable, not executable, for the supervisor.
    pub const SHARED: Mapping = Mapping {
        private: false,
        user: false,
        write: true,
        execute: false,
    };
    /// Private, writable, executable, for CPL 3.
    pub const USER: Mapping = Mapping {
        private: true,
        user: true,
        write: true,
        execute: true,
    };

    fn entry(self, gpa: u64) -> u64 {
        let mut entry = gpa | pte::PRESENT;
        if self.private {
            entry |= c_bit();
        }
        if self.user {
            entry |= pte::USER;
        }
        if self.write {
            entry |= pte::WRITE;
        }
        if !self.execute {
            entry |= pte::NX;
        }
        entry
    }
}

/// The entry for `va` in the table at `table` of this level (3 PML4 .. 0 page table).
fn slot(table: u64, va: u64, level: u32) -> *mut u64 {
    let index = (va >> (12 + 9 * level)) & 511;
    (table + index * 8) as *mut u64
}

fn read(slot: *mut u64) -> u64 {
    // SAFETY: slots lie in page tables of the image, which are never freed.
    unsafe { slot.read_volatile() }
}

fn write(slot: *mut u64, entry: u64) {
    // SAFETY: as in `read`; the lock is held by all writers.
    unsafe { slot.write_volatile(entry) }
}

/// Walks to the entry for `va` at `level`, making or splitting tables on the way.
fn walk(va: u64, level: u32) -> Result<*mut u64, OutOfPages> {
    let mut table = root();
    for current in (level + 1..4).rev() {
        let slot = slot(table, va, current);
        let entry = read(slot);
        if entry & pte::PRESENT == 0 {
            let new = pool::allocate(1).ok_or(OutOfPages)?;
            // SAFETY: the page was just allocated.
            unsafe { pool::clear(new) };
            write(slot, new | c_bit() | 7);
        } else if current < 3 && entry & pte::LARGE != 0 {
            split(slot, entry, current)?;
        }
        table = read(slot) & ADDRESS & !c_bit();
    }
    Ok(slot(table, va, level))
}

/// Replaces a large page by a table of smaller ones with the same attributes.
fn split(slot: *mut u64, entry: u64, level: u32) -> Result<(), OutOfPages> {
    let new = pool::allocate(1).ok_or(OutOfPages)?;
    let step = 1u64 << (12 + 9 * (level - 1));
    for i in 0..512u64 {
        let mut small = entry + i * step;
        if level == 1 {
            small &= !pte::LARGE;
        }
        write((new + i * 8) as *mut u64, small);
    }
    write(slot, new | c_bit() | 7);
    Ok(())
}

/// Maps the 4 KiB page at `va` to `gpa`.
pub fn map(va: u64, gpa: u64, mapping: Mapping) -> Result<(), OutOfPages> {
    map_sized(va, gpa, mapping, 0)
}

/// Maps the 2 MiB page at `va` to `gpa`; both 2 MiB aligned.
pub fn map_large(va: u64, gpa: u64, mapping: Mapping) -> Result<(), OutOfPages> {
    map_sized(va, gpa, mapping, 1)
}

fn map_sized(va: u64, gpa: u64, mapping: Mapping, level: u32) -> Result<(), OutOfPages> {
    let _guard = LOCK.lock();
    let slot = walk(va, level)?;
    let large = if level == 1 { pte::LARGE } else { 0 };
    write(slot, mapping.entry(gpa) | large);
    cpu::invlpg(va);
    Ok(())
}

/// Removes the mapping of the 4 KiB page at `va`.
pub fn unmap(va: u64) -> Result<(), OutOfPages> {
    set_entry(va, 0)
}

/// Writes the page-table entry of the 4 KiB page at `va` as it is given.
pub fn set_entry(va: u64, entry: u64) -> Result<(), OutOfPages> {
    let _guard = LOCK.lock();
    let slot = walk(va, 0)?;
    write(slot, entry);
    cpu::invlpg(va);
    Ok(())
}

/// The page-table entry of the 4 KiB page at `va`.
pub fn entry(va: u64) -> Result<u64, OutOfPages> {
    let _guard = LOCK.lock();
    Ok(read(walk(va, 0)?))
}

/// GPA of the page that holds the entry of the 4 KiB page at `va`.
pub fn table_of(va: u64) -> Result<u64, OutOfPages> {
    let _guard = LOCK.lock();
    Ok(walk(va, 0)? as u64 & !0xFFF)
}

/// Maps the 4 KiB page at `gpa` identity and shared.
pub fn set_shared(gpa: u64) -> Result<(), OutOfPages> {
    map(gpa, gpa, Mapping::SHARED)
}

/// Maps the 4 KiB page at `gpa` identity and private.
pub fn set_private(gpa: u64) -> Result<(), OutOfPages> {
    map(gpa, gpa, Mapping::PRIVATE)
}

/// Sees to it that `size` bytes from `gpa` are mapped identity; what is not yet, is mapped private by 2 MiB pages.
pub fn ensure_identity(gpa: u64, size: u64) -> Result<(), OutOfPages> {
    const LARGE: u64 = snp_abi::LARGE_PAGE_SIZE;
    let _guard = LOCK.lock();
    let mut page = gpa & !(LARGE - 1);
    while page < gpa.saturating_add(size) {
        // The lowest 4 GiB are mapped at entry, in part by small pages by now.
        if page >= 1 << 32 {
            let slot = walk(page, 1)?;
            if read(slot) & pte::PRESENT == 0 {
                write(slot, Mapping::PRIVATE.entry(page) | pte::LARGE);
            }
        }
        page += LARGE;
    }
    Ok(())
}

/// Drops all translations of this processor.
pub fn flush() {
    // SAFETY: CR3 keeps its value.
    unsafe { cpu::set_cr3(cpu::cr3()) };
}

/// Makes the page at `table` the page table (lowest level) for `va`'s 2 MiB region.
pub fn replace_table(va: u64, table: u64) -> Result<(), OutOfPages> {
    let _guard = LOCK.lock();
    walk(va, 0)?;
    let slot = walk(va, 1)?;
    write(slot, table | c_bit() | 7);
    flush();
    Ok(())
}
