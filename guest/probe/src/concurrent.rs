//! Calls from several vCPUs at once: create and delete, validate and rescind, calling areas that move, and a list that
//! another vCPU changes while the SVSM reads it.

use crate::crew::{self, MAX, ROUND, record, together};
use crate::guest::{self, core, poke, pvalidate_page};
use crate::vcpu::{apic_ids, idle, write_vmsa};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use guest_rt::context::Context;
use guest_rt::need;
use guest_rt::report::{check, fail, skip};
use guest_rt::svsm;
use snp_abi::PageSize;
use svsm_abi::core_call::{CREATE_VCPU, DELETE_VCPU, REMAP_CA};
use svsm_abi::{pvalidate_entry, result};

const OK: u64 = result::SUCCESS;
/// Rounds of create and delete, of all vCPUs together.
const CREATE_ROUNDS: u64 = 10_000;
/// Rounds of the others.
const ROUNDS: u64 = 2_000;

/// Pages that the jobs use; what for depends on the job.
static PAGES: [AtomicU64; 4 * MAX] = [const { AtomicU64::new(0) }; 4 * MAX];
static TARGET: AtomicU32 = AtomicU32::new(0);

fn page(index: usize) -> u64 {
    PAGES[index].load(Ordering::Relaxed)
}

/// A small generator of random numbers, one per vCPU.
pub struct Random(u64);

