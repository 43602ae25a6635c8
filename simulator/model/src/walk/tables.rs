//! The tables themselves: 4-level, PAE and legacy, one loop for all.

use super::{
    AccessedDirty, CR0_WP, CR4_PAE, CR4_PSE, CR4_SMAP, CR4_SMEP, GuestMemory, LinearAccess,
    PF_FETCH, PF_PRESENT, PF_RESERVED, PF_USER, PF_WRITE, Paging, PhysicalAccess, RFLAGS_AC,
    Translation, WalkFault,
};
use snp_abi::msr::EFER_NXE;
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE};

const PTE_PRESENT: u64 = 1 << 0;
const PTE_WRITE: u64 = 1 << 1;
const PTE_USER: u64 = 1 << 2;
const PTE_ACCESSED: u64 = 1 << 5;
const PTE_DIRTY: u64 = 1 << 6;
const PTE_LARGE: u64 = 1 << 7;
const PTE_NX: u64 = 1 << 63;

/// One way of paging: how a level's index is cut out of the address and which bits of its entries are reserved.
struct Levels {
    /// Bytes of an entry.
    entry_size: u64,
    /// Bits of the address that one level resolves.
    index_bits: u32,
    /// Levels, the one of 4 KiB leafs counted.
    count: u32,
}

impl Levels {
    /// Bytes that one entry of `level` (0 holds 4 KiB leafs) covers.
    const fn span(&self, level: u32) -> u64 {
        PAGE_SIZE << (level * self.index_bits)
    }

    const fn index(&self, va: u64, level: u32) -> u64 {
        (va / self.span(level)) & ((1 << self.index_bits) - 1)
    }
}

const LONG: Levels = Levels {
    entry_size: 8,
    index_bits: 9,
    count: 4,
};
const PAE: Levels = Levels {
    entry_size: 8,
    index_bits: 9,
    count: 3,
};
const LEGACY: Levels = Levels {
    entry_size: 4,
    index_bits: 10,
    count: 2,
};

const _: () = assert!(LONG.span(1) == LARGE_PAGE_SIZE);

/// Walks the tables for `va`, which is canonical or has 32 bits.
pub(super) fn walk<M: GuestMemory + ?Sized>(
    memory: &mut M,
    paging: &Paging,
    va: u64,
    access: LinearAccess,
    accessed_dirty: AccessedDirty,
) -> Result<Translation, WalkFault> {
    let (levels, root) = if paging.long_mode() {
        (LONG, paging.cr3 & paging.geometry.address_mask())
    } else if paging.cr4 & CR4_PAE != 0 {
        (PAE, paging.cr3 & 0xFFFF_FFE0)
    } else {
        (LEGACY, paging.cr3 & 0xFFFF_F000)
    };
    Walk {
        memory,
        paging,
        levels,
        va,
        access,
    }
    .run(root, accessed_dirty)
}

struct Walk<'a, M: ?Sized> {
    memory: &'a mut M,
    paging: &'a Paging,
    levels: Levels,
    va: u64,
    access: LinearAccess,
}

