//! Guest physical memory: where it is, whose it is (RMP), and what each VMPL's nested page tables say about it.

use crate::arch::lock::{Guard, SpinLock};
use crate::arch::{guest, phys};
use crate::shootdown;
use crate::svm::npt::{Leaf, NestedTables, Region, Tables, View};
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, RmpPermissions, Vmpl};
use snp_model::rmp::{
    Access, Grant, HostFailure, Rmp, RmpEntry, RmpUpdate, Violation, VmsaPageFailure, check_access,
};
use snp_model::walk::GuestMemory;

/// Most ranges of guest RAM and of memory that the machine provides elsewhere.
const MAX_RANGES: usize = 16;

/// Guest physical memory at `gpa` that lies in host memory at `hpa`.
#[derive(Clone, Copy, Default)]
pub struct Backing {
    /// Where the guest has it.
    pub gpa: u64,
    /// Where it is.
    pub hpa: u64,
    /// How much.
    pub bytes: u64,
    /// RAM of the memory map, rather than memory that the image required on top.
    pub ram: bool,
}

/// What is at a guest physical address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Memory, at this host address.
    Memory(u64),
    /// A device, or nothing at all: QEMU's to answer.
    Device,
    /// Memory of the host that is not the guest's.
    Host,
}

/// Memory and who may use it. Behind [`lock`].
pub struct Memory {
    backing: [Backing; MAX_RANGES],
    backings: usize,
    host: [(u64, u64); MAX_RANGES],
    hosts: usize,
    rmp: &'static mut [RmpEntry],
    tables: Option<NestedTables>,
    /// What a shared read of a private page sees.
    ciphertext: u64,
    flush: [bool; Vmpl::COUNT],
}

static MEMORY: SpinLock<Memory> = SpinLock::new(Memory {
    backing: [Backing {
        gpa: 0,
        hpa: 0,
        bytes: 0,
        ram: false,
    }; MAX_RANGES],
    backings: 0,
    host: [(0, 0); MAX_RANGES],
    hosts: 0,
    rmp: &mut [],
    tables: None,
    ciphertext: 0,
    flush: [false; Vmpl::COUNT],
});

/// Takes the lock.
pub fn lock() -> Guard<'static, Memory> {
    MEMORY.lock()
}

/// Ends a change of rights: makes every processor that may have stale translations leave its guest.
pub fn finish(mut memory: Guard<'static, Memory>) {
    let flush = core::mem::take(&mut memory.flush);
    drop(memory);
    shootdown::flush(flush);
}

impl Memory {
    /// Sets it up: `rmp` covers the host's frames from 0 on, `host` is memory that is not a device.
    pub fn init(&mut self, rmp: &'static mut [RmpEntry], host: &[(u64, u64)]) -> Option<()> {
        self.rmp = rmp;
        for range in host {
            *self.host.get_mut(self.hosts)? = *range;
            self.hosts += 1;
        }
        self.tables = Some(NestedTables::new());
        self.ciphertext = guest::allocate(PAGE_SIZE, PAGE_SIZE)?;
        let mut noise = [0u8; 4096];
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        for chunk in noise.chunks_exact_mut(8) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        guest::write(self.ciphertext, &noise);
        Some(())
    }

    /// Adds memory for the guest.
    pub fn add(&mut self, backing: Backing) -> Option<()> {
        *self.backing.get_mut(self.backings)? = backing;
        self.backings += 1;
        Some(())
    }

    /// Guest memory.
    pub fn backings(&self) -> &[Backing] {
        &self.backing[..self.backings]
    }

    fn backing(&self, gpa: u64) -> Option<&Backing> {
        self.backings()
            .iter()
            .find(|b| gpa >= b.gpa && gpa - b.gpa < b.bytes)
    }

    /// What is at `gpa`.
    pub fn place(&self, gpa: u64) -> Place {
        if let Some(b) = self.backing(gpa) {
            return Place::Memory(gpa - b.gpa + b.hpa);
        }
        let host = self.host[..self.hosts]
            .iter()
            .any(|&(start, end)| (start..end).contains(&gpa));
        if host { Place::Host } else { Place::Device }
    }

    /// Host address of guest memory.
    pub fn frame(&self, gpa: u64) -> Option<u64> {
        match self.place(gpa) {
            Place::Memory(hpa) => Some(hpa),
            Place::Device | Place::Host => None,
        }
    }

    /// Whether `gpa` is memory that the image required on top of the RAM: the SVSM's.
    pub fn is_extra(&self, gpa: u64) -> bool {
        self.backing(gpa).is_some_and(|b| !b.ram)
    }

