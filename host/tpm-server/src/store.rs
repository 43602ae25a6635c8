//! Where the engine's records are kept: a set of (key, bytes) that changes by transactions.

use tpm_engine::platform::{Change, StoreError, apply};

mod disk;
pub mod fault;
pub mod format;
mod journal;
mod medium;

pub use disk::Disk;
pub use journal::{Durability, Journal, OpenError};
pub use medium::Medium;
pub use tpm_engine::platform::Records;

/// What holds the state of a TPM.
pub trait Store: Send {
    /// The records that were committed last, read afresh.
    ///
    /// # Errors
    /// They are there but cannot be read.
    fn load(&mut self) -> Result<&Records, StoreError>;

    /// Makes all changes or none.
    ///
    /// # Errors
    /// They were not, or perhaps not, made.
    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError>;

    /// Puts `records` in the place of all there are.
    ///
    /// # Errors
    /// They were not, or perhaps not, replaced.
    fn replace(&mut self, records: Records) -> Result<(), StoreError>;
}

/// A store that ends with the process.
#[derive(Default)]
pub struct Memory {
    records: Records,
}

impl Memory {
    /// A store that holds `records`.
    pub fn new(records: Records) -> Memory {
        Memory { records }
    }
}

impl Store for Memory {
    fn load(&mut self) -> Result<&Records, StoreError> {
        Ok(&self.records)
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        apply(&mut self.records, changes);
        Ok(())
    }

    fn replace(&mut self, records: Records) -> Result<(), StoreError> {
        self.records = records;
        Ok(())
    }
}
