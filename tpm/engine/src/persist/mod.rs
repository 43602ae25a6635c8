//! The state in the platform's store: records that are read when power comes on, and written, all that differ in one
//! commit, before a command's response. The layout is in docs/src/tpm-state.md and in `layout`.
//!
//! A store that cannot be understood is left as it is, and the TPM starts in failure mode.

mod layout;
mod load;
#[cfg(test)]
pub(crate) mod tests;

use zeroize::Zeroize;

use crate::codec::Writer;
use crate::limits::{MAX_NV_INDICES, MAX_PERSISTENT};
use crate::platform::{Change, Platform};
use crate::rc::{Rc, Result};
use crate::state::{Mode, Shutdown, State};
use crate::types::hr;

pub(crate) use load::{new_secret, new_seeds, power_on};

/// Version of the records' layout; the first field of the record [`PERMANENT`].
pub const FORMAT: u16 = 1;
/// Key of the record of [`crate::state::Permanent`].
pub const PERMANENT: u32 = 1;
/// Key of the record that TPM2_Shutdown(STATE) writes: STATE_RESET and STATE_CLEAR data, PCRs, sessions' counters.
pub const ORDERLY: u32 = 2;
/// First octet of the key of an NV index' data.
pub const NV_DATA: u32 = 0x4100_0000;

/// Most records that one command changes: all indices with their data, all persistent objects, and the two above.
const MOST: usize = 2 * MAX_NV_INDICES + MAX_PERSISTENT + 2;

/// Bytes of all records that one commit writes, without the data of NV indices, which are written from where they are.
/// The most is a Shutdown or Startup that changes all indices' attributes.
const SCRATCH: usize = 24 * 1024;

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
        if !self.keys().contains(&key)
            && let Some(place) = self.keys.get_mut(self.len)
        {
            *place = key;
            self.len = self.len.saturating_add(1);
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
    hr::index(handle) | NV_DATA
}

/// Writes all records that differ from the store, in one commit. Nothing is allocated.
///
/// # Errors
/// FAILURE: the TPM is in failure mode until the next _TPM_Init, which starts from what the store has.
pub(crate) fn commit(s: &mut State, platform: &mut dyn Platform) -> Result<()> {
    // A plain command changes a record or two: the array for the most is not worth setting up for those.
    let done = match s.dirty.len {
        0 => return Ok(()),
        1..=4 => write::<4>(s, platform),
        _ => write::<MOST>(s, platform),
    };
    s.dirty.clear();
    if done.is_err() {
        s.mode = Mode::Failure;
    }
    done
}

// Not inlined: the frame of the many is only there when they are.
#[inline(never)]
fn write<const N: usize>(s: &mut State, platform: &mut dyn Platform) -> Result<()> {
    // Out of the state, so that the rest of it can be read meanwhile.
    let mut scratch = core::mem::take(&mut s.scratch);
    let mut writer = Writer::new(&mut scratch);
    let mut records = [Record::Gone; N];
    for (record, key) in records.iter_mut().zip(s.dirty.keys()) {
        *record = serialize(s, *key, &mut writer);
    }
    let used = writer.finish().map_err(|_| Rc::FAILURE);
    let done = used.and_then(|_| {
        let mut changes = [Change {
            key: 0,
            value: None,
        }; N];
        for ((change, record), key) in changes.iter_mut().zip(&records).zip(s.dirty.keys()) {
            change.key = *key;
            change.value = match *record {
                Record::Gone => None,
                Record::Data => s.nv.data(hr::NV_INDEX | hr::index(*key)),
                Record::At(start, end) => scratch.get(start as usize..end as usize),
            };
        }
        let changes = changes.get(..s.dirty.len).unwrap_or(&[]);
        platform.commit(changes).map_err(|_| Rc::FAILURE)
    });
    scratch
        .get_mut(..used.unwrap_or(SCRATCH))
        .unwrap_or(&mut [])
        .zeroize();
    s.scratch = scratch;
    done
}

/// Where a record's value is.
#[derive(Clone, Copy)]
enum Record {
    Gone,
    /// The index' data as they stand in the state.
    Data,
    /// From there to there in the scratch buffer.
    At(u32, u32),
}

fn serialize(s: &State, key: u32, w: &mut Writer<'_>) -> Record {
    let start = w.len();
    let there = match (key, hr::of(key)) {
        (PERMANENT, _) => {
            layout::put_permanent(&s.perm, w);
            true
        }
        (ORDERLY, _) => {
            let there = s.perm.shutdown == Shutdown::State;
            if there {
                layout::put_orderly(s, w);
            }
            there
        }
        (_, NV_DATA) => return Record::Data,
        (_, hr::NV_INDEX) => s.nv.get(key).map(|index| index.store(w)).is_some(),
        (_, hr::PERSISTENT) => s.objects.get(key).map(|object| object.store(w)).is_some(),
        _ => false,
    };
    if there {
        Record::At(start as u32, w.len() as u32)
    } else {
        Record::Gone
    }
}