    /// The RMP.
    pub fn rmp(&mut self) -> Rmp<'_> {
        Rmp::new(0, self.rmp)
    }

    /// The RMP entry that governs the frame at `hpa`.
    pub fn entry(&mut self, hpa: u64) -> RmpEntry {
        self.rmp()
            .entry(hpa / PAGE_SIZE)
            .unwrap_or(RmpEntry::HYPERVISOR)
    }

    /// The RMP entry that governs `gpa`, if there is memory.
    pub fn entry_at(&mut self, gpa: u64) -> Option<RmpEntry> {
        let hpa = self.frame(gpa)?;
        Some(self.entry(hpa))
    }

    /// A VMPL's nested page tables, whose roots never change.
    pub fn tables_of(&self, vmpl: Vmpl) -> Tables {
        *self.tables().of(vmpl)
    }

    fn tables(&self) -> &NestedTables {
        match &self.tables {
            Some(tables) => tables,
            None => unreachable!("set up before any guest runs"),
        }
    }

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
    fn fill(&mut self, vmpl: Vmpl, view: View, gpa: u64, execute: bool) {
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

    /// Decides about a nested fault: `Ok` when the access is allowed and mapped now, else what is wrong.
    pub fn resolve(
        &mut self,
        vmpl: Vmpl,
        view: View,
        gpa: u64,
        access: Access,
    ) -> Result<(), Violation> {
        let private = view == View::Private;
        let hpa = match self.place(gpa) {
            Place::Memory(hpa) => hpa & !0xFFF,
            Place::Device if !private => return Err(Violation::mmio(gpa)),
            Place::Device | Place::Host => {
                return Err(Violation::not_mapped(gpa, access, private));
            }
        };
        let entry = self.entry(hpa);
        check_access(entry, vmpl, gpa, access, private)?;
        self.fill(vmpl, view, gpa, access.execute);
        Ok(())
    }

    /// Gives a page to the guest or takes it back: RMPUPDATE with what a hypervisor does around it. No-op when the page is
    /// in that state already.
    pub fn change_state(
        &mut self,
        gpa: u64,
        size: PageSize,
        private: bool,
    ) -> Result<(), HostFailure> {
        let bytes = size.bytes();
        if !gpa.is_multiple_of(bytes) {
            return Err(HostFailure::Input);
        }
        for offset in [0, bytes - PAGE_SIZE] {
            if self.frame(gpa + offset).is_none() {
                return Err(HostFailure::Input);
            }
        }
        let result = self.change(gpa, size, private);
        self.refresh(&Vmpl::ALL, gpa, bytes);
        result
    }

    fn change(&mut self, gpa: u64, size: PageSize, private: bool) -> Result<(), HostFailure> {
        let hpa = self.frame(gpa).ok_or(HostFailure::Input)?;
        let frame = hpa / PAGE_SIZE;
        let update = |gpa, size| RmpUpdate {
            assigned: private,
            gpa: if private { gpa } else { 0 },
            size,
            immutable: false,
        };
        let entry = self.entry(hpa);
        let as_one = match size {
            PageSize::Size4K => {
                if entry.assigned() && entry.size() == PageSize::Size2M && !private {
                    self.rmp().psmash(frame & !511)?;
                }
                true
            }
            PageSize::Size2M => {
                let all = |memory: &mut Memory, test: fn(RmpEntry) -> bool| {
                    (0..512).all(|i| test(memory.entry(hpa + i * PAGE_SIZE)))
                };
                hpa.is_multiple_of(LARGE_PAGE_SIZE)
                    && (entry.assigned() && entry.size() == PageSize::Size2M
                        || private && all(self, |e| !e.assigned()))
            }
        };
        let step = if as_one { size } else { PageSize::Size4K };
        for offset in (0..size.bytes()).step_by(step.bytes() as usize) {
            let hpa = self.frame(gpa + offset).ok_or(HostFailure::Input)?;
            if self.entry(hpa).assigned() == private {
                continue;
            }
            self.rmp()
                .rmpupdate(hpa / PAGE_SIZE, update(gpa + offset, step))?;
            for page in (hpa..hpa + step.bytes()).step_by(PAGE_SIZE as usize) {
                guest::scramble(page);
            }
        }
        Ok(())
    }

    /// VMRUN's claim on a VMSA page: in use from now on, so VMPL0 cannot write it.
    pub fn begin_vmrun(&mut self, gpa: u64) -> Result<u64, VmsaPageFailure> {
        let Some(hpa) = self.frame(gpa) else {
            return Err(VmsaPageFailure::OutsideRmp { frame: gpa >> 12 });
        };
        self.rmp().begin_vmrun(hpa / PAGE_SIZE)?;
        self.refresh(&Vmpl::ALL, gpa, PAGE_SIZE);
        Ok(hpa)
    }

    /// Ends it.
    pub fn end_vmrun(&mut self, gpa: u64, hpa: u64) {
        self.rmp().end_vmrun(hpa / PAGE_SIZE);
        self.refresh(&Vmpl::ALL, gpa, PAGE_SIZE);
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

/// Guest memory as a VMPL may use it.
pub struct Checked<'a> {
    /// The memory.
    pub memory: &'a mut Memory,
    /// Who.
    pub vmpl: Vmpl,
}

impl Checked<'_> {
    fn check(
        &mut self,
        gpa: u64,
        private: bool,
        access: Access,
    ) -> Result<(u64, Grant), Violation> {
        match self.memory.place(gpa) {
            Place::Memory(hpa) => {
                let entry = self.memory.entry(hpa);
                let grant = check_access(entry, self.vmpl, gpa & !0xFFF, access, private)?;
                Ok((hpa, grant))
            }
            Place::Device if !private => Err(Violation::mmio(gpa)),
            Place::Device | Place::Host => Err(Violation::not_mapped(gpa, access, private)),
        }
    }
}

impl GuestMemory for Checked<'_> {
    fn read(
        &mut self,
        gpa: u64,
        private: bool,
        access: Access,
        buffer: &mut [u8],
    ) -> Result<(), Violation> {
        let (hpa, grant) = self.check(gpa, private, access)?;
        let from = match grant {
            Grant::Plain => hpa,
            Grant::Ciphertext => self.memory.ciphertext + (hpa & 0xFFF),
        };
        phys::read(from, buffer);
        Ok(())
    }

    fn write(
        &mut self,
        gpa: u64,
        private: bool,
        access: Access,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let (hpa, _) = self.check(gpa, private, access)?;
        guest::write(hpa, bytes);
        Ok(())
    }
}
