//! Eight vCPUs that make any calls on a few pages at once, on real processors, with the RMP as the judge. What loom tries
//! in all interleavings for two calls (`model.rs`), this tries at random for many.

use super::CoreProtocol;
use super::agreement::{VALIDATED, VMSA, agree, vmsa_word};
use crate::machine::{GuestMemory, MemoryFault, PageOpError, PageOps, Validation};
use crate::memory_map::RamMap;
use crate::memory_map::tests::{LIMIT, area};
use crate::page_map::{PageMap, PageState};
use crate::request::{Registers, Served};
use crate::sync::CallLock;
use crate::vcpu::{Vcpu, VcpuTable, VmsaAccess, take_call};
use seeded_rng::Rng;
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, RmpPermissions, SevFeatures, Vmpl};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::vec::Vec;
use svsm_abi::core_call::{CREATE_VCPU, DELETE_VCPU, PVALIDATE, REMAP_CA};
use svsm_abi::{pvalidate_entry, result};

const VCPUS: u64 = 8;
const CALLS: u64 = 50_000;
/// Two large pages: lists, calling areas and what is fought for in the first; the second is fought for as a whole too.
const PAGES: u64 = 2 * LARGE_PAGE_SIZE / PAGE_SIZE;
/// Words of a vCPU's list: the header and at most so many entries.
const LIST_WORDS: usize = 5;
/// Where the pages that are fought for start.
const SHARED: u64 = 2 * VCPUS * PAGE_SIZE;
/// How many small ones there are, here and in the second large page.
const FEW: u64 = 12;

struct Machine {
    rmp: Vec<AtomicU32>,
    lists: Vec<[AtomicU64; LIST_WORDS]>,
    /// What the RMP was asked for and must never be.
    violations: AtomicU64,
}

impl Machine {
    fn must(&self, holds: bool) {
        self.violations
            .fetch_add(u64::from(!holds), Ordering::Relaxed);
    }

    fn covered(&self, gpa: u64, size: PageSize) -> &[AtomicU32] {
        let first = (gpa / PAGE_SIZE) as usize;
        &self.rmp[first..first + size.pages() as usize]
    }

    fn is_validated(&self, gpa: u64) -> Result<(), MemoryFault> {
        let rmp = self.rmp[(gpa / PAGE_SIZE) as usize].load(Ordering::SeqCst);
        (rmp & VALIDATED != 0).then_some(()).ok_or(MemoryFault)
    }
}

impl GuestMemory for Machine {
    fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<(), MemoryFault> {
        self.is_validated(gpa)?;
        let words = self.lists.get((gpa / PAGE_SIZE) as usize);
        let first = (gpa % PAGE_SIZE / 8) as usize;
        for (at, word) in buffer.chunks_mut(8).enumerate() {
            // A byte that is read elsewhere is a calling area's: a call is pending.
            let value = words.map_or(1, |list| list[first + at].load(Ordering::Relaxed));
            word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
        }
        Ok(())
    }

    fn write(&self, gpa: u64, _: &[u8]) -> Result<(), MemoryFault> {
        self.is_validated(gpa)
    }

    fn zero(&self, gpa: u64, bytes: u64) -> Result<(), MemoryFault> {
        for page in 0..bytes / PAGE_SIZE {
            self.is_validated(gpa + page * PAGE_SIZE)?;
        }
        Ok(())
    }
}

impl VmsaAccess for Machine {
    fn read_u64(&self, gpa: u64, offset: usize) -> Result<u64, MemoryFault> {
        self.is_validated(gpa)?;
        Ok(vmsa_word(offset))
    }

    fn write_u64(&self, gpa: u64, _: usize, _: u64) -> Result<(), MemoryFault> {
        self.is_validated(gpa)
    }
}

impl PageOps for Machine {
    fn pvalidate(
        &self,
        gpa: u64,
        size: PageSize,
        validate: bool,
    ) -> Result<Validation, PageOpError> {
        for rmp in self.covered(gpa, size) {
            let (from, to) = match validate {
                true => (0, VALIDATED),
                false => (VALIDATED, 0),
            };
            // Not validated twice, and neither a VMSA nor an unvalidated page rescinded.
            self.must(rmp.swap(to, Ordering::SeqCst) == from);
        }
        Ok(Validation::Changed)
    }

    fn rmpadjust(
        &self,
        gpa: u64,
        size: PageSize,
        _: Vmpl,
        _: RmpPermissions,
        vmsa: bool,
    ) -> Result<(), PageOpError> {
        for rmp in self.covered(gpa, size) {
            let before = match vmsa {
                true => rmp.fetch_or(VMSA, Ordering::SeqCst),
                false => rmp.fetch_and(!VMSA, Ordering::SeqCst),
            };
            self.must(before & VALIDATED != 0 && !(vmsa && before & VMSA != 0));
        }
        Ok(())
    }

