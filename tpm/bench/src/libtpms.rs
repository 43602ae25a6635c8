//! libtpms in a child process that measures by itself. The protocol is described in tests/tpm/bench/libtpms.c.

use std::io::{BufReader, BufWriter, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

use crate::measure::{self, Program, Refusal, Target};

/// The child.
pub struct Libtpms {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Libtpms {
    /// Starts the harness, and with it a newly manufactured TPM.
    pub fn start(harness: &str) -> Result<Libtpms> {
        let mut child = Command::new(harness)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {harness}"))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        Ok(Libtpms {
            child,
            input: BufWriter::new(input),
            output: BufReader::new(output),
        })
    }

    fn put(&mut self, numbers: &[usize]) -> Result<()> {
        for number in numbers {
            self.input
                .write_all(&u32::try_from(*number)?.to_le_bytes())?;
        }
        Ok(())
    }

    fn get<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.output
            .read_exact(&mut bytes)
            .context("the libtpms harness ended")?;
        Ok(bytes)
    }
}

impl Target for Libtpms {
    fn name(&self) -> &'static str {
        "libtpms"
    }

    fn execute(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.put(&[1, command.len()])?;
        self.input.write_all(command)?;
        self.input.flush()?;
        let length = u32::from_le_bytes(self.get()?) as usize;
        let mut response = vec![0; length];
        self.output.read_exact(&mut response)?;
        measure::success(&response)?;
        Ok(response)
    }

    fn measure(
        &mut self,
        program: &Program,
        samples: u32,
        batch: u32,
        first: u32,
    ) -> Result<Vec<u64>> {
        measure::check(program)?;
        self.put(&[2, samples as usize, batch as usize, first as usize])?;
        self.put(&[program.len()])?;
        for step in program {
            let counter_at = step.counter_at.unwrap_or(u32::MAX as usize);
            self.put(&[usize::from(step.timed), counter_at, step.copies.len()])?;
            for copy in &step.copies {
                self.put(&[copy.step, copy.source, copy.target, copy.length])?;
            }
            self.put(&[step.command.len()])?;
            self.input.write_all(&step.command)?;
        }
        self.input.flush()?;
        let mut times = Vec::with_capacity(samples as usize);
        for _ in 0..samples {
            times.push(u64::from_le_bytes(self.get()?));
        }
        match u32::from_le_bytes(self.get()?) {
            0 => Ok(times),
            code => Err(Refusal(code).into()),
        }
    }
}

impl Drop for Libtpms {
    fn drop(&mut self) {
        // It would end by itself when its input does, but not while it measures.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
