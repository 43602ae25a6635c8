//! The loop: an input that does something new joins those that are changed further.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use coverage_hooks::Pair;
use seeded_rng::Rng;

use crate::corpus;
use crate::failure::{self, Failure};
use crate::mutate::mutate;
use crate::target::Target;

/// Changed copies of an input before another one is taken.
const CHILDREN: usize = 64;
/// Inputs between looks at the clock.
const PATIENCE: u64 = 16;

/// How to fuzz.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For each target.
    pub time: Duration,
    /// The same seed makes the same inputs.
    pub seed: u64,
    /// A folder with a folder for each target.
    pub corpus: PathBuf,
    /// Where failing inputs go.
    pub failures: PathBuf,
}

/// A target being fuzzed.
pub struct Fuzzer<'a> {
    target: &'static Target,
    settings: &'a Settings,
    /// Those that did something new when they came.
    inputs: Vec<Vec<u8>>,
    /// How many of them are from files.
    from_files: usize,
    /// For each feature, which classes of counts have been seen.
    seen: Vec<u8>,
    executions: u64,
    accepted: u64,
    spent: Duration,
}

impl<'a> Fuzzer<'a> {
    /// Without inputs yet.
    pub fn new(target: &'static Target, settings: &'a Settings) -> Fuzzer<'a> {
        Fuzzer {
            target,
            settings,
            inputs: Vec::new(),
            from_files: 0,
            seen: vec![0; coverage_hooks::features()],
            executions: 0,
            accepted: 0,
            spent: Duration::ZERO,
        }
    }

    /// Inputs that were run.
    pub fn executions(&self) -> u64 {
        self.executions
    }

    /// Runs the corpus.
    ///
    /// # Errors
    /// An input fails.
    pub fn replay(&mut self) -> Result<(), Box<Failure>> {
        let inputs = corpus::read(&self.settings.corpus, self.target.name).unwrap_or_default();
        for (_, input) in inputs {
            self.run(&input)?;
            self.inputs.push(input);
        }
        self.from_files = self.inputs.len();
        Ok(())
    }

    /// Fuzzes until time is up.
    ///
    /// # Errors
    /// An input fails.
    pub fn fuzz(&mut self) -> Result<(), Box<Failure>> {
        let start = Instant::now();
        let end = start + self.settings.time;
        // Each target gets numbers of its own.
        let stream = self.target.name.bytes().fold(0u64, |stream, byte| {
            stream.wrapping_mul(31).wrapping_add(byte.into())
        });
        let mut rng = Rng::new(self.settings.seed, stream);
        if self.inputs.is_empty() {
            self.inputs.push(Vec::new());
        }
        let mut done = Ok(());
        while done.is_ok() && Instant::now() < end {
            done = self.round(&mut rng, end);
        }
        self.spent = start.elapsed();
        done
    }

    /// Changes one input.
    fn round(&mut self, rng: &mut Rng, end: Instant) -> Result<(), Box<Failure>> {
        let count = self.inputs.len();
        let first = if rng.chance(50) { count * 3 / 4 } else { 0 };
        let parent = self.inputs[first + rng.below(count - first)].clone();
        self.execute(&parent)?;
        let pairs: Vec<Pair> = coverage_hooks::compared().collect();
        for _ in 0..CHILDREN {
            if self.executions.is_multiple_of(PATIENCE) && Instant::now() >= end {
                break;
            }
            let mut child = parent.clone();
            mutate(self.target, rng, &mut child, &self.inputs, &pairs);
            if self.run(&child)? {
                self.inputs.push(child);
            }
        }
        Ok(())
    }

    /// Runs an input; whether it did something new. Then it is run again, and must do the same.
    fn run(&mut self, input: &[u8]) -> Result<bool, Box<Failure>> {
        let outcome = self.execute(input)?;
        let mut new = false;
        let seen = &mut self.seen;
        coverage_hooks::take(|feature, class| {
            new |= class & !seen[feature] != 0;
            seen[feature] |= class;
        });
        if new && self.execute(input)? != outcome {
            return Err(self.failed(
                input,
                failure::Panic {
                    place: "second run".into(),
                    message: "the same input, another outcome".into(),
                },
            ));
        }
        Ok(new)
    }

    fn execute(&mut self, input: &[u8]) -> Result<crate::target::Outcome, Box<Failure>> {
        coverage_hooks::take(|_, _| {});
        let outcome =
            failure::run(self.target, input).map_err(|panic| self.failed(input, panic))?;
        self.executions += 1;
        self.accepted += u64::from(outcome.accepted);
        Ok(outcome)
    }

    fn failed(&self, input: &[u8], panic: failure::Panic) -> Box<Failure> {
        Box::new(failure::report(
            self.target,
            input,
            panic,
            &self.settings.failures,
        ))
    }

    /// Few and small inputs that take all edges which any has taken, of at most so many bytes.
    pub fn smallest(&mut self, most: usize) -> Vec<Vec<u8>> {
        let mut inputs = std::mem::take(&mut self.inputs);
        inputs.sort_by_key(Vec::len);
        let mut taken = vec![false; self.seen.len()];
        let mut bytes = 0;
        inputs.retain(|input| {
            if bytes + input.len() > most || self.execute(input).is_err() {
                return false;
            }
            let mut new = false;
            coverage_hooks::take(|feature, _| new |= !std::mem::replace(&mut taken[feature], true));
            bytes += if new { input.len() } else { 0 };
            new
        });
        inputs
    }

    /// One line about it.
    pub fn line(&self) -> String {
        let seconds = self.spent.as_secs_f64().max(0.001);
        format!(
            "{:16} {:>9} inputs ({:>6.0}/s), {:>3.0} % accepted, {:>5} edges, corpus {} and {} new",
            self.target.name,
            self.executions,
            self.executions as f64 / seconds,
            self.accepted as f64 * 100.0 / self.executions.max(1) as f64,
            self.seen
                .iter()
                .take(coverage_hooks::edges())
                .filter(|seen| **seen != 0)
                .count(),
            self.from_files,
            self.inputs.len().saturating_sub(self.from_files),
        )
    }
}
