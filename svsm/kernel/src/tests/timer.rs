//! The one-shot timer. Its clock and the time-stamp counter differ, the more so where both are emulated by a busy host: so "not
//! before" means three quarters of the time, and what comes late three times in a row is late.

use super::{Outcome, check, check_eq, skip, smp};
use crate::arch::percpu::this_cpu;
use crate::arch::traps::TIMER;
use crate::clock;
use crate::platform::{Kind, kind, platform};

const MS: u64 = 1_000_000;
/// The longest that a timer may be late.
const LATE_MS: u64 = 500;

/// Microseconds now.
fn now() -> u64 {
    clock::nanoseconds(crate::arch::cpu::tsc()) / 1000
}

fn there_is_one() -> Outcome {
    if kind() == Kind::Snp && this_cpu().doorbell.get().is_none() {
        skip!("the host has no timer for this level");
    }
    Ok(())
}

/// Waits for the timer, with another one behind it in case that it does not come: microseconds, and whether it came.
fn wait_for_timer(nanoseconds: u64) -> (u64, u8) {
    this_cpu().signal.set(0);
    let begun = now();
    platform().set_timer(nanoseconds);
    while this_cpu().signal.get() != TIMER && now() - begun < LATE_MS * 1000 + nanoseconds / 1000 {
        platform().take_signal();
    }
    let took = now() - begun;
    let vector = this_cpu().signal.get();
    platform().set_timer(0);
    (took, vector)
}

/// The timer comes after this time, not before, and at the latest when it has become useless.
fn fires(milliseconds: u64) -> Outcome {
    there_is_one()?;
    judge(0, fires_here(milliseconds), milliseconds)
}

/// What this CPU's timer does, as a number for [`judge`]: the vector, and after how many microseconds it came.
fn fires_here(milliseconds: u64) -> u64 {
    let mut told = 0;
    for _ in 0..3 {
        let (took, vector) = wait_for_timer(milliseconds * MS);
        told = u64::from(vector) << 32 | took & 0xFFFF_FFFF;
        if took < (milliseconds + LATE_MS) * 1000 {
            break;
        }
    }
    told
}

fn judge(index: usize, told: u64, milliseconds: u64) -> Outcome {
    let (vector, took) = (told >> 32, told & 0xFFFF_FFFF);
    check_eq!(
        vector,
        TIMER.into(),
        "vector on vCPU {index} after {took} us"
    );
    check!(
        (milliseconds * 750..(milliseconds + LATE_MS) * 1000).contains(&took),
        "vCPU {index}: {milliseconds} ms came after {took} us"
    );
    Ok(())
}

#[svsm_test_macro::svsm_tests(timer)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn it_comes_after_1_ms() {
        fires(1)?;
    }

    #[svsm_test]
    fn it_comes_after_10_ms() {
        fires(10)?;
    }

    #[svsm_test]
    fn it_comes_after_100_ms() {
        fires(100)?;
    }

    #[svsm_test]
    fn it_comes_after_the_shortest_time() {
        there_is_one()?;
        let (took, vector) = wait_for_timer(1);
        check_eq!(vector, TIMER);
        check!(took < LATE_MS * 1000, "{took} us");
    }

    #[svsm_test]
    fn it_comes_again_and_again() {
        for _ in 0..20 {
            fires(2)?;
        }
    }

    #[svsm_test]
    fn a_later_setting_replaces_the_earlier_one() {
        there_is_one()?;
        platform().set_timer(1000 * MS);
        fires(5)?;
        platform().set_timer(5 * MS);
        fires(20)?;
    }

    #[svsm_test]
    fn zero_turns_it_off() {
        there_is_one()?;
        platform().set_timer(5 * MS);
        platform().set_timer(0);
        // What ends the wait is a timer that is set anew.
        fires(30)?;
    }

    #[svsm_test]
    fn it_comes_once() {
        fires(3)?;
        // Had it come a second time, this one would seem to come at once.
        fires(25)?;
    }

    #[svsm_test]
    fn it_waits_for_a_cpu_that_does_not_listen() {
        super::super::only_native()?;
        this_cpu().signal.set(0);
        platform().set_timer(MS);
        clock::wait_us(10_000);
        check_eq!(
            this_cpu().signal.get(),
            0,
            "a signal while interrupts are off"
        );
        let begun = now();
        while this_cpu().signal.get() != TIMER && now() - begun < LATE_MS * 1000 {
            platform().take_signal();
        }
        check_eq!(this_cpu().signal.get(), TIMER);
    }

    #[svsm_test]
    fn each_cpu_has_one() {
        there_is_one()?;
        for index in smp::some_others()? {
            judge(index, smp::on(index, |_| fires_here(5))?, 5)?;
        }
    }

    #[svsm_test]
    fn all_cpus_use_theirs_at_the_same_time() {
        there_is_one()?;
        for (index, told) in smp::each(&smp::on_all(|_| fires_here(5))?) {
            judge(index, told, 5)?;
        }
    }

    #[svsm_test]
    fn the_longest_time_is_no_time_at_once() {
        there_is_one()?;
        platform().set_timer(u64::MAX);
        this_cpu().signal.set(0);
        clock::wait_us(20_000);
        let signal = this_cpu().signal.get();
        check_eq!(signal, 0);
        fires(5)?;
    }
}
