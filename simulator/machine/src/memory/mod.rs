//! Guest physical memory: where it is, whose it is (RMP), and what each VMPL's nested page tables say about it.

mod checked;
mod nested;
mod state;

use crate::arch::guest;
use crate::arch::lock::{Guard, SpinLock};
use crate::shootdown;
use crate::svm::npt::{NestedTables, Tables, View};
use snp_abi::{PAGE_SIZE, Vmpl};
use snp_model::rmp::{Access, Rmp, RmpEntry, Violation, VmsaPageFailure, check_access};

pub use checked::Checked;

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

    /// Says where guest memory and RMP are, in the terms of QEMU's monitor.
    pub fn print(&self) {
        for b in self.backings() {
            crate::say!(
                "memory: gpa {:#x}..{:#x} at {:#x} {}",
                b.gpa,
                b.gpa + b.bytes,
                b.hpa,
                if b.ram { "ram" } else { "required" }
            );
        }
        crate::say!(
            "memory: rmp at {:#x}, {} entries of {} bytes",
            self.rmp.as_ptr() as u64 - crate::arch::phys::DIRECT_MAP,
            self.rmp.len(),
            size_of::<RmpEntry>()
        );
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
