//! Where the engine's records are kept: a set of (key, bytes) that changes by transactions.

use std::collections::BTreeMap;

use tpm_engine::platform::{Change, StoreError};
use zeroize::Zeroizing;

mod disk;
pub mod fault;
pub mod format;
mod journal;
mod medium;

pub use disk::Disk;
pub use journal::{Durability, Journal, OpenError};
pub use medium::Medium;

/// All records. The values hold secrets: they are overwritten when they are replaced or dropped.
pub type Records = BTreeMap<u32, Zeroizing<Vec<u8>>>;

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

/// Makes `changes` in `records`.
pub fn apply(records: &mut Records, changes: &[Change<'_>]) {
    for change in changes {
        match change.value {
            Some(value) => records.insert(change.key, Zeroizing::new(value.to_vec())),
            None => records.remove(&change.key),
        };
    }
}
