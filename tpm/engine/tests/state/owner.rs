//! Hierarchies and their owners (Part 3 §24, §26).

use super::*;
use crate::nv::{define, define_as};

fn set_auth(machine: &mut Machine, handle: u32, old: &[u8], new: &[u8]) -> Response {
    machine.auth(0x129, &[handle], old, &tpm2b(new))
}

fn control(machine: &mut Machine, by: u32, which: u32, enable: u8) -> Response {
    let body = [&which.to_be_bytes()[..], &[enable]].concat();
    machine.auth(0x121, &[by], b"", &body)
}

/// A primary key's public area: a function of the hierarchy's seed.
fn primary(machine: &mut Machine, hierarchy: u32) -> Result<(u32, Vec<u8>), u32> {
    // P-256, restricted decryption, AES-128-CFB.
    let public: &[u8] = &[
        0, 0x23, 0, 0x0B, 0, 3, 0, 0x72, 0, 0, 0, 6, 0, 128, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10, 0, 0,
        0, 0,
    ];
    let body = [&tpm2b(&[0; 4])[..], &tpm2b(public), &[0; 6]].concat();
    let area = [&[0x40, 0, 0, 9, 0, 0, 0, 0, 0][..]].concat();
    let command = command(
        0x8002,
        0x131,
        &[&hierarchy.to_be_bytes(), &9u32.to_be_bytes(), &area, &body],
    );
    let mut response = [0; 4096];
    let response = machine.0.execute(0, &command, &mut response);
    let word = |at: usize| u32::from_be_bytes(response[at..at + 4].try_into().unwrap());
    if word(6) != 0 {
        return Err(word(6));
    }
    let size = usize::from(u16::from_be_bytes([response[18], response[19]]));
    Ok((word(10), response[20..20 + size].to_vec()))
}

fn flush(machine: &mut Machine, handle: u32) {
    machine.plain(0x165, &handle.to_be_bytes()).unwrap();
}

fn key(machine: &mut Machine, hierarchy: u32) -> Vec<u8> {
    let (handle, public) = primary(machine, hierarchy).unwrap();
    flush(machine, handle);
    public
}

#[test]
fn authorization_values_of_hierarchies_outlast_power_but_the_platforms() {
    let mut machine = Machine::new();
    for handle in [OWNER, ENDORSEMENT, LOCKOUT, PLATFORM] {
        set_auth(&mut machine, handle, b"", b"new\0").unwrap();
        set_auth(&mut machine, handle, b"new", b"new").unwrap();
    }
    assert_eq!(machine.property(0x200) & 7, 7);
    machine.shutdown(false).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(machine.property(0x200) & 7, 7);
    set_auth(&mut machine, PLATFORM, b"", b"").unwrap();
    for handle in [OWNER, ENDORSEMENT, LOCKOUT] {
        set_auth(&mut machine, handle, b"new", b"").unwrap();
    }
    assert_eq!(set_auth(&mut machine, OWNER, b"", &[1; 65]), Err(P1 | 0x15));
}

#[test]
fn a_hierarchy_turns_itself_off_and_the_platform_turns_it_on() {
    let mut machine = Machine::new();
    assert_eq!(control(&mut machine, OWNER, PLATFORM, 0), Err(AUTH_TYPE));
    assert_eq!(control(&mut machine, OWNER, ENDORSEMENT, 0), Err(AUTH_TYPE));
    assert_eq!(control(&mut machine, OWNER, LOCKOUT, 0), Err(P1 | 4));
    assert_eq!(control(&mut machine, OWNER, OWNER, 2), Err(P2 | 4));
    control(&mut machine, OWNER, OWNER, 0).unwrap();
    assert_eq!(control(&mut machine, OWNER, OWNER, 0), Err(H1 | 5));
    control(&mut machine, PLATFORM, OWNER, 1).unwrap();
    control(&mut machine, OWNER, OWNER, 0).unwrap();
    control(&mut machine, PLATFORM, PLATFORM, 0).unwrap();
    assert_eq!(control(&mut machine, PLATFORM, OWNER, 1), Err(H1 | 5));
}

#[test]
fn turning_a_hierarchy_off_flushes_its_objects() {
    let mut machine = Machine::new();
    let (handle, _) = primary(&mut machine, OWNER).unwrap();
    let (other, _) = primary(&mut machine, ENDORSEMENT).unwrap();
    control(&mut machine, OWNER, OWNER, 0).unwrap();
    assert_eq!(machine.plain(0x173, &handle.to_be_bytes()), Err(0x910));
    machine.plain(0x173, &other.to_be_bytes()).unwrap();
}

