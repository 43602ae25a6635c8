//! Where the engine runs in its own tests: entropy that can be foretold, a store in memory whose commits fail when told, a
//! clock that stands until it is moved.

use tpm_engine::platform::{Change, EntropyError, Platform, Records, StoreError, apply};

/// The platform.
#[derive(Default, Clone)]
pub struct Host {
    pub store: Records,
    pub commits: usize,
    pub fail: bool,
    /// Commits that still succeed.
    pub last: Option<usize>,
    pub now: u64,
    pub presence: bool,
    pub seed: u64,
}

impl Platform for Host {
    fn entropy(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for byte in out {
            self.seed = self
                .seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.seed >> 56) as u8;
        }
        Ok(())
    }

    fn now_ms(&mut self) -> u64 {
        self.now
    }

    fn load(&mut self, each: &mut dyn FnMut(u32, &[u8])) -> Result<(), StoreError> {
        self.store.iter().for_each(|(key, value)| each(*key, value));
        Ok(())
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        if self.fail || self.last == Some(0) {
            return Err(StoreError);
        }
        self.last = self.last.map(|last| last - 1);
        self.commits += 1;
        apply(&mut self.store, changes);
        Ok(())
    }

    fn physical_presence(&mut self) -> bool {
        self.presence
    }
}