    fn flush_guest_tlbs(&self) {}
}

/// What a vCPU does next.
struct Random(Rng);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0.below(limit as usize) as u64
    }

    /// One of the small pages that are fought for.
    fn page(&mut self) -> u64 {
        let page = SHARED + self.below(FEW) * PAGE_SIZE;
        page + self.below(2) * LARGE_PAGE_SIZE
    }

    /// An entry of PVALIDATE's list.
    fn entry(&mut self) -> u64 {
        let page = match self.below(8) {
            0 => LARGE_PAGE_SIZE | PageSize::Size2M as u64,
            _ => self.page(),
        };
        let validate = self.below(2) * pvalidate_entry::VALIDATE;
        page | validate | pvalidate_entry::IGNORE_CF
    }
}

/// Calls of one vCPU: how many of each kind succeeded.
fn work(core: &CoreProtocol<'_, Machine>, index: u64) -> [u64; 4] {
    let mut random = Random(Rng::new(0, index));
    let caller = &core.vcpus.0[index as usize];
    let mut done = [0; 4];
    for _ in 0..CALLS {
        if let Some(_shared) = core.lock.read()
            && let Some(area) = caller.calling_area()
        {
            core.machine
                .must(core.pages.state(area) == PageState::CallingArea);
            core.machine.must(take_call(core.machine, area));
        }
        let kind = match random.below(8) {
            0 => 1,
            1 | 2 => 2,
            3 => 3,
            _ => 0,
        };
        let (call, rcx, rdx, r8) = match kind {
            0 => {
                let entries = 1 + random.below(LIST_WORDS as u64 - 1);
                let list = &core.machine.lists[index as usize];
                list[0].store(entries, Ordering::Relaxed);
                for word in &list[1..] {
                    word.store(random.entry(), Ordering::Relaxed);
                }
                (PVALIDATE, index * PAGE_SIZE, 0, 0)
            }
            1 => (REMAP_CA, random.page(), 0, 0),
            2 => (
                CREATE_VCPU,
                random.page(),
                random.page(),
                random.below(VCPUS),
            ),
            _ => (DELETE_VCPU, random.page(), 0, 0),
        };
        let mut registers = Registers {
            rax: call.into(),
            rcx,
            rdx,
            r8,
        };
        core.call(caller, &mut registers);
        done[kind] += u64::from(registers.rax == result::SUCCESS);
    }
    done
}

#[test]
fn eight_vcpus_that_fight_for_pages_leave_rmp_and_page_map_in_agreement() {
    let ram = RamMap::parse(&area(&[(0, PAGES, 0)]), LIMIT).unwrap();
    let words: Vec<_> = (0..ram.page_map_words())
        .map(|_| AtomicU64::new(0))
        .collect();
    let pages = PageMap::new(&ram, &words).unwrap();
    let machine = Machine {
        rmp: (0..PAGES)
            .map(|page| AtomicU32::new(u32::from(page < 2 * VCPUS) * VALIDATED))
            .collect(),
        lists: (0..VCPUS).map(|_| Default::default()).collect(),
        violations: AtomicU64::new(0),
    };
    pages.set_at_boot(0, 2 * VCPUS, PageState::Validated);
    pages.set_at_boot(VCPUS * PAGE_SIZE, VCPUS, PageState::CallingArea);
    let vcpus: Vec<_> = (0..VCPUS).map(|index| Vcpu::new(index as u32)).collect();
    for (index, vcpu) in (0..).zip(&vcpus) {
        vcpu.set_online();
        vcpu.set_guest(Some((1 << 30, (VCPUS + index) * PAGE_SIZE)));
    }
    let core = CoreProtocol {
        pages: &pages,
        vcpus: VcpuTable(&vcpus),
        lock: &CallLock::new(),
        machine: &machine,
        guest_features: SevFeatures::SNP_ACTIVE,
        served: &Served::new(),
    };
    let mut total = [0; 4];
    let start = Barrier::new(VCPUS as usize);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..VCPUS)
            .map(|index| {
                let (core, start) = (&core, &start);
                scope.spawn(move || {
                    start.wait();
                    work(core, index)
                })
            })
            .collect();
        for thread in threads {
            for (total, done) in total.iter_mut().zip(thread.join().unwrap()) {
                *total += done;
            }
        }
    });
    std::println!("succeeded: PVALIDATE, REMAP_CA, CREATE_VCPU, DELETE_VCPU {total:?}");
    assert_eq!(machine.violations.load(Ordering::Relaxed), 0);
    assert!(total.iter().all(|&done| done > 0), "{total:?}");
    for page in 0..PAGES {
        let rmp = machine.rmp[page as usize].load(Ordering::Relaxed);
        agree(&pages, &vcpus, page * PAGE_SIZE, rmp);
    }
}
