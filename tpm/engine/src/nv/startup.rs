//! What TPM2_Startup and TPM2_Shutdown do to NV indices (Part 1 §34.2.4, Part 3 §9.3).

use super::{NvStore, nt};
use crate::limits::ORDERLY_COUNT;
use crate::pcr::StartupKind;
use crate::persist::{Dirty, nv_data_key};
use crate::types::NvAttributes as A;

/// Whether an orderly counter that comes to `value` is written to the store.
pub(super) const fn is_round(value: u64) -> bool {
    value & ORDERLY_COUNT as u64 == 0
}

impl NvStore {
    /// What TPM2_Startup does; `orderly`: it follows a TPM2_Shutdown.
    pub fn startup(&mut self, kind: StartupKind, orderly: bool, dirty: &mut Dirty) {
        if kind == StartupKind::Resume {
            return;
        }
        for index in self.iter_mut() {
            let counter = index.kind() == nt::COUNTER;
            let lost =
                index.has(A::CLEAR_STCLEAR) || kind == StartupKind::Reset && index.has(A::ORDERLY);
            if !counter && lost {
                index.clear(dirty);
            }
            // What is not written any more can be written again.
            let mut unlocked = A::READLOCKED;
            if !index.has(A::WRITEDEFINE) || !index.has(A::WRITTEN) {
                unlocked |= A::WRITELOCKED;
            }
            index.mark(unlocked, false, dirty);
            if counter && index.has(A::ORDERLY) && !orderly {
                // It may have counted as far as this since the store saw it.
                if let (Some(value), Some(place)) = (index.number(), index.data.first_chunk_mut()) {
                    *place = (value | u64::from(ORDERLY_COUNT)).to_be_bytes();
                }
            }
        }
    }

    /// What TPM2_Shutdown does; `state`: of TPM_SU_STATE.
    pub fn shutdown(&self, state: bool, dirty: &mut Dirty) {
        for index in self.iter() {
            if index.has(A::ORDERLY) && (state || index.kind() == nt::COUNTER) {
                dirty.mark(nv_data_key(index.public.index));
            }
        }
    }
}
