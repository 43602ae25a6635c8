//! What the nested page tables say, derived from the RMP: filled at a fault, brought up to date when the RMP changes.

use super::Memory;
use crate::svm::npt::{Leaf, Region, Tables, View};
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, RmpPermissions, Vmpl};
use snp_model::rmp::{Access, RmpEntry, check_access};

impl Memory {
    /// What the nested page tables of `vmpl` should say about the page of `gpa` at `hpa` whose entry is `entry`.
    fn leaf(&self, vmpl: Vmpl, view: View, gpa: u64, hpa: u64, entry: RmpEntry) -> Leaf {
        match view {
            View::Shared if !entry.assigned() => Leaf::new(hpa, true, false),
            // Contents of a private page cannot be seen without the C-bit.
            View::Shared => Leaf::new(self.ciphertext, false, false),
            View::Private => {
                let may = |access| check_access(entry, vmpl, gpa, access, true).is_ok();
                if !may(Access::READ) {
                    return Leaf::ABSENT;
                }
                let execute = entry
                    .permissions(vmpl)
                    .contains(RmpPermissions::EXECUTE_USER | RmpPermissions::EXECUTE_SUPERVISOR);
                Leaf::new(hpa, may(Access::WRITE), execute)
            }
        }
    }

    /// Fills the nested page tables around `gpa` after a fault that the rules allow; `execute`: the page may be executed
    /// at the level that runs.
    pub(super) fn fill(&mut self, vmpl: Vmpl, view: View, gpa: u64, execute: bool) {
        let tables = *self.tables().of(vmpl);
        let base = gpa & !(LARGE_PAGE_SIZE - 1);
        if tables.region(view, gpa) == Region::Empty
            && let Some(leaf) = self.uniform(vmpl, view, base)
        {
            tables.set_large(view, gpa, leaf);
            return;
        }
        let was_table = matches!(tables.region(view, gpa), Region::Table(_));
        let table = tables.make_table(view, gpa);
        if was_table {
            self.refresh_small(vmpl, view, table, gpa, gpa + 1);
        } else {
            self.refresh_small(vmpl, view, table, base, base + LARGE_PAGE_SIZE);
        }
        if execute && let Some(hpa) = self.frame(gpa & !0xFFF) {
            // Executable at one privilege level only: nested tables cannot tell, so it becomes so at this level's use.
            let entry = self.entry(hpa);
            let write = check_access(entry, vmpl, gpa & !0xFFF, Access::WRITE, true).is_ok();
            Tables::set_small(table, gpa, Leaf::new(hpa, write, true));
        }
    }

    /// Sets the small leaves of the pages from `start` to before `end`, which are in one region, from the RMP.
    fn refresh_small(&mut self, vmpl: Vmpl, view: View, table: u64, start: u64, end: u64) {
        let mut last: Option<(RmpEntry, u64, Leaf)> = None;
        for page in (start & !0xFFF..end).step_by(PAGE_SIZE as usize) {
            let leaf = match self.frame(page) {
                Some(hpa) => {
                    let entry = self.entry(hpa);
                    let leaf = match last {
                        // Neighbours are mostly alike: no need to ask all the rules again.
                        Some((other, hpa_other, leaf))
                            if view == View::Private
                                && alike(other, entry, vmpl)
                                && in_place(entry, page) =>
                        {
                            leaf.moved(hpa.wrapping_sub(hpa_other))
                        }
                        _ => self.leaf(vmpl, view, page, hpa, entry),
                    };
                    last = in_place(entry, page).then_some((entry, hpa, leaf));
                    leaf
                }
                None => Leaf::ABSENT,
            };
            self.flush[vmpl.index()] |= Tables::set_small(table, page, leaf);
        }
    }

    /// The leaf for the whole region at `base`, if its pages are all alike and contiguous.
    fn uniform(&mut self, vmpl: Vmpl, view: View, base: u64) -> Option<Leaf> {
        let b = *self.backing(base)?;
        let hpa = base - b.gpa + b.hpa;
        if b.bytes - (base - b.gpa) < LARGE_PAGE_SIZE || !hpa.is_multiple_of(LARGE_PAGE_SIZE) {
            return None;
        }
        let first = self.entry(hpa);
        let leaf = self.leaf(vmpl, view, base, hpa, first);
        if first.assigned() && view == View::Shared {
            return None;
        }
        if first.assigned() && first.size() == PageSize::Size2M {
            return Some(leaf);
        }
        for i in 1..512 {
            let offset = i * PAGE_SIZE;
            let entry = self.entry(hpa + offset);
            if !alike(first, entry, vmpl) || !in_place(entry, base + offset) {
                return None;
            }
        }
        Some(leaf)
    }

    /// Brings the nested page tables of `vmpls` up to date after the RMP changed for `bytes` at `gpa`. What they never
    /// mapped stays unmapped.
    pub fn refresh(&mut self, vmpls: &[Vmpl], gpa: u64, bytes: u64) {
        let start = gpa & !0xFFF;
        for &vmpl in vmpls {
            for view in [View::Private, View::Shared] {
                let mut page = start;
                while page < start + bytes {
                    let tables = *self.tables().of(vmpl);
                    let base = page & !(LARGE_PAGE_SIZE - 1);
                    let next = (base + LARGE_PAGE_SIZE).min(start + bytes);
                    let region = tables.region(view, page);
                    match region {
                        Region::Empty => {}
                        Region::Large if next - page == LARGE_PAGE_SIZE => {
                            let leaf = self.uniform(vmpl, view, base).unwrap_or(Leaf::ABSENT);
                            self.flush[vmpl.index()] |= tables.set_large(view, base, leaf);
                        }
                        Region::Large | Region::Table(_) => {
                            let table = tables.make_table(view, page);
                            self.refresh_small(vmpl, view, table, page, next);
                        }
                    }
                    page = next;
                }
            }
        }
    }
}

/// Whether two pages' entries give `vmpl` the same rights.
fn alike(a: RmpEntry, b: RmpEntry, vmpl: Vmpl) -> bool {
    a.assigned() == b.assigned()
        && a.validated() == b.validated()
        && a.immutable() == b.immutable()
        && a.in_use() == b.in_use()
        && a.permissions(vmpl) == b.permissions(vmpl)
}

/// Whether an entry is for the GPA where the page is.
fn in_place(entry: RmpEntry, gpa: u64) -> bool {
    !entry.assigned()
        || match entry.size() {
            PageSize::Size4K => entry.gpa() == gpa,
            PageSize::Size2M => entry.gpa() == gpa & !(LARGE_PAGE_SIZE - 1),
        }
}
