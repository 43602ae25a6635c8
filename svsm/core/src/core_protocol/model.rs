//! Two vCPUs whose calls meet on the same pages, in all interleavings, with the RMP as the judge: it knows what the
//! instructions find, and nothing of the page map. What a page holds is plain memory, on which loom allows no race.

use super::CoreProtocol;
use super::agreement::{VALIDATED, VMSA, agree, vmsa_word};
use crate::machine::{GuestMemory, MemoryFault, PageOpError, PageOps, Validation};
use crate::memory_map::RamMap;
use crate::memory_map::tests::{LIMIT, area};
use crate::mistake::noticed;
use crate::page_map::{PageMap, PageState};
use crate::request::{Registers, Served};
use crate::sync::{AtomicU32, AtomicU64, CallLock, Ordering};
use crate::vcpu::{Vcpu, VcpuTable, VmsaAccess, take_call};
use loom::cell::UnsafeCell;
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, RmpPermissions, SevFeatures, Vmpl};
use std::boxed::Box;
use std::vec::Vec;
use svsm_abi::core_call::{CREATE_VCPU, DELETE_VCPU, PVALIDATE, REMAP_CA};
use svsm_abi::{pvalidate_entry, result};

/// Pages 0 and 1 have the vCPUs' lists, 2 and 3 are their calling areas; the others are what they fight for.
const PAGES: u64 = 9;
/// What they fight for: guest memory.
const A: u64 = 4 * PAGE_SIZE;
/// Guest memory too.
const B: u64 = 5 * PAGE_SIZE;
/// The VMSA of vCPU 1.
const C: u64 = 6 * PAGE_SIZE;
/// Not validated.
const D: u64 = 7 * PAGE_SIZE;
/// Guest memory.
const E: u64 = 8 * PAGE_SIZE;
/// A large page that is not validated.
const LARGE: u64 = LARGE_PAGE_SIZE;
/// A large page of the guest's.
const LARGE_OWN: u64 = 2 * LARGE_PAGE_SIZE;
/// Where in large pages the small one is that is fought for.
const INSIDE: u64 = 0x1_1000;

const fn own_list(vcpu: usize) -> u64 {
    vcpu as u64 * PAGE_SIZE
}

const fn own_area(vcpu: usize) -> u64 {
    (2 + vcpu as u64) * PAGE_SIZE
}

struct Page {
    /// Changed by instructions, which order nothing else.
    rmp: AtomicU32,
    body: UnsafeCell<()>,
}

struct Machine {
    pages: Vec<Page>,
    /// What each vCPU's list has: one entry.
    lists: [u64; 2],
}

impl Machine {
    /// Of a large page there are two: the small one that is fought for, and another for all the rest.
    fn page(&self, gpa: u64) -> &Page {
        let index = match gpa / LARGE_PAGE_SIZE {
            0 => gpa / PAGE_SIZE,
            large => PAGES + 2 * (large - 1) + u64::from(gpa % LARGE_PAGE_SIZE == INSIDE),
        };
        &self.pages[index as usize]
    }

    /// All that an instruction of this size touches.
    fn covered(&self, gpa: u64, size: PageSize) -> impl Iterator<Item = &Page> {
        let inside = (size == PageSize::Size2M).then(|| self.page(gpa + INSIDE));
        [self.page(gpa)].into_iter().chain(inside)
    }

    /// The list's page is the guest's business; two vCPUs may well write it at once.
    fn is_list(gpa: u64) -> bool {
        gpa < own_area(0)
    }
}

impl GuestMemory for Machine {
    fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<(), MemoryFault> {
        if Machine::is_list(gpa) {
            let list = [1, self.lists[(gpa / PAGE_SIZE) as usize]];
            let word = list[(gpa % PAGE_SIZE / 8) as usize].to_le_bytes();
            buffer.copy_from_slice(&word);
        } else {
            self.page(gpa).body.with(|_| ());
            buffer.fill(1);
        }
        Ok(())
    }

    fn write(&self, gpa: u64, _: &[u8]) -> Result<(), MemoryFault> {
        if !Machine::is_list(gpa) {
            self.page(gpa).body.with_mut(|_| ());
        }
        Ok(())
    }

    fn zero(&self, gpa: u64, bytes: u64) -> Result<(), MemoryFault> {
        let size = match bytes {
            PAGE_SIZE => PageSize::Size4K,
            _ => PageSize::Size2M,
        };
        for page in self.covered(gpa, size) {
            page.body.with_mut(|_| ());
        }
        Ok(())
    }
}

impl VmsaAccess for Machine {
    fn read_u64(&self, gpa: u64, offset: usize) -> Result<u64, MemoryFault> {
        self.page(gpa).body.with(|_| ());
        Ok(vmsa_word(offset))
    }

    fn write_u64(&self, gpa: u64, _: usize, _: u64) -> Result<(), MemoryFault> {
        self.page(gpa).body.with_mut(|_| ());
        Ok(())
    }
}

