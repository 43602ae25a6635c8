//! How the other CPUs come up: each is let in, counted, or shut out for good, and the boot CPU and the CPU itself never
//! disagree on which. Modelled in `startup/model.rs`.
//!
//! The boot CPU, with all areas complete and the shared state published:
//!
//! 1. for every CPU: [`Start::begin`], then the platform's way to start it (the order matters: what was done before
//!    `begin` is what the CPU sees after [`Start::enter`]);
//! 2. [`wait`] with a clock; after it, [`Start::is_up`] changes for no CPU any more: those that are not up are shut out.
//!    What was made for them (area, stack, pages) is never used for anything else, as they may still come.
//!
//! A CPU, on its own stack and area:
//!
//! 1. [`Start::enter`], before it uses anything else. `None`: it is too late, or here a second time; it halts for good;
//! 2. its own preparations;
//! 3. [`Entered::come_up`]. `false`: it was given up meanwhile, and halts for good; `true`: it is counted, and serves.

use crate::mistake::{Mistake, made, ordering};
use crate::sync::{AtomicU32, Ordering, pause};

#[cfg(all(test, loom))]
mod model;

/// Where one CPU is in its start.
#[derive(Debug)]
pub struct Start {
    state: AtomicU32,
}

/// Nothing was done for it.
const ABSENT: u32 = 0;
/// It may come.
const STARTING: u32 = 1;
/// It has come and prepares itself.
const ENTERED: u32 = 2;
/// It is counted.
const UP: u32 = 3;
/// It is shut out.
const SHUT_OUT: u32 = 4;

/// A CPU that prepares itself.
#[derive(Debug)]
#[must_use]
pub struct Entered<'a>(&'a Start);

impl Start {
    /// A CPU for which nothing was done.
    pub fn new() -> Start {
        Start {
            state: AtomicU32::new(ABSENT),
        }
    }

    /// The boot CPU, which is up without any of this.
    pub fn set_up(&self) {
        self.state.store(UP, Ordering::Release);
    }

    /// On the boot CPU: all that this CPU needs is complete, and it is started next.
    pub fn begin(&self) {
        let publish = ordering(Mistake::StartRelaxed, Ordering::Release);
        // A CPU that was shut out stays so.
        let _ = self
            .state
            .compare_exchange(ABSENT, STARTING, publish, Ordering::Relaxed);
    }

    /// On the CPU itself, first of all.
    pub fn enter(&self) -> Option<Entered<'_>> {
        let see = ordering(Mistake::EnterRelaxed, Ordering::Acquire);
        self.state
            .compare_exchange(STARTING, ENTERED, see, Ordering::Relaxed)
            .ok()
            .map(|_| Entered(self))
    }

    /// Whether it is counted.
    pub fn is_up(&self) -> bool {
        self.state.load(Ordering::Acquire) == UP
    }

    /// On the boot CPU: it is not waited for any longer, and whether it is up is settled. Returns whether it is.
    pub fn give_up(&self) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        while state != UP && state != SHUT_OUT && !made(Mistake::GiveUpSilently) {
            match self
                .state
                .compare_exchange(state, SHUT_OUT, Ordering::Relaxed, Ordering::Acquire)
            {
                Ok(_) => return false,
                Err(changed) => state = changed,
            }
        }
        state == UP
    }
}

impl Default for Start {
    fn default() -> Self {
        Start::new()
    }
}

impl Entered<'_> {
    /// Counts the CPU, unless it was given up: then it must touch nothing any more.
    pub fn come_up(self) -> bool {
        let publish = ordering(Mistake::ComeUpRelaxed, Ordering::Release);
        if made(Mistake::ComeUpAnyway) {
            self.0.state.store(UP, publish);
            return true;
        }
        self.0
            .state
            .compare_exchange(ENTERED, UP, publish, Ordering::Relaxed)
            .is_ok()
    }
}

/// On the boot CPU: waits until all these CPUs are up or `patient` says no, then shuts out those that are not. CPUs that
/// were shut out before are not waited for.
pub fn wait<'a>(cpus: impl Iterator<Item = &'a Start>, mut patient: impl FnMut() -> bool) {
    for cpu in cpus {
        loop {
            let state = cpu.state.load(Ordering::Acquire);
            if state == UP || state == SHUT_OUT || !patient() {
                break;
            }
            pause();
        }
        cpu.give_up();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_comes_up_once() {
        let start = Start::new();
        assert!(start.enter().is_none(), "not before it is begun");
        start.begin();
        let entered = start.enter().unwrap();
        assert!(start.enter().is_none(), "not a second time");
        assert!(!start.is_up());
        assert!(entered.come_up());
        assert!(start.is_up() && start.give_up());
        start.begin();
        assert!(start.is_up() && start.enter().is_none());
    }

    #[test]
    fn who_is_late_is_shut_out_for_good() {
        let (before, between, absent) = (Start::new(), Start::new(), Start::new());
        before.begin();
        between.begin();
        let entered = between.enter().unwrap();
        let mut looks = 3;
        wait([&before, &between, &absent].into_iter(), || {
            looks -= 1;
            looks > 0
        });
        assert!(before.enter().is_none());
        assert!(!entered.come_up());
        absent.begin();
        assert!(absent.enter().is_none());
        assert!(!before.is_up() && !between.is_up() && !absent.is_up());
    }

    #[test]
    fn nobody_waits_for_cpus_that_are_up_or_given_up() {
        let (up, gone) = (Start::new(), Start::new());
        up.set_up();
        assert!(!gone.give_up());
        wait([&up, &gone].into_iter(), || panic!("it waits"));
        assert!(up.is_up());
    }
}
