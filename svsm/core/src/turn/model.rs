//! CPUs print while another one fails: lines stay whole, the report is the last word. And a turn that its holder lost.

use super::*;
use crate::mistake::noticed;
use loom::cell::UnsafeCell;
use loom::sync::Arc;

struct Console {
    turn: Turn,
    /// Plain memory: loom fails when two are at it, or when one does not see what was there before.
    port: UnsafeCell<()>,
    /// Lines of the report. No ordering comes with it.
    reported: AtomicU32,
    /// Whether a CPU is within a turn that it took from another.
    robbing: AtomicU32,
}

fn console() -> Arc<Console> {
    Arc::new(Console {
        turn: Turn::new(),
        port: UnsafeCell::new(()),
        reported: AtomicU32::new(0),
        robbing: AtomicU32::new(0),
    })
}

impl Console {
    /// A line of a CPU's that waits as long as it takes.
    fn print(&self, cpu: u32) -> bool {
        let Some(taken) = self.turn.take(cpu, || 0, 0) else {
            return false;
        };
        assert!(!taken.after_broken_line);
        self.port.with_mut(|_| ());
        assert_eq!(self.reported.load(Ordering::Relaxed), 0, "after the report");
        true
    }

    fn report(&self, cpu: u32) {
        assert!(self.turn.report(cpu));
        for _ in 0..2 {
            let taken = self.turn.take(cpu, || 0, 0).unwrap();
            assert!(!taken.after_broken_line);
            self.port.with_mut(|_| ());
            self.reported.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn failure_among_lines() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let console = console();
        let other = Arc::clone(&console);
        let failing = loom::thread::spawn(move || other.report(1));
        // The second line may find that the report has begun.
        let _ = console.print(0) && console.print(0);
        failing.join().unwrap();
        assert!(!console.print(0));
        assert_eq!(console.reported.load(Ordering::Relaxed), 2);
    });
}

fn lines_of_two() {
    loom::model(|| {
        let console = console();
        let other = Arc::clone(&console);
        let thread = loom::thread::spawn(move || assert!(other.print(1) && other.print(1)));
        assert!(console.print(0) && console.print(0));
        thread.join().unwrap();
    });
}

/// CPU 0 takes its time, CPU 1 has no patience at all, CPU 2 has all of it: it comes after both.
fn a_slow_holder() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let console = console();
        let slow = console.turn.take(0, || 0, 0).unwrap();
        let other = Arc::clone(&console);
        let impatient = loom::thread::spawn(move || {
            let mut looks = 0;
            let now = || {
                looks += 1;
                looks
            };
            let _taken = other.turn.take(1, now, 0).unwrap();
            other.robbing.store(1, Ordering::Release);
            other.robbing.store(0, Ordering::Release);
        });
        let other = Arc::clone(&console);
        let patient = loom::thread::spawn(move || {
            let taken = other.turn.take(2, || 0, 0).unwrap();
            let met = other.robbing.load(Ordering::Acquire) == 1;
            // CPU 1 may have taken this turn as well.
            let lost = other.turn.state.load(Ordering::Relaxed) != taken.state;
            assert!(!met || lost, "two have a turn");
        });
        drop(slow);
        impatient.join().unwrap();
        patient.join().unwrap();
    });
}

#[test]
fn lines_of_two_cpus_stay_whole() {
    lines_of_two();
}

#[test]
fn a_report_is_the_last_word() {
    failure_among_lines();
}

#[test]
fn a_turn_that_was_lost_is_not_given_back() {
    a_slow_holder();
}

noticed! {
    a_turn_that_sees_nothing_is_noticed TurnRelaxed lines_of_two "Causality violation"
    a_turn_whose_end_publishes_nothing_is_noticed TurnEndRelaxed lines_of_two "Causality violation"
    a_turn_given_back_twice_is_noticed TurnGivenBackTwice a_slow_holder "two have a turn"
    going_on_after_a_report_is_noticed ReportIgnored failure_among_lines "after the report"
}