impl PageOps for Machine {
    fn pvalidate(
        &self,
        gpa: u64,
        size: PageSize,
        validate: bool,
    ) -> Result<Validation, PageOpError> {
        for page in self.covered(gpa, size) {
            let before = if validate {
                page.rmp.fetch_or(VALIDATED, Ordering::Relaxed)
            } else {
                // What it holds is the host's from now on.
                page.body.with_mut(|_| ());
                page.rmp.fetch_and(!VALIDATED, Ordering::Relaxed)
            };
            match validate {
                true => assert_eq!(before, 0, "a page is validated twice"),
                false => assert_eq!(before, VALIDATED, "not a page to rescind"),
            }
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
        for page in self.covered(gpa, size) {
            let before = if vmsa {
                page.rmp.fetch_or(VMSA, Ordering::Relaxed)
            } else {
                page.rmp.fetch_and(!VMSA, Ordering::Relaxed)
            };
            assert!(before & VALIDATED != 0, "RMPADJUST of an unvalidated page");
        }
        Ok(())
    }

    fn flush_guest_tlbs(&self) {}
}

struct Svsm {
    pages: PageMap<'static>,
    vcpus: [Vcpu; 2],
    lock: CallLock,
    machine: Machine,
    served: Served,
}

impl Svsm {
    /// Lives as long as the model's run.
    fn new(lists: [u64; 2]) -> &'static Svsm {
        let ram = RamMap::parse(&area(&[(0, PAGES, 0), (0x200, 0x400, 0)]), LIMIT).unwrap();
        let words: Vec<AtomicU64> = (0..ram.page_map_words())
            .map(|_| AtomicU64::new(0))
            .collect();
        let pages = PageMap::new(Box::leak(Box::new(ram)), words.leak()).unwrap();
        let rmp = (0..PAGES).map(|page| match page * PAGE_SIZE {
            C => VALIDATED | VMSA,
            D => 0,
            _ => VALIDATED,
        });
        let rmp = rmp.chain([0, 0, VALIDATED, VALIDATED]);
        let machine = Machine {
            pages: rmp
                .map(|rmp| Page {
                    rmp: AtomicU32::new(rmp),
                    body: UnsafeCell::new(()),
                })
                .collect(),
            lists,
        };
        pages.set_at_boot(0, PAGES, PageState::Validated);
        pages.set_at_boot(LARGE_OWN, PageSize::Size2M.pages(), PageState::Validated);
        pages.set_at_boot(D, 1, PageState::Unvalidated);
        pages.set_at_boot(own_area(0), 2, PageState::CallingArea);
        pages.set_at_boot(C, 1, PageState::Vmsa);
        let vcpus = [Vcpu::new(0), Vcpu::new(1)];
        for (index, vcpu) in vcpus.iter().enumerate() {
            vcpu.set_online();
            let vmsa = [0x100_0000, C][index];
            vcpu.set_guest(Some((vmsa, own_area(index))));
        }
        Box::leak(Box::new(Svsm {
            pages,
            vcpus,
            lock: CallLock::new(),
            machine,
            served: Served::new(),
        }))
    }

    /// One call of a vCPU's: its result code.
    fn call(&'static self, vcpu: usize, call: Call) -> u64 {
        let core = CoreProtocol {
            pages: &self.pages,
            vcpus: VcpuTable(&self.vcpus),
            lock: &self.lock,
            machine: &self.machine,
            guest_features: SevFeatures::SNP_ACTIVE,
            served: &self.served,
        };
        let (number, rcx, rdx, r8) = call;
        let mut registers = Registers {
            rax: number.into(),
            rcx,
            rdx,
            r8,
        };
        core.call(&self.vcpus[vcpu], &mut registers);
        registers.rax
    }

    /// What every vCPU does between calls: look whether one is pending.
    fn look_for_call(&self, vcpu: usize) {
        if let Some(_shared) = self.lock.read()
            && let Some(area) = self.vcpus[vcpu].calling_area()
        {
            let state = self.pages.state(area);
            assert_eq!(state, PageState::CallingArea, "the page looked at");
            take_call(&self.machine, area);
        }
    }

    fn agree(&self) {
        let small = (0..PAGES).map(|page| page * PAGE_SIZE);
        let large = [LARGE, LARGE_OWN].into_iter();
        let rmp = |gpa| self.machine.page(gpa).rmp.load(Ordering::Relaxed);
        for gpa in small.chain(large.flat_map(|gpa| [gpa, gpa + INSIDE])) {
            agree(&self.pages, &self.vcpus, gpa, rmp(gpa));
        }
    }
}

/// Number, RCX, RDX, R8.
type Call = (u32, u64, u64, u64);

const fn validate(vcpu: usize) -> Call {
    (PVALIDATE, own_list(vcpu), 0, 0)
}

const VALIDATE: u64 = pvalidate_entry::VALIDATE;
const SIZE_2M: u64 = PageSize::Size2M as u64;

