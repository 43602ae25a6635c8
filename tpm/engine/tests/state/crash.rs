//! A store that fails, at every command: what is in it afterwards is the state before.

use super::*;
use crate::nv::{INDEX, define, define_as, increment, write};

type Step = fn(&mut Machine) -> Response;

const STEPS: &[Step] = &[
    |m| define(m, 0x0006_0006, 32),
    |m| write(m, b"abc", 0),
    |m| write(m, b"def", 5),
    |m| m.auth(0x122, &[OWNER, INDEX], b"", &[]),
    |m| define(m, 0x0006_0016, 8),
    increment,
    increment,
    |m| define_as(m, PLATFORM, INDEX + 1, 0x4401_0011, 8),
    |m| m.auth(0x134, &[PLATFORM, INDEX + 1], b"", &[]),
    |m| m.auth(0x129, &[OWNER], b"", &tpm2b(b"")),
    |m| m.auth(0x127, &[PLATFORM], b"", &[0]),
    |m| {
        m.auth(
            0x13A,
            &[LOCKOUT],
            b"",
            &[0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 9],
        )
    },
    |m| m.auth(0x124, &[PLATFORM], b"", &[]),
    |m| m.auth(0x125, &[PLATFORM], b"", &[]),
    |m| m.shutdown(false),
    |m| m.cycle(false),
    |m| m.shutdown(true),
    |m| m.cycle(true),
    |m| m.auth(0x126, &[LOCKOUT], b"", &[]),
];

#[test]
fn a_failed_commit_leaves_the_state_before_and_the_engine_starts() {
    for failing in 0..STEPS.len() {
        let mut machine = Machine::new();
        for step in &STEPS[..failing] {
            step(&mut machine).unwrap();
        }
        let before = machine.host().store.clone();
        machine.host().fail = true;
        assert_eq!(STEPS[failing](&mut machine), Err(FAILURE), "step {failing}");
        assert_eq!(machine.plain(0x181, &[]), Err(FAILURE));
        assert_eq!(machine.host().store, before);
        machine.host().fail = false;
        machine.cycle(false).unwrap();
        for step in &STEPS[failing..] {
            // What this step needs of a shutdown before it is gone with the power.
            let _ = step(&mut machine);
        }
        machine.cycle(false).unwrap();
        assert_eq!(machine.plain(0x181, &[]).map(|out| out.len()), Ok(25));
    }
}

#[test]
fn a_start_from_any_store_that_was_ever_committed_succeeds() {
    let mut machine = Machine::new();
    let mut stores = vec![machine.host().store.clone()];
    for step in STEPS {
        step(&mut machine).unwrap();
        stores.push(machine.host().store.clone());
    }
    for store in stores {
        let mut machine = Machine(Tpm::new(Host {
            store,
            ..Host::default()
        }));
        machine.startup(false).unwrap();
    }
}

#[test]
fn a_store_that_lost_or_bent_a_record_is_not_touched() {
    let mut machine = Machine::new();
    for step in &STEPS[4..9] {
        step(&mut machine).unwrap();
    }
    machine.shutdown(true).unwrap();
    let good = machine.host().store.clone();
    for key in good.keys() {
        let mut bad = vec![];
        let mut lost = good.clone();
        lost.remove(key);
        bad.push(lost);
        for change in [
            |value: &mut Vec<u8>| value.push(0),
            |value: &mut Vec<u8>| value.truncate(value.len() - 1),
        ] {
            let mut bent = good.clone();
            change(bent.get_mut(key).unwrap());
            bad.push(bent);
        }
        for store in bad {
            let host = Host {
                store: store.clone(),
                ..Host::default()
            };
            let mut machine = Machine(Tpm::new(host));
            assert_eq!(machine.startup(false), Err(FAILURE), "{key:#x}");
            assert_eq!(machine.host().store, store);
        }
    }
}
