//! Time.

use super::{check, check_eq, smp};
use crate::arch::cpu;
use crate::clock;
use core::sync::atomic::{AtomicU64, Ordering};

/// The latest time that any CPU was told.
static LATEST: AtomicU64 = AtomicU64::new(0);

#[svsm_test_macro::svsm_tests(clock)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn milliseconds_never_go_back() {
        let mut last = clock::milliseconds();
        for _ in 0..20_000 {
            let now = clock::milliseconds();
            check!(now >= last, "{now} after {last}");
            last = now;
        }
    }

    #[svsm_test]
    fn milliseconds_go_on() {
        let begun = clock::milliseconds();
        clock::wait_us(5000);
        let passed = clock::milliseconds() - begun;
        check!(passed >= 4, "{passed} ms in 5 ms");
    }

    #[svsm_test]
    fn no_cpu_is_told_an_earlier_time_than_another_was() {
        let steps_back = smp::on_all(|_| {
            let mut back = 0;
            for _ in 0..5000 {
                let before = LATEST.load(Ordering::SeqCst);
                let now = clock::milliseconds();
                back += u64::from(now < before);
                LATEST.fetch_max(now, Ordering::SeqCst);
            }
            back
        })?;
        for (index, back) in smp::each(&steps_back) {
            check_eq!(back, 0, "times before another's on vCPU {index}");
        }
    }

    #[svsm_test]
    fn the_counters_of_two_cpus_are_close() {
        let Some(other) = smp::some_others()?.next() else {
            return Ok(());
        };
        // Back and forth: what one sees lies between two readings of the other, to a millisecond.
        for round in 0..20u64 {
            let before = cpu::tsc();
            let there = smp::on(other, |_| cpu::tsc())?;
            let after = cpu::tsc();
            let slack = clock::ticks(1);
            check!(
                before < there + slack && there < after + slack,
                "round {round}: {before} {there} {after}"
            );
        }
    }

    #[svsm_test]
    fn the_counter_counts() {
        let mut last = cpu::tsc();
        for _ in 0..1000 {
            let now = cpu::tsc();
            check!(now >= last, "{now} after {last}");
            last = now;
        }
        let first = cpu::tsc();
        clock::wait_us(10);
        check!(cpu::tsc() > first);
    }

    #[svsm_test]
    fn a_wait_is_as_long_as_it_was_to_be() {
        for microseconds in [1, 10, 100, 1000, 20_000] {
            let begun = cpu::tsc();
            clock::wait_us(microseconds);
            let took = clock::nanoseconds(cpu::tsc() - begun) / 1000;
            // A microsecond is lost to rounding.
            check!(took + 1 >= microseconds, "{microseconds} us took {took} us");
        }
    }

    #[svsm_test]
    fn no_wait_is_no_wait() {
        let begun = clock::milliseconds();
        for _ in 0..100 {
            clock::wait_us(0);
        }
        let took = clock::milliseconds() - begun;
        check!(took < 1000, "{took} ms");
    }

    #[svsm_test]
    fn the_rate_is_one_that_processors_have() {
        let mhz = clock::ticks(1) / 1000;
        check!((100..=10_000).contains(&mhz), "{mhz} MHz");
    }

    #[svsm_test]
    fn ticks_and_nanoseconds_are_each_others_inverse() {
        for milliseconds in [1, 7, 1000, 60_000] {
            let nanoseconds = clock::nanoseconds(clock::ticks(milliseconds));
            let expected = milliseconds * 1_000_000;
            // The rate is cut to whole megahertz.
            check!(
                nanoseconds.abs_diff(expected) <= expected / 100,
                "{milliseconds} ms: {nanoseconds} ns"
            );
        }
        check_eq!(clock::ticks(0), 0);
        check_eq!(clock::nanoseconds(0), 0);
    }

    #[svsm_test]
    fn the_longest_times_do_not_overflow() {
        check_eq!(clock::ticks(u64::MAX), u64::MAX);
        check!(clock::nanoseconds(u64::MAX) > 1 << 32);
    }
}
