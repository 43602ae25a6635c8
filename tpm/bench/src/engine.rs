//! The engine in this process, its state in memory. What is inside the clock is what tests/tpm/bench/libtpms.c has
//! inside of its own.

use std::fs::File;
use std::io::Read;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tpm_engine::Tpm;
use tpm_engine::platform::{Change, EntropyError, Platform, Records, StoreError, apply};

use crate::measure::{self, Program, Target, response_code};

/// Entropy of the operating system, a store in memory.
struct Memory {
    random: File,
    started: Instant,
    records: Records,
}

impl Platform for Memory {
    fn entropy(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.random.read_exact(out).map_err(|_| EntropyError)
    }

    fn now_ms(&mut self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn load(&mut self, each: &mut dyn FnMut(u32, &[u8])) -> Result<(), StoreError> {
        self.records
            .iter()
            .for_each(|(key, value)| each(*key, value));
        Ok(())
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        apply(&mut self.records, changes);
        Ok(())
    }
}

/// The engine.
pub struct Engine {
    tpm: Tpm<Memory>,
}

impl Engine {
    /// A newly manufactured one.
    pub fn new() -> Result<Engine> {
        let random = File::open("/dev/urandom").context("cannot open /dev/urandom")?;
        Ok(Engine {
            tpm: Tpm::new(Memory {
                random,
                started: Instant::now(),
                records: Records::new(),
            }),
        })
    }
}

impl Target for Engine {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn execute(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        let mut response = [0; 4096];
        let response = self.tpm.execute(0, command, &mut response);
        measure::success(response).map(<[u8]>::to_vec)
    }

    fn measure(
        &mut self,
        program: &Program,
        samples: u32,
        batch: u32,
        first: u32,
    ) -> Result<Vec<u64>> {
        measure::check(program)?;
        let mut steps = program.clone();
        let mut responses = vec![[0; 4096]; steps.len()];
        let mut lengths = vec![0; steps.len()];
        let all_timed = steps.iter().all(|step| step.timed);
        let mut counter = first;
        let mut times = Vec::with_capacity(samples as usize);
        for _ in 0..samples {
            let mut spent = 0;
            let began = Instant::now();
            for _ in 0..batch {
                for (index, step) in steps.iter_mut().enumerate() {
                    for copy in &step.copies {
                        let from = responses[copy.step][..lengths[copy.step]]
                            .get(copy.source..copy.source + copy.length)
                            .context("a copy outside of its response")?;
                        step.command[copy.target..copy.target + copy.length].copy_from_slice(from);
                    }
                    if let Some(at) = step.counter_at {
                        step.command[at..at + 4].copy_from_slice(&counter.to_be_bytes());
                    }
                    let began = (!all_timed).then(Instant::now);
                    let response = self.tpm.execute(0, &step.command, &mut responses[index]);
                    if let Some(began) = began
                        && step.timed
                    {
                        spent += began.elapsed().as_nanos() as u64;
                    }
                    match response_code(response) {
                        Some(0) => {}
                        Some(code) => return Err(measure::Refusal(code).into()),
                        None => bail!("a response of {} bytes", response.len()),
                    }
                    lengths[index] = response.len();
                }
                counter = counter.wrapping_add(1);
            }
            if all_timed {
                spent = began.elapsed().as_nanos() as u64;
            }
            times.push(spent / u64::from(batch));
        }
        Ok(times)
    }
}
