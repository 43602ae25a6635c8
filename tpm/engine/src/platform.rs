//! What is outside of the engine: entropy, time, the store.

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
