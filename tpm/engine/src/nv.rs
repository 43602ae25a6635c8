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
}
