//! Sessions (Part 1 §17, §19).

/// All sessions.
#[derive(Default)]
pub struct Sessions {}

impl Sessions {
    /// The handles of loaded sessions in rising order of their numbers, for TPM2_GetCapability.
    pub fn loaded_handles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        core::iter::empty()
    }

    /// The handles of saved sessions.
    pub fn saved_handles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        core::iter::empty()
    }
}
