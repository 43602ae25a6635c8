//! Runs steps, two at a time at most, and reports each with one line as it ends.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};

use crate::ui::{self, Progress};

/// Jobs at a time. The machines this is meant for have two processors, and QEMU uses more than one.
const SLOTS: usize = 2;

/// How a step ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All as expected; the text, if any, is printed behind the name.
    Passed(String),
    /// It cannot be run here, for this reason.
    Skipped(String),
    /// It was many tests, each of which counts.
    Many(Many),
}

/// What came of many tests in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Many {
    /// How many passed.
    pub passed: usize,
    /// Names of those that failed, and why.
    pub failed: Vec<(String, String)>,
    /// Names of those that were skipped, and why.
    pub skipped: Vec<(String, String)>,
}

impl Many {
    /// The skipped ones by their reasons, a line each.
    fn skipped_lines(&self) -> Vec<String> {
        let mut lines: Vec<(&str, Vec<&str>)> = Vec::new();
        for (name, reason) in &self.skipped {
            match lines.iter_mut().find(|(known, _)| known == reason) {
                Some((_, names)) => names.push(name),
                None => lines.push((reason, vec![name])),
            }
        }
        lines
            .into_iter()
            .map(|(reason, names)| format!("{}, {reason}: {}", names.len(), names.join(" ")))
            .collect()
    }
}

/// A verdict without remark.
pub fn passed() -> Verdict {
    Verdict::Passed(String::new())
}

type Work<'a> = Box<dyn FnOnce(&Progress) -> Result<Verdict> + Send + 'a>;

/// One line of the report.
pub struct Step<'a> {
    /// What the report calls it.
    pub name: String,
    /// Slots it takes: all of them for what uses all processors.
    pub slots: usize,
    work: Work<'a>,
}

impl<'a> Step<'a> {
    /// A step that can run beside another one.
    pub fn new(
        name: impl Into<String>,
        work: impl FnOnce(&Progress) -> Result<Verdict> + Send + 'a,
    ) -> Step<'a> {
        Step {
            name: name.into(),
            slots: 1,
            work: Box::new(work),
        }
    }

    /// The same, but alone.
    pub fn alone(mut self) -> Step<'a> {
        self.slots = SLOTS;
        self
    }
}

/// What came of all steps so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many passed.
    pub passed: usize,
    /// The names of those that failed.
    pub failed: Vec<String>,
    /// How many were skipped.
    pub skipped: usize,
}

impl Tally {
    /// The closing line.
    pub fn line(&self) -> String {
        let mut line = format!("{} passed, {} failed", self.passed, self.failed.len());
        if self.skipped > 0 {
            line.push_str(&format!(", {} skipped", self.skipped));
        }
        line
    }

    fn add(&mut self, name: &str, seconds: f64, result: Result<Verdict>) {
        match result {
            Ok(Verdict::Passed(remark)) => {
                self.passed += 1;
                let remark = if remark.is_empty() {
                    remark
                } else {
                    format!(": {remark}")
                };
                ui::say(format!("ok   {name} ({seconds:.1} s){remark}"));
            }
            Ok(Verdict::Skipped(reason)) => {
                self.skipped += 1;
                ui::say(format!("skip {name}: {reason}"));
            }
            Ok(Verdict::Many(many)) => {
                self.passed += many.passed;
                self.skipped += many.skipped.len();
                let word = if many.failed.is_empty() {
                    "ok  "
                } else {
                    "FAIL"
                };
                let mut text = format!("{word} {name} ({seconds:.1} s): {} passed", many.passed);
                for (test, reason) in &many.failed {
                    self.failed.push(format!("{name}: {test}"));
                    text.push_str(&format!("\n     FAIL {test}: {reason}"));
                }
                for line in many.skipped_lines() {
                    text.push_str(&format!("\n     skip {line}"));
                }
                ui::say(text);
            }
            Err(error) => {
                self.failed.push(name.to_owned());
                let text = format!("{error:#}");
                let indented: String = text
                    .trim_end()
                    .lines()
                    .map(|line| format!("\n     {line}"))
                    .collect();
                ui::say(format!("FAIL {name} ({seconds:.1} s){indented}"));
            }
        }
    }
}

struct State<'a> {
    waiting: VecDeque<Step<'a>>,
    free: usize,
    tally: Tally,
}

/// Runs all steps in their order, as slots get free, and adds what came of them to `tally`.
pub fn run(steps: Vec<Step>, tally: &mut Tally) {
    let state = Mutex::new(State {
        waiting: steps.into(),
        free: SLOTS,
        tally: std::mem::take(tally),
    });
    let changed = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..SLOTS {
            scope.spawn(|| work(&state, &changed));
        }
    });
    *tally = state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .tally;
}

fn work(state: &Mutex<State>, changed: &Condvar) {
    loop {
        let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        // In order: a step that needs all slots is not overtaken, or it would wait for ever.
        while guard
            .waiting
            .front()
            .is_some_and(|step| step.slots > guard.free)
        {
            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        let Some(step) = guard.waiting.pop_front() else {
            return;
        };
        guard.free -= step.slots;
        drop(guard);

        let started = Instant::now();
        let progress = Progress::start(&step.name);
        let result = panic::catch_unwind(AssertUnwindSafe(|| (step.work)(&progress)))
            .unwrap_or_else(|_| Err(anyhow!("the step itself panicked")));
        progress.quiet();

        let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        guard
            .tally
            .add(&step.name, started.elapsed().as_secs_f64(), result);
        guard.free += step.slots;
        drop(guard);
        changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn every_step_counts_once() {
        let mut tally = Tally::default();
        run(
            vec![
                Step::new("good", |_| Ok(passed())),
                Step::new("bad", |_| Err(anyhow!("a reason"))),
                Step::new("absent", |_| Ok(Verdict::Skipped("not here".into()))),
                Step::new("many", |_| {
                    Ok(Verdict::Many(Many {
                        passed: 3,
                        failed: vec![("x".into(), "why".into())],
                        skipped: vec![("y".into(), "absent".into())],
                    }))
                }),
                Step::new("alone", |_| Ok(passed())).alone(),
            ],
            &mut tally,
        );
        assert_eq!(tally.line(), "5 passed, 2 failed, 2 skipped");
        tally.failed.sort();
        assert_eq!(tally.failed, ["bad", "many: x"]);
    }

    #[test]
    fn a_step_that_runs_alone_does() {
        let running = AtomicUsize::new(0);
        let enter = |expected: std::ops::RangeInclusive<usize>| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            thread::sleep(Duration::from_millis(20));
            running.fetch_sub(1, Ordering::SeqCst);
            anyhow::ensure!(expected.contains(&now), "{now} at once");
            Ok(passed())
        };
        let mut tally = Tally::default();
        let mut steps = Vec::new();
        for _ in 0..3 {
            steps.push(Step::new("beside", |_: &Progress| enter(1..=2)));
            steps.push(Step::new("alone", |_: &Progress| enter(1..=1)).alone());
        }
        run(steps, &mut tally);
        assert_eq!(tally.line(), "6 passed, 0 failed");
    }
}
