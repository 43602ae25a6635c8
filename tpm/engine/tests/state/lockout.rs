//! Protection against dictionary attacks (Part 1 §16.8).

use super::*;
use crate::nv::{INDEX, define};

const PLAIN: u32 = 0x0006_0006;
const AUTH_FAIL: u32 = S1 | 0xE;
const BAD_AUTH: u32 = S1 | 0x22;
const TRIES: u32 = 0x20E;

/// Reads the index with `pin` as its value, which is "pin".
fn attempt(machine: &mut Machine, pin: &[u8]) -> Response {
    machine.auth(0x14E, &[INDEX, INDEX], pin, &[0, 1, 0, 0])
}

fn parameters(machine: &mut Machine, tries: u32, recovery: u32, lockout: u32) -> Response {
    let body = [tries, recovery, lockout].map(u32::to_be_bytes).concat();
    machine.auth(0x13A, &[LOCKOUT], b"", &body)
}

fn prepared() -> Machine {
    let mut machine = Machine::new();
    define(&mut machine, PLAIN, 4).unwrap();
    nv::write(&mut machine, b"data", 0).unwrap();
    machine
}

#[test]
fn failures_lead_to_lockout_and_time_out_of_it() {
    let mut machine = prepared();
    parameters(&mut machine, 2, 100, 0).unwrap();
    assert_eq!(attempt(&mut machine, b"no"), Err(AUTH_FAIL));
    assert_eq!(machine.property(TRIES), 1);
    attempt(&mut machine, b"pin").unwrap();
    assert_eq!(attempt(&mut machine, b"no"), Err(AUTH_FAIL));
    assert_eq!(attempt(&mut machine, b"pin"), Err(S1 & !0x980 | LOCKED_OUT));
    assert_eq!(machine.property(0x200) >> 9 & 1, 1);
    machine.pass(99_999);
    assert_eq!(attempt(&mut machine, b"pin"), Err(LOCKED_OUT));
    machine.pass(1);
    attempt(&mut machine, b"pin").unwrap();
    assert_eq!(machine.property(TRIES), 1);
    machine.pass(100_000);
    assert_eq!(machine.property(TRIES), 0);
}

#[test]
fn a_failure_is_in_the_store_before_it_is_told() {
    let mut machine = prepared();
    for n in 1..=3 {
        assert_eq!(attempt(&mut machine, b"no"), Err(AUTH_FAIL));
        machine.shutdown(false).unwrap();
        machine.cycle(false).unwrap();
        assert_eq!(machine.property(TRIES), n);
    }
    assert_eq!(attempt(&mut machine, b"pin"), Err(LOCKED_OUT));
}

#[test]
fn losing_power_after_a_use_counts_as_a_failure_and_without_one_does_not() {
    let mut machine = prepared();
    machine.cycle(false).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(machine.property(TRIES), 0);
    attempt(&mut machine, b"pin").unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(machine.property(TRIES), 1);
    attempt(&mut machine, b"pin").unwrap();
    machine.shutdown(false).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(machine.property(TRIES), 1);
    // A use after the shutdown.
    machine.shutdown(true).unwrap();
    attempt(&mut machine, b"pin").unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(machine.property(TRIES), 2);
}

#[test]
fn a_store_that_fails_does_not_help_who_guesses() {
    let mut machine = prepared();
    machine.shutdown(false).unwrap();
    machine.cycle(false).unwrap();
    for (guess, tries) in [(&b"no"[..], 0), (b"pin", 0)] {
        machine.host().fail = true;
        assert_eq!(
            attempt(&mut machine, guess),
            Err(FAILURE),
            "either is refused"
        );
        machine.host().fail = false;
        machine.cycle(false).unwrap();
        assert_eq!(machine.property(TRIES), tries);
    }
    attempt(&mut machine, b"pin").unwrap();
    machine.host().fail = true;
    assert_eq!(attempt(&mut machine, b"no"), Err(FAILURE));
    machine.host().fail = false;
    machine.cycle(false).unwrap();
    assert_eq!(machine.property(TRIES), 1);
}

