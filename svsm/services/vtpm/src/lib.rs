//! What the vTPM gives the TPM engine to stand on: entropy and time from the SVSM's kernel, a store in memory.
//!
//! The store is lost with the machine's power: a TPM is manufactured at each boot. What was bound to it before is lost
//! then, and an endorsement key says nothing about who made it.
//!
//! [`KnownSeeds`] is for a test that looks for secrets in dumps of memory: a host that runs the engine on the same
//! [`Volatile`] learns every secret of the vTPM.
#![no_std]
#![forbid(unsafe_code)]

use tpm_engine::platform::{Change, EntropyError, Platform, Records, StoreError, apply};

/// What the vTPM needs of where it runs.
pub trait Machine {
    /// 64 bits of full entropy, or nothing where the source is broken or exhausted.
    fn entropy(&mut self) -> Option<u64>;

    /// Milliseconds on a clock that never goes back.
    fn now_ms(&mut self) -> u64;
}

/// A platform whose store is memory.
pub struct Volatile<M> {
    machine: M,
    records: Records,
}

impl<M: Machine> Volatile<M> {
    /// One without records: the engine manufactures a TPM.
    pub const fn new(machine: M) -> Volatile<M> {
        Volatile {
            machine,
            records: Records::new(),
        }
    }

    /// What the engine has stored, all of its secrets among it.
    pub const fn records(&self) -> &Records {
        &self.records
    }
}

impl<M: Machine> Platform for Volatile<M> {
    fn entropy(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in out.chunks_mut(8) {
            let bits = self.machine.entropy().ok_or(EntropyError)?.to_le_bytes();
            for (place, byte) in chunk.iter_mut().zip(bits) {
                *place = byte;
            }
        }
        Ok(())
    }

    fn now_ms(&mut self) -> u64 {
        self.machine.now_ms()
    }

    fn load(&mut self, each: &mut dyn FnMut(u32, &[u8])) -> Result<(), StoreError> {
        for (key, value) in &self.records {
            each(*key, value);
        }
        Ok(())
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        apply(&mut self.records, changes);
        Ok(())
    }
}

/// **Not random**: SplitMix64 from a fixed seed, the same at each start. For tests only.
#[derive(Clone, Debug)]
pub struct KnownSeeds(u64);

impl KnownSeeds {
    /// From the seed of `svsm-vtpm-known-seeds`.
    pub const fn new() -> KnownSeeds {
        KnownSeeds(0x4B6E_6F77_6E53_6565)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}

impl Default for KnownSeeds {
    fn default() -> KnownSeeds {
        KnownSeeds::new()
    }
}

/// Where it is for itself: for a host that wants to know what a vTPM of known seeds is made of.
impl Machine for KnownSeeds {
    fn entropy(&mut self) -> Option<u64> {
        Some(self.next())
    }

    fn now_ms(&mut self) -> u64 {
        0
    }
}
