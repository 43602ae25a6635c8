//! What a TPM looks like to the runner, and the engine as one.

use std::time::Instant;

use anyhow::Result;
use tpm_engine::Tpm;
use tpm_engine::platform::{Change, EntropyError, Platform, Records, StoreError, apply};

use crate::rng::Rng;

/// A TPM.
pub trait Backend {
    /// Executes a command.
    ///
    /// # Errors
    /// The TPM cannot be reached or does not answer in time.
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>>;

    /// Power off and on.
    ///
    /// # Errors
    /// The TPM cannot be reached.
    fn power_cycle(&mut self) -> Result<()>;

    /// _TPM_Hash_Start to _TPM_Hash_End.
    ///
    /// # Errors
    /// The TPM cannot be reached.
    fn hash_sequence(&mut self, data: &[Vec<u8>]) -> Result<()>;
}

/// A platform whose store is memory and whose entropy is a seeded generator.
pub struct Memory {
    rng: Rng,
    start: Instant,
    records: Records,
    allocated: fn() -> usize,
    own_heap: isize,
}

impl Memory {
    /// Without state.
    pub fn new(seed: u64) -> Memory {
        Memory {
            rng: Rng::new(seed, 0xE17),
            start: Instant::now(),
            records: Records::new(),
            allocated: || 0,
            own_heap: 0,
        }
    }

    /// From now on it tells its heap from the engine's; `allocated` tells the heap of the process.
    pub fn count(&mut self, allocated: fn() -> usize) {
        self.allocated = allocated;
    }

    /// The bytes that it allocated since.
    pub fn own_heap(&self) -> isize {
        self.own_heap
    }
}

impl Platform for Memory {
    fn entropy(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        out.iter_mut()
            .for_each(|byte| *byte = self.rng.word() as u8);
        Ok(())
    }

    fn now_ms(&mut self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn load(&mut self, each: &mut dyn FnMut(u32, &[u8])) -> Result<(), StoreError> {
        self.records
            .iter()
            .for_each(|(key, value)| each(*key, value));
        Ok(())
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        let before = (self.allocated)() as isize;
        apply(&mut self.records, changes);
        self.own_heap += (self.allocated)() as isize - before;
        Ok(())
    }
}

/// The engine, in process.
pub struct Engine {
    /// The TPM.
    pub tpm: Tpm<Memory>,
    response: Box<[u8; 4096]>,
}

impl Engine {
    /// Manufactures one.
    pub fn new(seed: u64) -> Engine {
        Engine {
            tpm: Tpm::new(Memory::new(seed)),
            response: Box::new([0; 4096]),
        }
    }

    /// Manufactures one, starts it and turns it off in good order: what [`crate::swtpm`] had to go through.
    pub fn after_one_cycle(seed: u64) -> Engine {
        let mut engine = Self::new(seed);
        engine.run(0, b"\x80\x01\0\0\0\x0C\0\0\x01\x44\0\0");
        engine.run(0, b"\x80\x01\0\0\0\x0C\0\0\x01\x45\0\0");
        engine.tpm.init();
        engine
    }

    /// The buffer of the last response.
    pub fn response(&self) -> &[u8] {
        &self.response[..]
    }

    /// Executes a command without copying the response.
    pub fn run(&mut self, locality: u8, command: &[u8]) -> &[u8] {
        self.tpm.execute(locality, command, &mut self.response)
    }
}

impl Backend for Engine {
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        Ok(self.run(locality, command).to_vec())
    }

    fn power_cycle(&mut self) -> Result<()> {
        self.tpm.init();
        Ok(())
    }

    fn hash_sequence(&mut self, data: &[Vec<u8>]) -> Result<()> {
        self.tpm.hash_start();
        data.iter().for_each(|data| self.tpm.hash_data(data));
        self.tpm.hash_end();
        Ok(())
    }
}