impl<M: GuestMemory + ?Sized> Walk<'_, M> {
    fn run(
        mut self,
        mut table: u64,
        accessed_dirty: AccessedDirty,
    ) -> Result<Translation, WalkFault> {
        let (mut writable, mut user, mut no_execute) = (true, true, false);
        // Addresses and values of the entries used, root first: at most four.
        let mut used = [(0u64, 0u64); 4];
        let mut level = self.levels.count - 1;
        loop {
            let at = table + self.levels.index(self.va, level) * self.levels.entry_size;
            let entry = self.read_entry(at)?;
            if entry & PTE_PRESENT == 0 {
                return Err(self.page_fault(0));
            }
            let leaf = self.is_leaf(entry, level);
            if entry & self.reserved_bits(level, leaf) != 0 {
                return Err(self.page_fault(PF_PRESENT | PF_RESERVED));
            }
            if !self.is_pae_root(level) {
                writable &= entry & PTE_WRITE != 0;
                user &= entry & PTE_USER != 0;
                no_execute |= entry & PTE_NX != 0;
                if let Some(slot) = used.get_mut(level as usize) {
                    *slot = (at, entry);
                }
            }
            if leaf {
                if self.denied(writable, user, no_execute) {
                    return Err(self.page_fault(PF_PRESENT));
                }
                if accessed_dirty == AccessedDirty::Set {
                    self.set_accessed_dirty(&used, level)?;
                }
                return Ok(self.translation(entry, level));
            }
            table = self.table_address(entry);
            level -= 1; // Level 0 is always a leaf.
        }
    }

    fn read_entry(&mut self, at: u64) -> Result<u64, WalkFault> {
        let mut bytes = [0; 8];
        let size = self.levels.entry_size as usize;
        if let Some(buffer) = bytes.get_mut(..size) {
            self.memory
                .read(at, true, PhysicalAccess::TABLE_READ, buffer)
                .map_err(WalkFault::Memory)?;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    /// A PAE page-directory-pointer entry has neither rights nor accessed bit.
    fn is_pae_root(&self, level: u32) -> bool {
        self.levels.count == PAE.count && level == 2
    }

    fn is_leaf(&self, entry: u64, level: u32) -> bool {
        match level {
            0 => true,
            1 if self.levels.count == LEGACY.count => {
                entry & PTE_LARGE != 0 && self.paging.cr4 & CR4_PSE != 0
            }
            1 => entry & PTE_LARGE != 0,
            2 => entry & PTE_LARGE != 0 && self.levels.count == LONG.count,
            _ => false,
        }
    }

    /// Bits that must be zero in an entry (APM vol. 2 §5.2-5.4).
    fn reserved_bits(&self, level: u32, leaf: bool) -> u64 {
        if self.levels.count == LEGACY.count {
            // PSE-36: bits 20:13 of a 4 MiB entry are address bits 39:32, 21 is reserved.
            return if leaf && level == 1 { 1 << 21 } else { 0 };
        }
        let geometry = self.paging.geometry;
        let beyond = 0x000F_FFFF_FFFF_F000 & !(geometry.address_mask() | geometry.c_mask());
        let mut reserved = beyond;
        if self.paging.efer & EFER_NXE == 0 {
            reserved |= PTE_NX;
        }
        if self.is_pae_root(level) {
            return reserved | 0xFFF0_0000_0000_01E6;
        }
        if leaf && level > 0 {
            // Between the PAT bit (12) and the page number.
            reserved |= (self.levels.span(level) - 1) & !0x1FFF;
        }
        if level == 3 {
            reserved |= PTE_LARGE;
        }
        reserved
    }

    fn denied(&self, writable: bool, user: bool, no_execute: bool) -> bool {
        let Paging {
            cr0, cr4, rflags, ..
        } = *self.paging;
        let access = self.access;
        let no_execute = no_execute && self.paging.efer & EFER_NXE != 0;
        if access.fetch && no_execute {
            return true;
        }
        if access.user {
            return !user || (access.write && !writable);
        }
        if access.write && !writable && cr0 & CR0_WP != 0 {
            return true;
        }
        if !user {
            return false;
        }
        if access.fetch {
            cr4 & CR4_SMEP != 0
        } else {
            cr4 & CR4_SMAP != 0 && (access.implicit || rflags & RFLAGS_AC == 0)
        }
    }

    fn set_accessed_dirty(
        &mut self,
        used: &[(u64, u64); 4],
        leaf_level: u32,
    ) -> Result<(), WalkFault> {
        for (level, &(at, entry)) in (0u32..).zip(used) {
            let root = self.levels.count - 1;
            if level < leaf_level || level > root || self.is_pae_root(level) {
                continue;
            }
            let mut wanted = PTE_ACCESSED;
            if level == leaf_level && self.access.write {
                wanted |= PTE_DIRTY;
            }
            if entry & wanted != wanted {
                self.memory
                    .set_bits(at, true, PhysicalAccess::TABLE_WRITE, wanted as u8)
                    .map_err(WalkFault::Memory)?;
            }
        }
        Ok(())
    }

    fn table_address(&self, entry: u64) -> u64 {
        if self.levels.count == LEGACY.count {
            entry & 0xFFFF_F000
        } else {
            entry & self.paging.geometry.address_mask()
        }
    }

    fn translation(&self, entry: u64, level: u32) -> Translation {
        let page_size = self.levels.span(level);
        let offset = self.va & (page_size - 1);
        if self.levels.count == LEGACY.count {
            let base = if level == 1 {
                (entry & 0xFFC0_0000) | (entry >> 13 & 0xFF) << 32
            } else {
                entry & 0xFFFF_F000
            };
            return Translation {
                gpa: base | offset,
                private: true,
                page_size,
            };
        }
        let geometry = self.paging.geometry;
        Translation {
            gpa: (entry & geometry.address_mask() & !(page_size - 1)) | offset,
            private: entry & geometry.c_mask() != 0,
            page_size,
        }
    }

    fn page_fault(&self, why: u32) -> WalkFault {
        let mut error_code = why;
        if self.access.write {
            error_code |= PF_WRITE;
        }
        if self.access.user {
            error_code |= PF_USER;
        }
        if self.access.fetch
            && (self.paging.efer & EFER_NXE != 0 || self.paging.cr4 & CR4_SMEP != 0)
        {
            error_code |= PF_FETCH;
        }
        WalkFault::PageFault {
            va: self.va,
            error_code,
        }
    }
}
