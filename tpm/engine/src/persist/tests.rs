#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

extern crate std;
use std::vec::Vec;

use super::*;
use crate::platform::Records;

#[path = "../../tests/host/mod.rs"]
mod host;
pub(crate) use host::Host;

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
    let mut platform = Host::default();
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
    let mut platform = Host::default();
    power_on(&mut platform);
    let good = platform.store.clone();
    let mut spoil = |change: fn(&mut Records)| {
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
    spoil(|store| drop(store.insert(77, Vec::new().into())));
    spoil(|store| drop(store.insert(0x0100_0001, std::vec![0; 9].into())));
    spoil(|store| {
        drop((
            store.remove(&PERMANENT),
            store.insert(0x4100_0001, std::vec![0].into()),
        ))
    });
}

#[test]
fn a_commit_that_fails_is_failure_mode() {
    let mut platform = Host::default();
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
    let mut platform = Host::default();
    let s = power_on(&mut platform);
    assert!(s.scratch.iter().all(|byte| *byte == 0));
}
