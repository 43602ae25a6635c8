#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

extern crate std;
use std::collections::BTreeMap;
use std::vec::Vec;

use super::*;
use crate::platform::{EntropyError, StoreError};

/// A platform whose store is a map, whose commits fail when told, and whose clock is set by hand.
#[derive(Default, Clone)]
pub(crate) struct Memory {
    pub store: BTreeMap<u32, Vec<u8>>,
    pub commits: usize,
    pub fail: bool,
    pub now: u64,
    seed: u64,
}

impl Platform for Memory {
    fn entropy(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for byte in out {
            self.seed = self
                .seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            *byte = (self.seed >> 56) as u8;
        }
        Ok(())
    }
    fn now_ms(&mut self) -> u64 {
        self.now
    }
    fn load(&mut self, each: &mut dyn FnMut(u32, &[u8])) -> Result<(), StoreError> {
        self.store.iter().for_each(|(key, value)| each(*key, value));
        Ok(())
    }
    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        if self.fail {
            return Err(StoreError);
        }
        self.commits += 1;
        for change in changes {
            match change.value {
                Some(value) => self.store.insert(change.key, value.to_vec()),
                None => self.store.remove(&change.key),
            };
        }
        Ok(())
    }
}

fn same(a: &State, b: &State) -> bool {
    let image = |s: &State| {
        let mut out = std::vec![0; SCRATCH];
        let mut w = Writer::new(&mut out);
        layout::put_permanent(&s.perm, &mut w);
        layout::put_orderly(s, &mut w);
        w.written().to_vec()
    };
    image(a) == image(b)
}

#[test]
fn a_new_tpm_is_made_once_and_read_again() {
    let mut platform = Memory::default();
    let first = power_on(&mut platform);
    assert_eq!(first.mode, Mode::Initialized);
    assert_eq!(platform.commits, 1);
    let again = power_on(&mut platform);
    assert_eq!(platform.commits, 1);
    assert!(same(&first, &again));
    assert_eq!(first.proof(crate::types::rh::OWNER).len(), 64);
}

#[test]
fn a_store_of_another_version_or_with_a_broken_record_is_left_alone() {
    let mut platform = Memory::default();
    power_on(&mut platform);
    let good = platform.store.clone();
    type Store = BTreeMap<u32, Vec<u8>>;
    let mut spoil = |change: fn(&mut Store)| {
        let mut bad = good.clone();
        change(&mut bad);
        platform.store = bad.clone();
        let commits = platform.commits;
        assert_eq!(power_on(&mut platform).mode, Mode::Failure);
        assert_eq!(platform.commits, commits);
        assert_eq!(platform.store, bad);
    };
    spoil(|store| store.get_mut(&PERMANENT).unwrap()[1] = 2);
    spoil(|store| store.get_mut(&PERMANENT).unwrap().push(0));
    spoil(|store| store.get_mut(&PERMANENT).unwrap().truncate(9));
    spoil(|store| drop(store.insert(77, Vec::new())));
    spoil(|store| drop(store.insert(0x0100_0001, std::vec![0; 9])));
    spoil(|store| {
        drop((
            store.remove(&PERMANENT),
            store.insert(0x4100_0001, std::vec![0]),
        ))
    });
}

#[test]
fn a_commit_that_fails_is_failure_mode() {
    let mut platform = Memory::default();
    let mut s = power_on(&mut platform);
    s.dirty.permanent();
    platform.fail = true;
    assert_eq!(commit(&mut s, &mut platform), Err(Rc::FAILURE));
    assert_eq!(s.mode, Mode::Failure);
    platform.store.clear();
    assert_eq!(power_on(&mut platform).mode, Mode::Failure);
}

#[test]
fn the_scratch_buffer_is_zero_after_a_commit() {
    let mut platform = Memory::default();
    let s = power_on(&mut platform);
    assert!(s.scratch.iter().all(|byte| *byte == 0));
}
