//! The records of the store.

/// Key of the record of [`crate::state::Permanent`].
pub const PERMANENT: u32 = 1;
/// Key of the record that TPM2_Shutdown writes: STATE_RESET and STATE_CLEAR data, PCRs.
pub const ORDERLY: u32 = 2;

/// Most records that one command changes: all indices with their data, all persistent objects, and the two above.
const MOST: usize = 2 * crate::limits::MAX_NV_INDICES + crate::limits::MAX_PERSISTENT + 2;

/// Keys of records that differ from the store. A persistent object's key is its handle, an NV index' public part's too; its
/// data's key is [`nv_data_key`].
pub struct Dirty {
    keys: [u32; MOST],
    len: usize,
}

impl Dirty {
    /// Nothing.
    pub const fn new() -> Self {
        Dirty {
            keys: [0; MOST],
            len: 0,
        }
    }

    /// Notes that the record `key` must be written, or removed where what it stands for is gone.
    pub fn mark(&mut self, key: u32) {
        if !self.keys().contains(&key) {
            if let Some(place) = self.keys.get_mut(self.len) {
                *place = key;
                self.len = self.len.saturating_add(1);
            }
        }
    }

    /// The permanent state changed.
    pub fn permanent(&mut self) {
        self.mark(PERMANENT);
    }

    /// All noted keys.
    pub fn keys(&self) -> &[u32] {
        self.keys.get(..self.len).unwrap_or(&[])
    }

    /// Forgets them.
    pub const fn clear(&mut self) {
        self.len = 0;
    }
}

/// Key of the data of NV index `handle`.
pub const fn nv_data_key(handle: u32) -> u32 {
    (handle & 0x00FF_FFFF) | 0x4100_0000
}
