//! The other CPUs as helpers: each waits for a job, does it, and tells a number.

use super::{Outcome, Stop, check, skip};
use crate::arch::sync::SpinLock;
use crate::clock;
use crate::kernel::Kernel;
use crate::platform::{Kind, kind, platform};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a helper does: it is told its own number in the vCPU table.
pub type Job = fn(usize) -> u64;

/// Most CPUs that take part.
pub const MAX: usize = 16;
/// How long a job may take.
pub const PATIENCE_MS: u64 = 10_000;

/// How often a helper looks for a job.
const LOOK_NS: u64 = 300_000;

struct Helper {
    job: SpinLock<Option<Job>>,
    busy: AtomicBool,
    result: AtomicU64,
    online: AtomicBool,
}

static HELPERS: [Helper; MAX] = [const {
    Helper {
        job: SpinLock::new(None),
        busy: AtomicBool::new(false),
        result: AtomicU64::new(0),
        online: AtomicBool::new(false),
    }
}; MAX];

/// What an AP does in the tests' kernel, for good, in the place of serving a guest.
pub fn help(index: usize) {
    let Some(helper) = HELPERS.get(index) else {
        return;
    };
    loop {
        let job = helper.job.lock().take();
        if let Some(job) = job {
            helper.result.store(job(index), Ordering::Relaxed);
            helper.busy.store(false, Ordering::Release);
        } else if kind() == Kind::Native {
            // Processors that spin would take the tests' time from them, where they are more than the host has.
            platform().set_timer(LOOK_NS);
            platform().idle();
            platform().set_timer(0);
        } else {
            core::hint::spin_loop();
        }
    }
}

/// Notes who is there.
pub fn gather(kernel: &Kernel) {
    for (vcpu, helper) in kernel.vcpus.iter().zip(&HELPERS).skip(1) {
        helper.online.store(vcpu.is_online(), Ordering::Relaxed);
    }
}

/// The helpers.
pub fn others() -> impl Iterator<Item = usize> + Clone {
    (1..MAX).filter(|&index| HELPERS[index].online.load(Ordering::Relaxed))
}

/// All CPUs, the boot CPU first.
pub fn everyone() -> impl Iterator<Item = usize> + Clone {
    core::iter::once(0).chain(others())
}

/// The helpers; a test that needs some is skipped where there are none.
pub fn some_others() -> Result<impl Iterator<Item = usize> + Clone, Stop> {
    if others().next().is_none() {
        skip!("there is only one CPU");
    }
    Ok(others())
}

/// Gives a helper a job.
pub fn give(index: usize, job: Job) -> Outcome {
    let helper = &HELPERS[index];
    check!(
        !helper.busy.swap(true, Ordering::Acquire),
        "vCPU {index} has a job that does not end"
    );
    *helper.job.lock() = Some(job);
    Ok(())
}

/// Waits for its result.
pub fn result(index: usize) -> Result<u64, Stop> {
    let helper = &HELPERS[index];
    check!(
        wait(|| !helper.busy.load(Ordering::Acquire)),
        "vCPU {index} did not end its job"
    );
    Ok(helper.result.load(Ordering::Relaxed))
}

/// Waits until something is so, for a bounded time; whether it is.
pub fn wait(mut so: impl FnMut() -> bool) -> bool {
    let begun = clock::milliseconds();
    while clock::milliseconds() - begun < PATIENCE_MS {
        if so() {
            return true;
        }
        core::hint::spin_loop();
    }
    so()
}

/// Has one CPU do a job and waits for it.
pub fn on(index: usize, job: Job) -> Result<u64, Stop> {
    if index == 0 {
        return Ok(job(0));
    }
    give(index, job)?;
    result(index)
}

/// Has all CPUs do a job at the same time; what each of them tells.
pub fn on_all(job: Job) -> Result<[Option<u64>; MAX], Stop> {
    let mut results = [None; MAX];
    for index in others() {
        give(index, job)?;
    }
    results[0] = Some(job(0));
    for index in others() {
        results[index] = Some(result(index)?);
    }
    Ok(results)
}

/// Each CPU's number, and what it tells.
pub fn each(results: &[Option<u64>; MAX]) -> impl Iterator<Item = (usize, u64)> + Clone + '_ {
    results
        .iter()
        .enumerate()
        .filter_map(|(index, result)| Some((index, (*result)?)))
}

/// Two CPUs that tell the same, if there are.
pub fn equal_pair(results: &[Option<u64>; MAX]) -> Option<(usize, usize)> {
    let all = each(results);
    all.clone().find_map(|(index, value)| {
        let other = all
            .clone()
            .find(|&(other, same)| other > index && same == value);
        other.map(|(other, _)| (index, other))
    })
}