#[test]
fn a_store_that_fails_does_not_help_who_guesses_lockout_auth() {
    for guess in [&b"no"[..], b""] {
        let mut machine = prepared();
        machine.host().fail = true;
        assert_eq!(machine.auth(0x139, &[LOCKOUT], guess, &[]), Err(FAILURE));
        machine.host().fail = false;
        machine.cycle(false).unwrap();
        machine.auth(0x139, &[LOCKOUT], b"", &[]).unwrap();
        machine.cycle(false).unwrap();
        machine.auth(0x139, &[LOCKOUT], b"", &[]).unwrap();
        // It fails after the attempt is in the store.
        machine.host().last = Some(1);
        assert_eq!(
            machine.auth(0x139, &[LOCKOUT], guess, &[]),
            Err(FAILURE),
            "either is refused"
        );
        machine.host().last = None;
        machine.cycle(false).unwrap();
        assert_eq!(machine.auth(0x139, &[LOCKOUT], b"", &[]), Err(LOCKED_OUT));
    }
}

#[test]
fn setting_the_clock_heals_nothing() {
    let mut machine = prepared();
    assert_eq!(attempt(&mut machine, b"no"), Err(AUTH_FAIL));
    let far = 1_000_000_000_000u64.to_be_bytes();
    machine.auth(0x128, &[OWNER], b"", &far).unwrap();
    assert_eq!(machine.property(TRIES), 1);
    machine.pass(1_000_000);
    assert_eq!(machine.property(TRIES), 0);
}

#[test]
fn time_counts_over_an_orderly_power_cycle() {
    let mut machine = prepared();
    assert_eq!(attempt(&mut machine, b"no"), Err(AUTH_FAIL));
    machine.pass(600_000);
    machine.shutdown(false).unwrap();
    machine.cycle(false).unwrap();
    machine.pass(399_999);
    assert_eq!(machine.property(TRIES), 1);
    machine.pass(1);
    assert_eq!(machine.property(TRIES), 0);
}

#[test]
fn a_recovery_time_of_zero_turns_the_protection_off_and_no_tries_lock_at_once() {
    let mut machine = prepared();
    assert_eq!(attempt(&mut machine, b"no"), Err(AUTH_FAIL));
    parameters(&mut machine, 1, 0, 0).unwrap();
    assert_eq!(machine.property(TRIES), 0);
    for _ in 0..5 {
        assert_eq!(attempt(&mut machine, b"no"), Err(AUTH_FAIL));
    }
    attempt(&mut machine, b"pin").unwrap();
    assert_eq!(machine.property(TRIES), 0);
    parameters(&mut machine, 0, 100, 0).unwrap();
    assert_eq!(attempt(&mut machine, b"pin"), Err(LOCKED_OUT));
}

#[test]
fn lock_reset_takes_the_lockout_authorization_which_fails_once() {
    let mut machine = prepared();
    assert_eq!(attempt(&mut machine, b"no"), Err(AUTH_FAIL));
    machine.auth(0x139, &[LOCKOUT], b"", &[]).unwrap();
    assert_eq!(machine.property(TRIES), 0);
    assert_eq!(machine.auth(0x139, &[LOCKOUT], b"no", &[]), Err(AUTH_FAIL));
    assert_eq!(machine.auth(0x139, &[LOCKOUT], b"", &[]), Err(LOCKED_OUT));
    assert_eq!(machine.property(TRIES), 0);
    machine.shutdown(false).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(machine.auth(0x139, &[LOCKOUT], b"", &[]), Err(LOCKED_OUT));
    machine.pass(1_000_000);
    machine.auth(0x139, &[LOCKOUT], b"", &[]).unwrap();

    parameters(&mut machine, 3, 1000, 0).unwrap();
    assert_eq!(machine.auth(0x139, &[LOCKOUT], b"no", &[]), Err(AUTH_FAIL));
    machine.pass(10_000_000);
    assert_eq!(machine.auth(0x139, &[LOCKOUT], b"", &[]), Err(LOCKED_OUT));
    machine.shutdown(false).unwrap();
    machine.cycle(false).unwrap();
    machine.auth(0x139, &[LOCKOUT], b"", &[]).unwrap();
}

#[test]
fn hierarchies_are_not_protected() {
    let mut machine = prepared();
    for handle in [OWNER, ENDORSEMENT, PLATFORM] {
        assert_eq!(
            machine.auth(0x129, &[handle], b"no", &tpm2b(b"")),
            Err(BAD_AUTH)
        );
    }
    assert_eq!(machine.property(TRIES), 0);
}
