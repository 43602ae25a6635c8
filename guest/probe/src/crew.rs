//! Several vCPUs that do the same job at the same time, and what they record of the answers they get.
//!
//! The first processor hires others, gives jobs to all of them and to itself, and waits. A hired vCPU that has nothing to do
//! spins.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use guest_rt::context::Context;
use guest_rt::report::{check_that, fail};
use guest_rt::smp::{self, StartError};
use guest_rt::svsm::NoAnswer;
use guest_rt::{nae, println, time};
use snp_abi::exit;
use svsm_abi::result;

/// vCPUs that take part, at most.
pub const MAX: usize = 8;

/// What each vCPU does: gets its index; the first processor's is 0.
pub type Job = fn(usize);

static JOB: AtomicUsize = AtomicUsize::new(0);
static GENERATION: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU32 = AtomicU32::new(0);

/// The hired ones' contexts, in the order of their indices, which start at 1.
static HIRED: [AtomicUsize; MAX] = [const { AtomicUsize::new(0) }; MAX];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Rounds begun, of all vCPUs together.
pub static ROUND: AtomicU64 = AtomicU64::new(0);
/// Answers that may not be, and the first of them.
static WRONG: AtomicU64 = AtomicU64::new(0);
static FIRST_WRONG: AtomicU64 = AtomicU64::new(0);
/// Answers by kind: succeeded, refused.
static SUCCEEDED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// How many are hired.
pub fn hired() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Hires the vCPUs with these APIC IDs that are not yet; they are always hired in the same order.
///
/// # Errors
/// One could not be started.
pub fn hire(ids: &[u32]) -> Result<(), StartError> {
    for id in ids.get(hired()..).unwrap_or_default() {
        let index = hired() + 1;
        // The job that was given last is not for it any more.
        let argument = index as u64 | GENERATION.load(Ordering::Relaxed) << 8;
        let context = smp::start(*id, worker, argument)?;
        HIRED[index].store(context as *const Context as usize, Ordering::Relaxed);
        COUNT.store(index, Ordering::Relaxed);
    }
    Ok(())
}

/// Stops the one hired last, whatever it is doing, and deletes its VMSA.
pub fn dismiss() -> Result<u64, NoAnswer> {
    let index = hired();
    COUNT.store(index - 1, Ordering::Relaxed);
    let context = HIRED[index].load(Ordering::Relaxed) as *const Context;
    // SAFETY: `hire` put it there, and contexts are never freed.
    let context = unsafe { &*context };
    stop(context)
}

/// Stops a vCPU of the guest's own level, whatever it is doing, and deletes its VMSA.
pub fn stop(context: &Context) -> Result<u64, NoAnswer> {
    let vmsa = context.vmsa.load(Ordering::Relaxed);
    let apic_id = context.apic_id.load(Ordering::Relaxed);
    if let Err(error) = nae::ap_creation(exit::AP_DESTROY, apic_id, 2, vmsa, 0) {
        println!("  the hypervisor did not stop APIC ID {apic_id}: {error:?}");
    }
    crate::vcpu::delete(vmsa)
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
        // SAFETY: only `begin` writes here, and it writes a `Job`.
        let job: Job = unsafe { core::mem::transmute(job) };
        job(index as usize);
        DONE.fetch_add(1, Ordering::Release);
    }
}

/// Gives the hired ones a job and does not wait.
pub fn begin(job: Job) {
    for counter in [&ROUND, &WRONG, &FIRST_WRONG, &SUCCEEDED, &REFUSED] {
        counter.store(0, Ordering::Relaxed);
    }
    DONE.store(0, Ordering::Relaxed);
    JOB.store(job as usize, Ordering::Relaxed);
    GENERATION.fetch_add(1, Ordering::Release);
}

/// Waits until all are done with their job; reports a case for what they recorded.
pub fn end(name: &str) {
    let workers = hired();
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
    if succeeded() + refused() > 0 {
        println!(
            "  {name}: {} calls succeeded, {} were refused, on {} vCPUs",
            succeeded(),
            refused(),
            workers + 1
        );
    }
}

/// Runs `job` on all that are hired and here; reports a case for what they recorded.
pub fn together(name: &str, job: Job) {
    begin(job);
    job(0);
    end(name);
}

/// Calls of the present job that succeeded.
pub fn succeeded() -> u64 {
    SUCCEEDED.load(Ordering::Relaxed)
}

/// Calls of the present job that were refused as they may.
pub fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// Records something that may not be.
pub fn wrong(what: u64) {
    WRONG.fetch_add(1, Ordering::Relaxed);
    let _ = FIRST_WRONG.compare_exchange(0, what, Ordering::Relaxed, Ordering::Relaxed);
}

/// Records an answer; one that is neither success nor among `refusals` is wrong.
pub fn record(answer: Result<u64, NoAnswer>, refusals: &[u64]) -> bool {
    match answer {
        Ok(result::SUCCESS) => {
            SUCCEEDED.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        Ok(code) if refusals.contains(&code) => {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
        other => wrong(other.unwrap_or(u64::MAX)),
    }
    false
}