fn check(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    // A large page takes many steps.
    model.max_branches = 10_000;
    model.check(run);
}

/// Lets two vCPUs make a call each; `judge` gets the codes.
fn race(lists: [u64; 2], calls: [Call; 2], judge: fn([u64; 2])) {
    check(move || {
        let svsm = Svsm::new(lists);
        let other = loom::thread::spawn(move || svsm.call(1, calls[1]));
        let mine = svsm.call(0, calls[0]);
        judge([mine, other.join().unwrap()]);
        svsm.agree();
    });
}

fn one_succeeds(codes: [u64; 2]) {
    let done = codes.iter().filter(|&&code| code == result::SUCCESS);
    assert!(done.count() == 1, "{codes:x?}");
}

/// A vCPU may find the other one at it and be told to come again.
fn at_most_one_succeeds(codes: [u64; 2]) {
    let done = codes.iter().filter(|&&code| code == result::SUCCESS);
    assert!(done.count() <= 1, "{codes:x?}");
}

fn anything(_: [u64; 2]) {}

fn validate_both() {
    race(
        [D | VALIDATE, D | VALIDATE],
        [validate(0), validate(1)],
        one_succeeds,
    );
}

#[test]
fn a_page_is_validated_once() {
    validate_both();
}

#[test]
fn a_page_is_rescinded_once() {
    race([A, A], [validate(0), validate(1)], one_succeeds);
}

#[test]
fn a_page_is_validated_and_rescinded_in_some_order() {
    validate_and_rescind();
}

#[test]
fn a_page_is_validated_by_itself_or_within_a_large_one() {
    race(
        [LARGE | SIZE_2M | VALIDATE, (LARGE + INSIDE) | VALIDATE],
        [validate(0), validate(1)],
        at_most_one_succeeds,
    );
}

#[test]
fn a_page_becomes_a_vmsa_or_is_rescinded_within_a_large_one() {
    race(
        [LARGE_OWN | SIZE_2M, 0],
        [
            validate(0),
            (CREATE_VCPU, LARGE_OWN + INSIDE, own_area(1), 1),
        ],
        at_most_one_succeeds,
    );
}

#[test]
fn a_page_becomes_a_vmsa_or_is_rescinded() {
    race(
        [A, 0],
        [validate(0), (CREATE_VCPU, A, own_area(1), 1)],
        at_most_one_succeeds,
    );
}

#[test]
fn a_vmsa_is_not_rescinded_while_it_is_deleted() {
    race([C, 0], [validate(0), (DELETE_VCPU, C, 0, 0)], anything);
}

#[test]
fn two_vcpus_are_made_of_the_same_pages_once() {
    race(
        [0, 0],
        [(CREATE_VCPU, A, B, 1), (CREATE_VCPU, B, A, 1)],
        at_most_one_succeeds,
    );
}

/// Both are readers' calls, so that only the page map orders what they do to the page.
fn validate_and_rescind() {
    race([D | VALIDATE, D], [validate(0), validate(1)], anything);
}

#[test]
fn a_calling_area_is_not_rescinded() {
    race(
        [A, 0],
        [validate(0), (REMAP_CA, A, 0, 0)],
        at_most_one_succeeds,
    );
}

fn two_moves() {
    race(
        [0, 0],
        [(CREATE_VCPU, A, B, 1), (REMAP_CA, E, 0, 0)],
        anything,
    );
}

#[test]
fn a_calling_area_moves_to_one_place_at_a_time() {
    two_moves();
}

/// vCPU 1 looks for its call while vCPU 0 moves its calling area and then takes the old one away.
fn look_and_move() {
    check(|| {
        let svsm = Svsm::new([own_area(1), 0]);
        let other = loom::thread::spawn(move || svsm.look_for_call(1));
        if svsm.call(0, (CREATE_VCPU, A, B, 1)) == result::SUCCESS {
            let rescinded = svsm.call(0, validate(0));
            assert!([result::SUCCESS, result::BUSY].contains(&rescinded));
        }
        other.join().unwrap();
        svsm.agree();
    });
}

#[test]
fn nobody_looks_into_a_calling_area_that_has_moved() {
    look_and_move();
}

noticed! {
    claiming_unchecked_is_noticed ClaimUnchecked validate_both "a page is validated twice"
    claiming_without_an_order_is_noticed ClaimRelaxed validate_and_rescind "Causality violation"
    settling_without_an_order_is_noticed SettleRelaxed validate_and_rescind "Causality violation"
    a_writer_beside_others_is_noticed LockUnchecked two_moves "page 0x"
    a_writer_beside_a_reader_is_noticed LockUnchecked look_and_move "Causality violation"
    a_lock_without_an_order_is_noticed LockRelaxed look_and_move "the page looked at"
    an_unlock_without_an_order_is_noticed UnlockRelaxed look_and_move "the page looked at"
}
