//! Locks and cells, by all CPUs at once.

use super::{check, check_eq, fail, smp, subject};
use crate::arch::sync::{Exclusive, Once, SpinLock};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use svsm_core::sync::{CallLock, Gate, Latch};

/// How often each CPU does it.
const ROUNDS: u64 = 2000;

/// CPUs that are ready to begin.
static READY: AtomicUsize = AtomicUsize::new(0);

/// Has all CPUs begin at the same moment.
fn together(job: smp::Job) -> Result<[Option<u64>; smp::MAX], super::Stop> {
    READY.store(0, Ordering::SeqCst);
    smp::on_all(job)
}

/// Waits until all are here.
fn meet() {
    READY.fetch_add(1, Ordering::SeqCst);
    let all = smp::everyone().count();
    smp::wait(|| READY.load(Ordering::SeqCst) >= all);
}

#[svsm_test_macro::svsm_tests(sync)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn a_spin_lock_loses_no_count() {
        static COUNT: SpinLock<[u64; 2]> = SpinLock::new([0, 0]);
        together(|_| {
            meet();
            for _ in 0..ROUNDS {
                let mut count = COUNT.lock();
                let next = count[0] + 1;
                core::hint::spin_loop();
                *count = [next, next];
            }
            0
        })?;
        let all = smp::everyone().count() as u64 * ROUNDS;
        check_eq!(*COUNT.lock(), [all, all]);
    }

    #[svsm_test]
    fn a_spin_lock_is_free_when_its_guard_is_gone() {
        static LOCK: SpinLock<u32> = SpinLock::new(5);
        for _ in 0..3 {
            *LOCK.lock() += 1;
        }
        check_eq!(*LOCK.lock(), 8);
    }

    #[svsm_test]
    fn what_was_written_behind_a_lock_the_next_holder_sees() {
        static PAIR: SpinLock<(u64, u64)> = SpinLock::new((0, 0));
        let torn = together(|index| {
            meet();
            let mut torn = 0;
            for round in 0..ROUNDS {
                let mut pair = PAIR.lock();
                torn += u64::from(pair.0 != pair.1);
                pair.0 = round << 8 | index as u64;
                pair.1 = pair.0;
            }
            torn
        })?;
        for (index, count) in smp::each(&torn) {
            check_eq!(count, 0, "torn pairs on vCPU {index}");
        }
    }

    #[svsm_test]
    fn a_once_is_empty_then_set_for_good() {
        static ONCE: Once<u32> = Once::new();
        check_eq!(ONCE.get(), None);
        check_eq!(ONCE.set(3), Ok(&3));
        check_eq!(ONCE.set(4), Err(4));
        check_eq!(ONCE.get(), Some(&3));
    }

    #[svsm_test]
    fn one_cpu_of_all_sets_a_once() {
        static ONCE: Once<u64> = Once::new();
        let winners = together(|index| {
            meet();
            u64::from(ONCE.set(index as u64).is_ok())
        })?;
        check_eq!(smp::each(&winners).map(|(_, won)| won).sum::<u64>(), 1);
        let Some(&winner) = ONCE.get() else {
            fail!("it is empty")
        };
        check_eq!(winners[winner as usize], Some(1));
        for (index, seen) in smp::each(&smp::on_all(|_| ONCE.get().copied().unwrap_or(u64::MAX))?) {
            check_eq!(seen, winner, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn an_exclusive_has_one_holder() {
        static VALUE: Exclusive<u32> = Exclusive::new(0);
        let Some(mut hold) = VALUE.try_hold() else {
            fail!("held by nobody")
        };
        *hold = 9;
        check!(VALUE.try_hold().is_none());
        drop(hold);
        check_eq!(VALUE.try_hold().map(|hold| *hold), Some(9));
        check_eq!(VALUE.try_hold().map(|hold| *hold), Some(9));
    }

    #[svsm_test]
    fn a_held_exclusive_is_refused_on_other_cpus() {
        static VALUE: Exclusive<u32> = Exclusive::new(0);
        let hold = VALUE.try_hold();
        check!(hold.is_some());
        for index in smp::others() {
            check_eq!(
                smp::on(index, |_| VALUE.try_hold().is_some().into())?,
                0,
                "vCPU {index}"
            );
        }
        drop(hold);
        for index in smp::others() {
            check_eq!(
                smp::on(index, |_| VALUE.try_hold().is_some().into())?,
                1,
                "vCPU {index}"
            );
        }
    }

    #[svsm_test]
    fn an_exclusive_loses_no_count() {
        static VALUE: Exclusive<u64> = Exclusive::new(0);
        let held = together(|_| {
            meet();
            let mut held = 0;
            for _ in 0..ROUNDS {
                if let Some(mut hold) = VALUE.try_hold() {
                    let next = *hold + 1;
                    core::hint::spin_loop();
                    *hold = next;
                    held += 1;
                }
            }
            held
        })?;
        let all: u64 = smp::each(&held).map(|(_, count)| count).sum();
        check!(all > 0);
        check_eq!(VALUE.try_hold().map(|hold| *hold), Some(all));
    }

    #[svsm_test]
    fn the_call_lock_keeps_a_writer_alone() {
        static LOCK: CallLock = CallLock::new();
        static INSIDE: AtomicU64 = AtomicU64::new(0);
        const WRITER: u64 = 1 << 32;
        let wrong = together(|index| {
            meet();
            let mut wrong = 0;
            for round in 0..ROUNDS / 4 {
                if (round + index as u64) & 3 == 0 {
                    if let Some(_alone) = LOCK.write() {
                        wrong += u64::from(INSIDE.fetch_add(WRITER, Ordering::SeqCst) != 0);
                        INSIDE.fetch_sub(WRITER, Ordering::SeqCst);
                    }
                } else if let Some(_shared) = LOCK.read() {
                    wrong += u64::from(INSIDE.fetch_add(1, Ordering::SeqCst) >= WRITER);
                    INSIDE.fetch_sub(1, Ordering::SeqCst);
                }
            }
            wrong
        })?;
        for (index, count) in smp::each(&wrong) {
            check_eq!(count, 0, "vCPU {index}");
        }
        check!(LOCK.write().is_some(), "it is free afterwards");
    }

    #[svsm_test]
    fn a_call_lock_that_is_held_is_given_up() {
        let lock = &subject()?.kernel.lock;
        let writer = lock.write();
        check!(writer.is_some());
        check!(lock.read().is_none() && lock.write().is_none());
        drop(writer);
        let readers = (lock.read(), lock.read());
        check!(readers.0.is_some() && readers.1.is_some());
        check!(lock.write().is_none());
    }

    #[svsm_test]
    fn one_cpu_enters_a_gate_and_one_fills_a_latch() {
        static GATE: Gate = Gate::new();
        static LATCH: Latch = Latch::new();
        static ENTERED: AtomicU64 = AtomicU64::new(0);
        together(|_| {
            meet();
            if let Some(guard) = GATE.try_enter() {
                ENTERED.fetch_add(1, Ordering::SeqCst);
                // It stays closed.
                core::mem::forget(guard);
            }
            if let Some(filling) = LATCH.fill() {
                ENTERED.fetch_add(1 << 32, Ordering::SeqCst);
                filling.set();
            }
            0
        })?;
        check_eq!(ENTERED.load(Ordering::SeqCst), 1 << 32 | 1);
        check!(LATCH.is_set());
    }
}
