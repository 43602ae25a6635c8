//! Nested page tables: per VMPL one set, shared by all vCPUs, filled lazily.
//!
//! A nested address carries the C-bit (bit 47), so the upper half of a root is the private view of guest physical memory and
//! the lower half the shared one. With paging off a processor sets no C-bit and everything is private: a second root has
//! the private view in its lower half.
//!
//! Tables are added and never removed; what changes is their leaves. A region of 2 MiB is one large leaf or one table of
//! 512 small ones.

use crate::arch::{frames, phys};
use snp_abi::Vmpl;

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED_DIRTY: u64 = 0x60;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;
const C_BIT: u32 = 47;
/// Slots of a root in each view.
const HALF: usize = 256;

/// What a leaf maps and allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf(u64);

impl Leaf {
    /// Nothing.
    pub const ABSENT: Leaf = Leaf(0);

    /// The frame at `hpa`, readable.
    pub const fn new(hpa: u64, write: bool, execute: bool) -> Leaf {
        let mut entry = hpa & ADDRESS | PRESENT | USER | ACCESSED_DIRTY;
        if write {
            entry |= WRITE;
        }
        if !execute {
            entry |= NO_EXECUTE;
        }
        Leaf(entry)
    }

    /// Whether going from `self` to `new` takes something away that a TLB may still have.
    pub const fn loses(self, new: Leaf) -> bool {
        self.0 & PRESENT != 0
            && (self.0 & ADDRESS != new.0 & ADDRESS
                || new.0 & PRESENT == 0
                || self.0 & WRITE != 0 && new.0 & WRITE == 0
                || self.0 & NO_EXECUTE == 0 && new.0 & NO_EXECUTE != 0)
    }

    /// The same rights for the frame `distance` further up.
    pub const fn moved(self, distance: u64) -> Leaf {
        if self.0 & PRESENT == 0 {
            return Leaf::ABSENT;
        }
        Leaf(self.0.wrapping_add(distance))
    }

    /// The leaf of the small page `index` of the large page that this is.
    const fn part(self, index: u64) -> Leaf {
        if self.0 & PRESENT == 0 {
            return Leaf::ABSENT;
        }
        Leaf((self.0 & !LARGE) + index * 4096)
    }
}

/// Which half of the guest's address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// C = 1.
    Private,
    /// C = 0.
    Shared,
}

/// The nested page tables of one VMPL.
#[derive(Clone, Copy)]
pub struct Tables {
    paged: u64,
    unpaged: u64,
}

/// What a 2 MiB region has at the moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// Nothing: the first access comes here.
    Empty,
    /// One large leaf.
    Large,
    /// A table of small leaves at this address.
    Table(u64),
}

fn read(table: u64, index: usize) -> u64 {
    debug_assert!(index < 512);
    // SAFETY: `table` is a frame of ours that only this module uses (the processor walks it, too); index is checked.
    unsafe { (phys::virt(table) as *const u64).add(index).read_volatile() }
}

fn write(table: u64, index: usize, entry: u64) {
    debug_assert!(index < 512);
    // SAFETY: as for `read`; writers hold the memory lock, and a processor sees the old or the new entry.
    unsafe {
        (phys::virt(table) as *mut u64)
            .add(index)
            .write_volatile(entry)
    }
}

fn table() -> u64 {
    match frames::allocate(1) {
        Some(table) => table,
        None => panic!("no memory for nested page tables"),
    }
}

impl Tables {
    /// Empty tables.
    pub fn new() -> Tables {
        Tables {
            paged: table(),
            unpaged: table(),
        }
    }

    /// The root for a vCPU whose page-table entries have a C-bit or not.
    pub const fn root(&self, paging: bool) -> u64 {
        if paging { self.paged } else { self.unpaged }
    }

    /// The page directory and index for `gpa`; makes it if `create`.
    fn directory(&self, view: View, gpa: u64, create: bool) -> Option<(u64, usize)> {
        let top = (gpa >> 39) as usize & (HALF - 1);
        let slot = match view {
            View::Private => top + HALF,
            View::Shared => top,
        };
        let mut next = read(self.paged, slot);
        if next == 0 {
            if !create {
                return None;
            }
            next = table() | PRESENT | WRITE | USER;
            write(self.paged, slot, next);
            if view == View::Private {
                write(self.unpaged, top, next);
            }
        }
        let pointer_table = next & ADDRESS;
        let index = (gpa >> 30) as usize & 511;
        let mut next = read(pointer_table, index);
        if next == 0 {
            if !create {
                return None;
            }
            next = table() | PRESENT | WRITE | USER;
            write(pointer_table, index, next);
        }
        Some((next & ADDRESS, (gpa >> 21) as usize & 511))
    }

    /// What the 2 MiB region around `gpa` has.
    pub fn region(&self, view: View, gpa: u64) -> Region {
        match self.directory(view, gpa, false) {
            None => Region::Empty,
            Some((directory, index)) => match read(directory, index) {
                0 => Region::Empty,
                entry if entry & LARGE != 0 => Region::Large,
                entry => Region::Table(entry & ADDRESS),
            },
        }
    }

    /// Makes the region around `gpa` one large leaf, or nothing. Returns whether a TLB may have more. The region must not
    /// be a table.
    pub fn set_large(&self, view: View, gpa: u64, leaf: Leaf) -> bool {
        let Some((directory, index)) = self.directory(view, gpa, leaf != Leaf::ABSENT) else {
            return false;
        };
        let old = Leaf(read(directory, index));
        let new = match leaf {
            Leaf::ABSENT => leaf,
            Leaf(entry) => Leaf(entry | LARGE),
        };
        write(directory, index, new.0);
        old.loses(new)
    }

    /// Makes the region around `gpa` a table, if it is none, that maps what the large leaf mapped. Returns its address.
    pub fn make_table(&self, view: View, gpa: u64) -> u64 {
        let Some((directory, index)) = self.directory(view, gpa, true) else {
            unreachable!("the directory was just made");
        };
        let old = read(directory, index);
        if old != 0 && old & LARGE == 0 {
            return old & ADDRESS;
        }
        let new = table();
        if old != 0 {
            for i in 0..512 {
                write(new, i, Leaf(old).part(i as u64).0);
            }
        }
        write(directory, index, new | PRESENT | WRITE | USER);
        new
    }

    /// Sets the small leaf of `gpa` in a region's table. Returns whether a TLB may have more.
    pub fn set_small(table: u64, gpa: u64, leaf: Leaf) -> bool {
        let index = (gpa >> 12) as usize & 511;
        let old = Leaf(read(table, index));
        if old != leaf {
            write(table, index, leaf.0);
        }
        old.loses(leaf)
    }
}

/// The tables of all VMPLs.
pub struct NestedTables([Tables; Vmpl::COUNT]);

impl NestedTables {
    /// Empty ones.
    pub fn new() -> NestedTables {
        NestedTables([(); Vmpl::COUNT].map(|()| Tables::new()))
    }

    /// Of one VMPL.
    pub const fn of(&self, vmpl: Vmpl) -> &Tables {
        &self.0[vmpl.index()]
    }
}

/// Splits a nested fault's address into GPA and view.
pub const fn split(address: u64, paging: bool) -> (u64, View) {
    if !paging || address >> C_BIT & 1 != 0 {
        (address & !(1 << C_BIT), View::Private)
    } else {
        (address, View::Shared)
    }
}
