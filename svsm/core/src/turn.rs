//! Whose turn it is to print: lines of several CPUs stay whole, and a report of a failure is not broken by those who know
//! nothing of it.
//!
//! A turn is waited for as long as turns change hands. Only who has kept one for longer than the waiter's patience loses it:
//! it may have stopped for good within its line. A turn that was lost is not given back a second time.
//!
//! Once a CPU reports a failure ([`Turn::report`]), the others end the line that they have begun, and have no turn any more: from
//! the reporter's first turn on there is no other CPU's line.

use crate::mistake::{Mistake, made, ordering};
use crate::sync::{AtomicU32, AtomicU64, Ordering, pause};

#[cfg(all(test, loom))]
mod model;

/// Instead of a CPU's index, counted from 1.
const NOBODY: u32 = 0;

/// The turn to print.
#[derive(Debug)]
pub struct Turn {
    /// How many turns there were, above; who has this one, or [`NOBODY`], in the lower half.
    state: AtomicU64,
    /// Who reports a failure, or [`NOBODY`].
    reporter: AtomicU32,
}

/// A CPU's turn, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Taken<'a> {
    turn: &'a Turn,
    state: u64,
    /// Whether another line was begun and is not known to have ended.
    pub after_broken_line: bool,
}

fn holder(state: u64) -> u32 {
    state as u32
}

impl Turn {
    /// Nobody's turn.
    #[cfg(not(loom))]
    pub const fn new() -> Turn {
        Turn {
            state: AtomicU64::new(0),
            reporter: AtomicU32::new(NOBODY),
        }
    }

    /// Nobody's turn.
    #[cfg(loom)]
    pub fn new() -> Turn {
        Turn {
            state: AtomicU64::new(0),
            reporter: AtomicU32::new(NOBODY),
        }
    }

    /// From now on only this CPU has turns; `false` if another one said so before.
    pub fn report(&self, cpu: u32) -> bool {
        match self
            .reporter
            .compare_exchange(NOBODY, cpu + 1, Ordering::Release, Ordering::Relaxed)
        {
            Ok(_) => true,
            Err(reporter) => reporter == cpu + 1,
        }
    }

    /// Whether a CPU reports a failure.
    pub fn is_reporting(&self) -> bool {
        self.reporter.load(Ordering::Acquire) != NOBODY
    }

    /// Waits for this CPU's turn; `None` when another CPU reports a failure. `patience` is in units of `now`.
    pub fn take(&self, cpu: u32, mut now: impl FnMut() -> u64, patience: u64) -> Option<Taken<'_>> {
        let see = ordering(Mistake::TurnRelaxed, Ordering::Acquire);
        let mut state = self.state.load(see);
        let mut since = now();
        loop {
            // After the state: who finds the reporter's turn over there finds the reporter here.
            let reporter = self.reporter.load(Ordering::Relaxed);
            if reporter != NOBODY && reporter != cpu + 1 && !made(Mistake::ReportIgnored) {
                return None;
            }
            let free = holder(state) == NOBODY;
            // A failure within the CPU's own line.
            let own = holder(state) == cpu + 1;
            if free || own || now().wrapping_sub(since) > patience {
                let next = ((state >> 32).wrapping_add(1) << 32) | u64::from(cpu + 1);
                if self
                    .state
                    .compare_exchange(state, next, see, Ordering::Relaxed)
                    .is_ok()
                {
                    return Some(Taken {
                        turn: self,
                        state: next,
                        after_broken_line: !free,
                    });
                }
            }
            pause();
            let seen = self.state.load(see);
            if seen != state {
                state = seen;
                since = now();
            }
        }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Turn::new()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let publish = ordering(Mistake::TurnEndRelaxed, Ordering::Release);
        let free = self.state & !u64::from(u32::MAX);
        if made(Mistake::TurnGivenBackTwice) {
            self.turn.state.store(free, publish);
            return;
        }
        // It fails when the turn was lost: then it is another CPU's to give back.
        let _ = self
            .turn
            .state
            .compare_exchange(self.state, free, publish, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::string::String;
    use std::sync::Mutex;
    use std::vec::Vec;

    /// A clock that goes on by one at each look.
    fn clock() -> impl FnMut() -> u64 {
        let mut time = 0;
        move || {
            time += 1;
            time
        }
    }

    #[test]
    fn who_keeps_a_turn_too_long_loses_it_and_does_not_give_it_back() {
        let turn = Turn::new();
        let stuck = turn.take(0, clock(), 100).unwrap();
        assert!(!stuck.after_broken_line);
        let thief = turn.take(1, clock(), 100).unwrap();
        assert!(thief.after_broken_line);
        drop(stuck);
        let third = turn.take(2, clock(), 100).unwrap();
        assert!(
            third.after_broken_line,
            "the first holder gave back what was not its own"
        );
        drop(thief);
        drop(third);
        assert!(!turn.take(0, clock(), 100).unwrap().after_broken_line);
    }

    #[test]
    fn patience_begins_anew_when_turns_change_hands() {
        const PATIENCE: u64 = 5;
        let turn = Turn::new();
        let mut held = turn.take(0, || 0, PATIENCE);
        let mut looks = 0;
        let now = || {
            // Most looks find another turn of the holder's; in all the wait is longer than patience.
            drop(held.take());
            looks += 1;
            if looks < 20 {
                held = turn.take(0, || 0, PATIENCE);
            }
            looks * 3
        };
        let taken = turn.take(1, now, PATIENCE).unwrap();
        assert!(!taken.after_broken_line);
        drop(taken);
        assert!(looks >= 20);
    }

    #[test]
    fn a_failure_within_the_own_line_does_not_wait() {
        let turn = Turn::new();
        let _line = turn.take(3, || 0, u64::MAX);
        assert!(!turn.is_reporting());
        assert!(turn.report(3) && turn.report(3) && !turn.report(1));
        assert!(turn.is_reporting() && turn.take(1, || 0, u64::MAX).is_none());
        assert!(turn.take(3, || 0, u64::MAX).unwrap().after_broken_line);
    }

    /// Threads print byte by byte under the host's own scheduling.
    #[test]
    fn lines_stay_whole_and_a_report_is_the_last_word() {
        let turn = Turn::new();
        let console = Mutex::new(String::new());
        let print = |cpu: u32, what: &str| {
            let begun = std::time::Instant::now();
            let Some(taken) = turn.take(cpu, || begun.elapsed().as_secs(), 60) else {
                return false;
            };
            assert!(!taken.after_broken_line);
            for byte in what.chars() {
                console.lock().unwrap().push(byte);
                std::thread::yield_now();
            }
            true
        };
        std::thread::scope(|scope| {
            for cpu in 1..5 {
                let print = &print;
                scope.spawn(move || while print(cpu, "abcdefgh\n") {});
            }
            while console.lock().unwrap().len() < 2_000 {
                std::thread::yield_now();
            }
            assert!(turn.report(0));
            for _ in 0..20 {
                assert!(print(0, "REPORT\n"));
            }
        });
        let console = console.into_inner().unwrap();
        let lines: Vec<&str> = console.lines().collect();
        let (others, report) = lines.split_at(lines.len() - 20);
        assert!(others.iter().all(|&line| line == "abcdefgh"), "{lines:?}");
        assert!(report.iter().all(|&line| line == "REPORT"), "{lines:?}");
    }
}
