//! What is outside of the engine: entropy, time, the store.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use zeroize::{Zeroize, Zeroizing};

/// Entropy could not be had; the engine goes into failure mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyError;

/// The store could not be read or written; the engine goes into failure mode and starts again from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreError;

/// One record of the state, replaced or (with no value) removed.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Which record.
    pub key: u32,
    /// Its new value, or nothing to remove it.
    pub value: Option<&'a [u8]>,
}

/// All records: what [`Platform::load`] gives and [`Platform::commit`] changes, for stores that keep them in memory. The
/// values hold secrets: they are overwritten when they are replaced or dropped.
pub type Records = BTreeMap<u32, Zeroizing<Vec<u8>>>;

/// Makes `changes` in `records`.
pub fn apply(records: &mut Records, changes: &[Change<'_>]) {
    for change in changes {
        match change.value {
            Some(value) => {
                let record = records.entry(change.key).or_default();
                if record.capacity() < value.len() {
                    // Growing in place would leave the old bytes behind.
                    *record = Zeroizing::new(Vec::with_capacity(value.len()));
                }
                record.zeroize();
                record.extend_from_slice(value);
            }
            None => {
                records.remove(&change.key);
            }
        }
    }
}

/// What an engine needs from where it runs.
pub trait Platform {
    /// Fills `out` with full entropy.
    ///
    /// # Errors
    /// The source is broken or exhausted.
    fn entropy(&mut self, out: &mut [u8]) -> Result<(), EntropyError>;

    /// Milliseconds on a clock that never goes back while the machine runs.
    fn now_ms(&mut self) -> u64;

    /// Gives every record of the state that was committed last to `each`, in any order.
    ///
    /// # Errors
    /// The state is there but cannot be read. Without state it is a success without records.
    fn load(&mut self, each: &mut dyn FnMut(u32, &[u8])) -> Result<(), StoreError>;

    /// Makes all `changes` or none of them: once this returns they outlast loss of power.
    ///
    /// # Errors
    /// The changes were not, or perhaps not, made.
    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError>;

    /// Whether somebody asserts physical presence.
    fn physical_presence(&mut self) -> bool {
        false
    }
}
