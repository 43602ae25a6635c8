//! What is measured: a few commands that are executed again and again.

use std::fmt;

use anyhow::{Result, ensure};

/// A part of an earlier response that goes into a command: a handle, a key's two halves.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// Which step's response.
    pub step: usize,
    /// Where in the response.
    pub source: usize,
    /// Where in the command.
    pub target: usize,
    /// Bytes.
    pub length: usize,
}

/// One command of a run.
#[derive(Clone, Debug)]
pub struct Step {
    /// The command.
    pub command: Vec<u8>,
    /// Whether its time counts.
    pub timed: bool,
    /// Where the run's number goes, big-endian, for commands that must not repeat.
    pub counter_at: Option<usize>,
    /// What goes into it from the run's earlier responses.
    pub copies: Vec<Copy>,
}

impl Step {
    /// A command that counts and is the same in every run.
    pub fn timed(command: Vec<u8>) -> Step {
        Step {
            command,
            timed: true,
            counter_at: None,
            copies: Vec::new(),
        }
    }

    /// A command that cleans up after the others.
    pub fn untimed(command: Vec<u8>) -> Step {
        Step {
            timed: false,
            ..Step::timed(command)
        }
    }

    /// With the run's number in place of `mark`.
    pub fn numbered(mut self, mark: &[u8; 4]) -> Step {
        self.counter_at = self.command.windows(4).position(|four| four == mark);
        self
    }

    /// With a part of an earlier response.
    pub fn with(mut self, copy: Copy) -> Step {
        self.copies.push(copy);
        self
    }
}

/// The steps of a run.
pub type Program = Vec<Step>;

/// A command was answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub u32);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl std::error::Error for Refusal {}

/// A TPM that can be measured.
pub trait Target {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Executes a command and returns the response, or a [`Refusal`].
    fn execute(&mut self, command: &[u8]) -> Result<Vec<u8>>;

    /// Executes `samples` times `batch` runs and returns nanoseconds per run of each sample, or a [`Refusal`]. Runs are
    /// numbered from `first` on.
    fn measure(
        &mut self,
        program: &Program,
        samples: u32,
        batch: u32,
        first: u32,
    ) -> Result<Vec<u64>>;
}

/// `response`, if it says success.
pub fn success(response: &[u8]) -> Result<&[u8]> {
    match response_code(response) {
        Some(0) => Ok(response),
        Some(code) => Err(Refusal(code).into()),
        None => anyhow::bail!("a response of {} bytes", response.len()),
    }
}

/// The response code, where there is one.
pub fn response_code(response: &[u8]) -> Option<u32> {
    let bytes = response.get(6..10)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

/// Whether all numbers of `program` are within what the harness has room for.
pub fn check(program: &Program) -> Result<()> {
    ensure!(
        program.len() <= 4,
        "more steps than the harness has room for"
    );
    for step in program {
        ensure!(step.command.len() <= 4096 && step.copies.len() <= 2);
        if let Some(at) = step.counter_at {
            ensure!(at + 4 <= step.command.len());
        }
    }
    Ok(())
}
