//! A host as the engine sees it: the kernel's random numbers, a monotonic clock, a store.

use std::time::Instant;

use sha2::{Digest, Sha256};
use tpm_engine::platform::{Change, EntropyError, Platform, StoreError};
use zeroize::Zeroizing;

use crate::store::{Memory, Store};

/// Where random bytes come from.
pub enum Entropy {
    /// getrandom(2).
    Kernel,
    /// A known sequence. Keys made from it are known to everybody: for tests only.
    Known(KnownSequence),
}

impl Entropy {
    /// The known sequence of `seed`.
    pub fn known(seed: &[u8]) -> Entropy {
        Entropy::Known(KnownSequence {
            seed: Zeroizing::new(seed.to_vec()),
            block: 0,
        })
    }
}

/// SHA-256 of seed and counter, for ever the same.
pub struct KnownSequence {
    seed: Zeroizing<Vec<u8>>,
    block: u64,
}

impl KnownSequence {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let mut hash = Sha256::new_with_prefix(self.seed.as_slice());
            hash.update(self.block.to_be_bytes());
            self.block += 1;
            chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
        }
    }
}

/// See the module.
pub struct HostPlatform {
    entropy: Entropy,
    started: Instant,
    store: Box<dyn Store>,
    /// Whether somebody asserts physical presence (TPM Part 1 §25.4, here: the simulator's platform port).
    pub physical_presence: bool,
}

impl HostPlatform {
    /// A host that keeps the state in `store`.
    pub fn new(store: impl Store + 'static, entropy: Entropy) -> HostPlatform {
        HostPlatform {
            entropy,
            started: Instant::now(),
            store: Box::new(store),
            physical_presence: false,
        }
    }

    /// A host that forgets the state, with random numbers that are the same each time: for tests and benchmarks.
    pub fn for_tests(seed: &[u8]) -> HostPlatform {
        HostPlatform::new(Memory::default(), Entropy::known(seed))
    }

    /// The store.
    pub fn store(&mut self) -> &mut dyn Store {
        self.store.as_mut()
    }
}

impl Platform for HostPlatform {
    fn entropy(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        match &mut self.entropy {
            Entropy::Kernel => getrandom::fill(out).map_err(|_| EntropyError),
            Entropy::Known(sequence) => {
                sequence.fill(out);
                Ok(())
            }
        }
    }

    fn now_ms(&mut self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn load(&mut self, each: &mut dyn FnMut(u32, &[u8])) -> Result<(), StoreError> {
        for (key, value) in self.store.load()? {
            each(*key, value);
        }
        Ok(())
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        self.store.commit(changes)
    }

    fn physical_presence(&mut self) -> bool {
        self.physical_presence
    }
}
