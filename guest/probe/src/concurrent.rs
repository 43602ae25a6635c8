//! Calls from several vCPUs at once: create and delete, validate and rescind, calling areas that move, and a list that
//! another vCPU changes while the SVSM reads it.

use crate::guest::{self, core, poke, pvalidate_page};
use crate::vcpu::{apic_ids, idle, write_vmsa};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use guest_rt::context::Context;
use guest_rt::report::{check, check_that, fail, skip};
use guest_rt::svsm::{self, NoAnswer};
use guest_rt::{need, println, smp, time};
use snp_abi::PageSize;
use svsm_abi::core_call::{CREATE_VCPU, DELETE_VCPU, REMAP_CA};
use svsm_abi::{pvalidate_entry, result};

const OK: u64 = result::SUCCESS;
/// vCPUs that take part, at most.
const MAX: usize = 8;
/// Rounds of create and delete, of all vCPUs together.
const CREATE_ROUNDS: u64 = 10_000;
/// Rounds of the others.
const ROUNDS: u64 = 2_000;

/// What each vCPU does: gets its index.
type Job = fn(usize);

static JOB: AtomicUsize = AtomicUsize::new(0);
static GENERATION: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU32 = AtomicU32::new(0);

/// Rounds begun, of all vCPUs together.
static ROUND: AtomicU64 = AtomicU64::new(0);
/// Answers that may not be, and the first of them.
static WRONG: AtomicU64 = AtomicU64::new(0);
static FIRST_WRONG: AtomicU64 = AtomicU64::new(0);
/// Answers by kind: succeeded, refused.
static SUCCEEDED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Pages that the jobs use; what for depends on the job.
static PAGES: [AtomicU64; 4 * MAX] = [const { AtomicU64::new(0) }; 4 * MAX];
static TARGET: AtomicU32 = AtomicU32::new(0);

fn page(index: usize) -> u64 {
    PAGES[index].load(Ordering::Relaxed)
}

/// What a worker is started with: its index, and the job that was given last, which is not for it any more.
fn worker_argument(index: usize) -> u64 {
    index as u64 | GENERATION.load(Ordering::Relaxed) << 8
}

extern "C" fn worker(argument: u64) {
    let index = argument & 0xFF;
    let mut seen = argument >> 8;
    loop {
        let generation = GENERATION.load(Ordering::Acquire);
        if generation == seen {
            core::hint::spin_loop();
            continue;
        }
        seen = generation;
        let job = JOB.load(Ordering::Relaxed);
        // SAFETY: only `together` writes here, and it writes a `Job`.
        let job: Job = unsafe { core::mem::transmute(job) };
        job(index as usize);
        DONE.fetch_add(1, Ordering::Release);
    }
}

/// Runs `job` on all workers and here; reports a case for what they recorded.
fn together(name: &str, workers: usize, job: Job) {
    for counter in [&ROUND, &WRONG, &FIRST_WRONG, &SUCCEEDED, &REFUSED] {
        counter.store(0, Ordering::Relaxed);
    }
    DONE.store(0, Ordering::Relaxed);
    JOB.store(job as usize, Ordering::Relaxed);
    GENERATION.fetch_add(1, Ordering::Release);
    job(0);
    let ended = time::wait_until(60_000, || DONE.load(Ordering::Acquire) as usize == workers);
    if !ended {
        return fail(
            name,
            format_args!("{workers} vCPUs to end"),
            DONE.load(Ordering::Acquire),
        );
    }
    let wrong = WRONG.load(Ordering::Relaxed);
    check_that(
        name,
        wrong == 0,
        "no other answer",
        (wrong, FIRST_WRONG.load(Ordering::Relaxed)),
    );
    println!(
        "  {name}: {} calls succeeded, {} were refused, on {} vCPUs",
        SUCCEEDED.load(Ordering::Relaxed),
        REFUSED.load(Ordering::Relaxed),
        workers + 1
    );
}

/// Records an answer; one that is neither success nor among `refusals` is wrong.
fn record(answer: Result<u64, NoAnswer>, refusals: &[u64]) -> bool {
    match answer {
        Ok(OK) => {
            SUCCEEDED.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        Ok(code) if refusals.contains(&code) => {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
        other => {
            WRONG.fetch_add(1, Ordering::Relaxed);
            let _ = FIRST_WRONG.compare_exchange(
                0,
                other.unwrap_or(u64::MAX),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }
    false
}

/// A small generator of random numbers, one per vCPU.
struct Random(u64);

impl Random {
    fn new(index: usize) -> Random {
        Random(0x9E37_79B9_7F4A_7C15u64.wrapping_mul(index as u64 + 1))
    }

    fn below(&mut self, limit: u64) -> u64 {
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
    let mut workers = 0;
    for apic_id in &ids[1..count - 1] {
        workers += 1;
        need!(
            "concurrent-start",
            smp::start(*apic_id, worker, worker_argument(workers))
        );
    }
    TARGET.store(ids[count - 1], Ordering::Relaxed);
    create_and_delete(workers);
    workers += 1;
    let last = smp::start(ids[count - 1], worker, worker_argument(workers));
    need!("concurrent-start", last);
    validate_and_rescind(workers);
    changing_list(workers);
    moving_areas(workers);
}

/// Pages 4 i to 4 i + 3 are vCPU i's: two VMSAs, two calling areas. Index 0's second pair is everyone's.
fn create_and_delete(workers: usize) {
    let context = Context::new();
    for (i, slot) in PAGES.iter().enumerate() {
        let page = need!("create-delete-race", guest::valid());
        if i % 4 < 2 {
            write_vmsa(page, context, idle, |_| {});
        }
        slot.store(page, Ordering::Relaxed);
    }
    together("create-delete-race", workers, |index| {
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
    for i in 0..4 * (workers + 1) {
        if i % 4 < 2 {
            let _ = core(DELETE_VCPU, page(i), 0, 0);
        }
    }
    let mut lost = 0;
    for i in 0..4 * (workers + 1) {
        let there =
            pvalidate_page(page(i), false) == Ok(OK) && pvalidate_page(page(i), true) == Ok(OK);
        lost += !there as u32;
    }
    check("create-delete-race-pages-back", 0, lost);
}

/// How often each page was validated more than rescinded.
static BALANCE: [AtomicI64; 4] = [const { AtomicI64::new(0) }; 4];

fn validate_and_rescind(workers: usize) {
    for (i, balance) in BALANCE.iter().enumerate() {
        balance.store(0, Ordering::Relaxed);
        PAGES[i].store(need!("validate-race", guest::assigned()), Ordering::Relaxed);
    }
    together("validate-race", workers, |index| {
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
fn changing_list(workers: usize) {
    PAGES[0].store(need!("changing-list", guest::valid()), Ordering::Relaxed);
    PAGES[1].store(need!("changing-list", guest::valid()), Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
    together("changing-list", workers, |index| {
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
fn moving_areas(workers: usize) {
    for (i, owned) in OWNED.iter().enumerate() {
        owned.store(0, Ordering::Relaxed);
        PAGES[i].store(need!("moving-areas", guest::valid()), Ordering::Relaxed);
    }
    together("moving-areas", workers, |index| {
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
                WRONG.fetch_add(1, Ordering::Relaxed);
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