impl Random {
    /// Its seed is the vCPU's index.
    pub fn new(index: usize) -> Random {
        Random(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(index as u64 + 1))
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Runs the group.
pub fn run() {
    let (ids, count) = apic_ids();
    let count = count.min(MAX);
    if count < 2 {
        return skip("concurrent", "one vCPU");
    }
    // The last vCPU is what the others create and delete; it runs nothing meanwhile.
    need!("concurrent-start", crew::hire(&ids[1..count - 1]));
    TARGET.store(ids[count - 1], Ordering::Relaxed);
    create_and_delete();
    need!("concurrent-start", crew::hire(&ids[1..count]));
    validate_and_rescind();
    changing_list();
    moving_areas();
}

/// Pages 4 i to 4 i + 3 are vCPU i's: two VMSAs, two calling areas. Index 0's second pair is everyone's.
fn create_and_delete() {
    let context = Context::new();
    for (i, slot) in PAGES.iter().enumerate() {
        let page = need!("create-delete-race", guest::valid());
        if i % 4 < 2 {
            write_vmsa(page, context, idle, |_| {});
        }
        slot.store(page, Ordering::Relaxed);
    }
    together("create-delete-race", |index| {
        let mut random = Random::new(index);
        let target = TARGET.load(Ordering::Relaxed) as u64;
        while ROUND.fetch_add(1, Ordering::Relaxed) < CREATE_ROUNDS {
            let contested = random.below(2) == 0;
            let (vmsa, area) = if contested {
                (page(1), page(3))
            } else {
                (page(4 * index), page(4 * index + 2))
            };
            // Others may have the contested pages: as a VMSA, or as the calling area that is in force.
            let refusals: &[u64] = if contested {
                &[result::INVALID_ADDRESS]
            } else {
                &[]
            };
            record(core(CREATE_VCPU, vmsa, area, target), refusals);
            let refusals: &[u64] = if contested {
                &[result::INVALID_PARAMETER]
            } else {
                &[]
            };
            record(core(DELETE_VCPU, vmsa, 0, 0), refusals);
        }
    });
    // All pages are the guest's again: deleted at the latest now.
    for i in 0..4 * (crew::hired() + 1) {
        if i % 4 < 2 {
            let _ = core(DELETE_VCPU, page(i), 0, 0);
        }
    }
    let mut lost = 0;
    for i in 0..4 * (crew::hired() + 1) {
        let there =
            pvalidate_page(page(i), false) == Ok(OK) && pvalidate_page(page(i), true) == Ok(OK);
        lost += !there as u32;
    }
    check("create-delete-race-pages-back", 0, lost);
}

/// How often each page was validated more than rescinded.
static BALANCE: [AtomicI64; 4] = [const { AtomicI64::new(0) }; 4];

fn validate_and_rescind() {
    for (i, balance) in BALANCE.iter().enumerate() {
        balance.store(0, Ordering::Relaxed);
        PAGES[i].store(need!("validate-race", guest::assigned()), Ordering::Relaxed);
    }
    together("validate-race", |index| {
        let mut random = Random::new(index);
        while ROUND.fetch_add(1, Ordering::Relaxed) < ROUNDS {
            let which = random.below(4) as usize;
            let validate = random.below(2) == 0;
            if record(
                pvalidate_page(page(which), validate),
                &[result::PVALIDATE_NO_CHANGE],
            ) {
                BALANCE[which].fetch_add(if validate { 1 } else { -1 }, Ordering::Relaxed);
            }
        }
    });
    for (i, balance) in BALANCE.iter().enumerate() {
        let balance = balance.load(Ordering::Relaxed);
        let expected = match balance {
            0 => Ok(OK),
            _ => Ok(result::PVALIDATE_NO_CHANGE),
        };
        if balance != 0 && balance != 1 {
            return fail("validate-race-never-twice", "0 or 1", balance);
        }
        let got = pvalidate_page(page(i), true);
        if got != expected {
            return check("validate-race-never-twice", expected, got);
        }
    }
    check("validate-race-never-twice", true, true);
}

static STOP: AtomicBool = AtomicBool::new(false);

/// vCPU 0 calls; all others write into the list meanwhile. Page 0 has the list, page 1 is one that may be validated and
/// rescinded, page 2 is unvalidated and belongs to no one.
fn changing_list() {
    PAGES[0].store(need!("changing-list", guest::valid()), Ordering::Relaxed);
    PAGES[1].store(need!("changing-list", guest::valid()), Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
    together("changing-list", |index| {
        let list = page(0);
        let (svsm, _) = guest::svsm_memory();
        if index == 0 {
            for _ in 0..ROUNDS {
                poke(list, 3);
                let refusals = [
                    result::INVALID_ADDRESS,
                    result::INVALID_PARAMETER,
                    result::PVALIDATE_NO_CHANGE,
                    result::PVALIDATE_SIZE_MISMATCH,
                ];
                record(guest::pvalidate_list(list), &refusals);
            }
            STOP.store(true, Ordering::Release);
            return;
        }
        let mut random = Random::new(index);
        let good = svsm::entry(page(1), PageSize::Size4K, true);
        // Mostly what may be asked, so that the SVSM gets to later entries, which change under its hands.
        let ignore = pvalidate_entry::IGNORE_CF;
        let choices = [
            good | ignore,
            good | ignore,
            good | ignore,
            good & !pvalidate_entry::VALIDATE | ignore,
            good & !pvalidate_entry::VALIDATE,
            svsm::entry(svsm, PageSize::Size4K, false),
            svsm::entry(svsm, PageSize::Size2M, true),
            [good | 0xFF0, good | 3, u64::MAX, good][random.below(4) as usize],
        ];
        let headers = [
            1,
            3,
            510,
            0xFFFF,
            0,
            0xFFFF_0003,
            1 << 16 | 3,
            0xFFFF_FFFF_0000_0002,
        ];
        while !STOP.load(Ordering::Acquire) {
            let slot = 1 + random.below(3);
            poke(list + slot * 8, choices[random.below(8) as usize]);
            if random.below(4) == 0 {
                poke(list, headers[random.below(8) as usize]);
            }
        }
    });
}

/// Who has a page as its calling area.
static OWNED: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
/// vCPUs that have asked for another area than this page and may still take back `call_pending` here: the SVSM gives the
/// page to the next one before that, and the two would disturb each other.
static LEAVING: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

/// All vCPUs want the same few pages as their calling areas; each page has one owner at a time.
fn moving_areas() {
    for (i, owned) in OWNED.iter().enumerate() {
        owned.store(0, Ordering::Relaxed);
        PAGES[i].store(need!("moving-areas", guest::valid()), Ordering::Relaxed);
    }
    together("moving-areas", |index| {
        let mut random = Random::new(index);
        let home = svsm::caa();
        while ROUND.fetch_add(1, Ordering::Relaxed) < ROUNDS {
            let which = random.below(3) as usize;
            if !record(
                core(REMAP_CA, page(which), 0, 0),
                &[result::INVALID_ADDRESS],
            ) {
                continue;
            }
            if OWNED[which].swap(1, Ordering::AcqRel) != 0 {
                crew::wrong(u64::MAX);
            }
            while LEAVING[which].load(Ordering::Acquire) != 0 {
                core::hint::spin_loop();
            }
            Context::current().caa.store(page(which), Ordering::Relaxed);
            LEAVING[which].fetch_add(1, Ordering::AcqRel);
            OWNED[which].store(0, Ordering::Release);
            record(core(REMAP_CA, home, 0, 0), &[]);
            LEAVING[which].fetch_sub(1, Ordering::AcqRel);
            Context::current().caa.store(home, Ordering::Relaxed);
        }
    });
}