#[test]
fn clear_takes_away_what_is_the_owners() {
    let mut machine = Machine::new();
    let (storage, endorsement) = (key(&mut machine, OWNER), key(&mut machine, ENDORSEMENT));
    let platform = key(&mut machine, PLATFORM);
    define(&mut machine, 0x0006_0006, 4).unwrap();
    let attributes = 0x4001_0001;
    define_as(&mut machine, PLATFORM, 0x0100_0002, attributes, 4).unwrap();
    let (handle, _) = primary(&mut machine, OWNER).unwrap();
    let body = [&0x8100_0001u32.to_be_bytes()[..]].concat();
    machine.auth(0x120, &[OWNER, handle], b"", &body).unwrap();
    for handle in [OWNER, ENDORSEMENT, LOCKOUT] {
        set_auth(&mut machine, handle, b"", b"new").unwrap();
    }
    control(&mut machine, PLATFORM, OWNER, 0).unwrap();
    machine.pass(10_000);
    let before = machine.plain(0x17E, &[0; 4]).unwrap();

    machine.auth(0x126, &[LOCKOUT], b"new", &[]).unwrap();
    let after = machine.plain(0x17E, &[0; 4]).unwrap();
    assert_ne!(before[..4], after[..4], "pcrUpdateCounter");
    let time = machine.time();
    assert_eq!(
        (time.clock, time.resets, time.restarts, time.safe),
        (0, 0, 0, true)
    );
    assert_eq!(machine.property(0x200) & 7, 0);
    assert_eq!(machine.property(0x201) & 0xF, 15);
    assert_eq!(machine.property(0x202), 1);
    assert_eq!(machine.property(0x208), 0);
    for _ in 0..2 {
        assert_ne!(key(&mut machine, OWNER), storage);
        assert_eq!(key(&mut machine, ENDORSEMENT), endorsement);
        assert_eq!(key(&mut machine, PLATFORM), platform);
        machine.cycle(false).unwrap();
    }
    assert_eq!(machine.host().store.len(), 2, "nothing is left behind");
}

#[test]
fn clear_can_be_disabled_by_lockout_and_enabled_by_the_platform() {
    let mut machine = Machine::new();
    let control = |machine: &mut Machine, by, disable| machine.auth(0x127, &[by], b"", &[disable]);
    control(&mut machine, LOCKOUT, 1).unwrap();
    assert_eq!(machine.auth(0x126, &[LOCKOUT], b"", &[]), Err(DISABLED));
    assert_eq!(machine.auth(0x126, &[PLATFORM], b"", &[]), Err(DISABLED));
    assert_eq!(control(&mut machine, LOCKOUT, 0), Err(0x8E));
    machine.cycle(false).unwrap();
    assert_eq!(machine.auth(0x126, &[PLATFORM], b"", &[]), Err(DISABLED));
    control(&mut machine, PLATFORM, 0).unwrap();
    machine.auth(0x126, &[PLATFORM], b"", &[]).unwrap();
}

#[test]
fn new_seeds_make_new_keys() {
    let mut machine = Machine::new();
    for (cc, hierarchy) in [(0x124, ENDORSEMENT), (0x125, PLATFORM)] {
        let others = [OWNER, ENDORSEMENT, PLATFORM].map(|h| key(&mut machine, h));
        machine.auth(cc, &[PLATFORM], b"", &[]).unwrap();
        let now = [OWNER, ENDORSEMENT, PLATFORM].map(|h| key(&mut machine, h));
        for (h, (old, new)) in [OWNER, ENDORSEMENT, PLATFORM]
            .iter()
            .zip(others.iter().zip(&now))
        {
            assert_eq!(old != new, *h == hierarchy);
        }
    }
    let null = key(&mut machine, 0x4000_0007);
    assert_eq!(key(&mut machine, 0x4000_0007), null);
    machine.shutdown(true).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(key(&mut machine, 0x4000_0007), null);
    machine.cycle(false).unwrap();
    assert_ne!(key(&mut machine, 0x4000_0007), null);
}

#[test]
fn a_policy_must_be_as_long_as_its_hash() {
    let mut machine = Machine::new();
    let set = |machine: &mut Machine, digest: &[u8], alg: u16| {
        let body = [&tpm2b(digest)[..], &alg.to_be_bytes()].concat();
        machine.auth(0x12E, &[OWNER], b"", &body)
    };
    set(&mut machine, &[1; 32], 0x0B).unwrap();
    assert_eq!(set(&mut machine, &[1; 31], 0x0B), Err(P1 | 0x15));
    assert_eq!(set(&mut machine, &[1; 32], 0x10), Err(P1 | 0x15));
    assert_eq!(set(&mut machine, &[], 0x99), Err(P2 | 3));
    set(&mut machine, &[], 0x10).unwrap();
}

#[test]
fn physical_presence_can_be_asked_for() {
    let mut machine = Machine::new();
    let set = |machine: &mut Machine, set: u32, clear: u32| {
        let list = |cc: u32| match cc {
            0 => vec![0; 4],
            _ => [1u32.to_be_bytes(), cc.to_be_bytes()].concat(),
        };
        machine.auth(0x12D, &[PLATFORM], b"", &[list(set), list(clear)].concat())
    };
    assert_eq!(set(&mut machine, 0x126, 0), Err(S1 | 0x10));
    machine.host().presence = true;
    set(&mut machine, 0x126, 0).unwrap();
    // Not one that can be gated, and itself: nothing happens.
    set(&mut machine, 0x17B, 0x12D).unwrap();
    machine.host().presence = false;
    assert_eq!(set(&mut machine, 0, 0x126), Err(S1 | 0x10));
    assert_eq!(machine.auth(0x126, &[PLATFORM], b"", &[]), Err(S1 | 0x10));
    machine.auth(0x126, &[LOCKOUT], b"", &[]).unwrap();
    machine.cycle(false).unwrap();
    machine.host().presence = true;
    set(&mut machine, 0, 0x126).unwrap();
    machine.host().presence = false;
    machine.auth(0x126, &[PLATFORM], b"", &[]).unwrap();
}
