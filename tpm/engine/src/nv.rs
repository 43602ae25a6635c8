//! NV indices.

use crate::types::Name;

/// All NV indices.
#[derive(Default)]
pub struct NvStore {}

impl NvStore {
    /// The Name of index `handle`.
    pub fn name(&self, handle: u32) -> Option<Name> {
        let _ = handle;
        None
    }

    /// The handles of all indices in rising order, for TPM2_GetCapability.
    pub fn handles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        core::iter::empty()
    }

    /// How many of them are counters.
    pub fn counters(&self) -> usize {
        0
    }
}
