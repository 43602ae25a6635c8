//! Sessions (Part 1 §17, §19).

use crate::codec::{Reader, Writer};
use crate::rc::Result;

/// All sessions.
pub struct Sessions {}

impl Sessions {
    /// None.
    pub const fn new() -> Sessions {
        Sessions {}
    }

    /// What TPM Reset does: there are none, saved ones included, and counters are at their start.
    pub fn reset(&mut self) {}

    /// What TPM Restart and Resume do: loaded ones are gone, saved ones stay.
    pub fn flush_loaded(&mut self) {}

    /// Writes what outlasts Shutdown(STATE): the context counter, and which saved contexts are valid.
    pub fn put(&self, _w: &mut Writer<'_>) {}

    /// Reads it.
    ///
    /// # Errors
    /// It is malformed.
    pub fn take(&mut self, _r: &mut Reader<'_>) -> Result<()> {
        Ok(())
    }

    /// The handles of loaded sessions in rising order of their numbers, for TPM2_GetCapability.
    pub fn loaded_handles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        core::iter::empty()
    }

    /// The handles of saved sessions.
    pub fn saved_handles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        core::iter::empty()
    }
}
