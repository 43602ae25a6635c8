//! TPM2_Startup after every kind of end (Part 3 §9.3, Part 1 §9.2.3).

use super::*;

fn pcr(machine: &mut Machine, index: u8) -> Vec<u8> {
    let mut bits = [0; 3];
    bits[usize::from(index / 8)] = 1 << (index % 8);
    let body = [&[0, 0, 0, 1, 0, 0x0B, 3][..], &bits].concat();
    let out = machine.plain(0x17E, &body).unwrap();
    out[out.len() - 32..].to_vec()
}

fn pcr_counter(machine: &mut Machine) -> u32 {
    let out = machine
        .plain(0x17E, &[0, 0, 0, 1, 0, 0x0B, 3, 1, 0, 0])
        .unwrap();
    u32::from_be_bytes(out[..4].try_into().unwrap())
}

fn extend(machine: &mut Machine, index: u32) {
    let body = [&[0, 0, 0, 1, 0, 0x0B][..], &[7; 32]].concat();
    machine.auth(0x182, &[index], b"", &body).unwrap();
}

/// Changes whatever a kind of start-up keeps or not.
fn disturb(machine: &mut Machine) {
    extend(machine, 1);
    extend(machine, 16);
    machine
        .auth(0x129, &[PLATFORM], b"", &tpm2b(b"plat"))
        .unwrap();
    for which in [ENDORSEMENT, 0x4000_000D, OWNER] {
        let body = [&which.to_be_bytes()[..], &[0]].concat();
        machine.auth(0x121, &[PLATFORM], b"plat", &body).unwrap();
    }
    assert_eq!(machine.property(0x201) & 0xF, 1);
}

#[test]
fn nothing_but_startup_is_taken_before_startup_and_no_second_one_after() {
    let mut machine = Machine::off();
    assert_eq!(machine.plain(0x181, &[]), Err(INITIALIZE));
    assert_eq!(machine.plain(0x144, &[0, 2]), Err(P1 | 4));
    assert_eq!(machine.plain(0x144, &[0]), Err(P1 | 0x1A));
    assert_eq!(machine.startup(true), Err(P1 | 4));
    machine.startup(false).unwrap();
    assert_eq!(machine.startup(false), Err(INITIALIZE));
    assert_eq!(machine.plain(0x144, &[0, 2]), Err(INITIALIZE));
}

#[test]
fn reset_sets_everything_back() {
    for shutdown in [false, true] {
        let mut machine = Machine::new();
        let before = machine.time();
        disturb(&mut machine);
        if shutdown {
            machine.shutdown(false).unwrap();
        }
        assert_eq!(
            machine.cycle(true),
            Err(P1 | 4),
            "STATE without Shutdown(STATE)"
        );
        machine.startup(false).unwrap();
        assert_eq!(machine.property(0x201) & 0xF, 15);
        assert_eq!(machine.property(0x201) >> 31, shutdown.into());
        let after = machine.time();
        assert_eq!(after.resets, before.resets + 1);
        assert_eq!(after.restarts, 0);
        assert_eq!(after.safe, shutdown);
        assert_eq!(pcr(&mut machine, 1), [0; 32]);
        assert_eq!(pcr(&mut machine, 17), [0xFF; 32]);
        assert_eq!(pcr_counter(&mut machine), 0);
        machine.auth(0x129, &[PLATFORM], b"", &tpm2b(b"")).unwrap();
    }
}

#[test]
fn restart_sets_back_pcrs_and_the_platform_only() {
    let mut machine = Machine::new();
    let before = machine.time();
    disturb(&mut machine);
    let counter = pcr_counter(&mut machine);
    assert_ne!(counter, 0);
    machine.shutdown(true).unwrap();
    machine.cycle(false).unwrap();
    let after = machine.time();
    assert_eq!(
        (after.resets, after.restarts, after.safe),
        (before.resets, 1, true)
    );
    assert_eq!(machine.property(0x201) & 0xF, 15);
    assert_eq!(pcr(&mut machine, 1), [0; 32]);
    assert_eq!(pcr_counter(&mut machine), counter);
    machine.auth(0x129, &[PLATFORM], b"", &tpm2b(b"")).unwrap();
}

#[test]
fn resume_keeps_pcrs_and_the_platform() {
    let mut machine = Machine::new();
    let before = machine.time();
    disturb(&mut machine);
    let value = pcr(&mut machine, 1);
    machine.shutdown(true).unwrap();
    machine.cycle(true).unwrap();
    let after = machine.time();
    assert_eq!(
        (after.resets, after.restarts, after.safe),
        (before.resets, 1, true)
    );
    assert_eq!(machine.property(0x201) & 0xF, 1);
    assert_eq!(machine.property(0x201) >> 31, 1);
    assert_eq!(pcr(&mut machine, 1), value);
    assert_eq!(pcr(&mut machine, 16), [0; 32]);
    assert_eq!(
        machine.auth(0x129, &[PLATFORM], b"", &tpm2b(b"")),
        Err(S1 | 0x22)
    );
    // phEnable is set whatever was before.
    machine
        .auth(0x121, &[PLATFORM], b"plat", &[0x40, 0, 0, 0xC, 0])
        .unwrap();
    machine.shutdown(true).unwrap();
    machine.cycle(true).unwrap();
    assert_eq!(machine.property(0x201) & 1, 1);
}

#[test]
fn a_change_after_shutdown_undoes_it_and_a_look_does_not() {
    let mut machine = Machine::new();
    machine.shutdown(true).unwrap();
    machine.property(0x100);
    pcr(&mut machine, 0);
    machine.plain(0x17B, &[0, 8]).unwrap();
    machine.cycle(true).unwrap();
    for change in [
        |machine: &mut Machine| extend(machine, 3),
        |machine: &mut Machine| assert_eq!(machine.time().time, 0),
        |machine: &mut Machine| {
            machine
                .auth(0x121, &[OWNER], b"", &[0x40, 0, 0, 1, 0])
                .unwrap();
        },
    ] {
        machine.shutdown(true).unwrap();
        change(&mut machine);
        assert_eq!(machine.cycle(true), Err(P1 | 4));
        machine.startup(false).unwrap();
        assert!(!machine.time().safe);
    }
}

#[test]
fn a_resume_is_good_for_one_time() {
    let mut machine = Machine::new();
    machine.shutdown(true).unwrap();
    machine.cycle(true).unwrap();
    assert_eq!(machine.cycle(true), Err(P1 | 4));
}

#[test]
fn the_locality_of_startup_is_in_pcr_0_and_must_be_the_same_at_resume() {
    let mut machine = Machine::off();
    let startup = |machine: &mut Machine, locality, state: bool| {
        machine.raw(locality, &command(0x8001, 0x144, &[&[0, state.into()]]))
    };
    for locality in [1, 2, 4] {
        assert_eq!(startup(&mut machine, locality, false), Err(0x907));
    }
    startup(&mut machine, 3, false).unwrap();
    assert_eq!(pcr(&mut machine, 0)[31], 3);
    machine.shutdown(true).unwrap();
    machine.0.init();
    assert_eq!(startup(&mut machine, 0, true), Err(0x907));
    startup(&mut machine, 3, true).unwrap();
    assert_eq!(pcr(&mut machine, 0)[31], 3);
}

#[test]
fn a_measurement_before_startup_goes_to_pcr_0() {
    let mut machine = Machine::off();
    machine.0.hash_start();
    machine.0.hash_data(b"firmware");
    machine.0.hash_end();
    machine.startup(false).unwrap();
    let value = pcr(&mut machine, 0);
    assert_ne!(value[..31], [0; 31]);
    machine.cycle(false).unwrap();
    assert_eq!(pcr(&mut machine, 0), [0; 32]);
}

#[test]
fn clock_goes_on_and_time_starts_anew() {
    let mut machine = Machine::new();
    machine.pass(10_000);
    let before = machine.time();
    assert_eq!((before.time, before.clock), (10_000, 10_000));
    machine.pass(500);
    machine.shutdown(false).unwrap();
    machine.cycle(false).unwrap();
    let after = machine.time();
    assert_eq!((after.time, after.clock, after.safe), (0, 10_500, true));
    // Without a shutdown Clock may fall back to the last commit; it says so until the next one.
    machine.pass(5_000);
    let seen = machine.time().clock;
    machine.pass(100);
    machine.cycle(false).unwrap();
    let after = machine.time();
    assert!(after.clock <= seen && after.clock + 4096 > seen && !after.safe);
    machine.pass(4096);
    assert!(machine.time().safe);
}

#[test]
fn clock_is_set_forward_only_and_its_rate_moves_within_bounds() {
    let mut machine = Machine::new();
    machine.pass(1000);
    let set =
        |machine: &mut Machine, to: u64| machine.auth(0x128, &[OWNER], b"", &to.to_be_bytes());
    assert_eq!(set(&mut machine, 999), Err(P1 | 4));
    assert_eq!(set(&mut machine, 0xFFFF_0000_0000_0001), Err(P1 | 4));
    set(&mut machine, 1_000_000).unwrap();
    let time = machine.time();
    assert_eq!((time.time, time.clock), (1000, 1_000_000));
    machine.cycle(false).unwrap();
    assert_eq!(machine.time().clock, 1_000_000);
    let adjust = |machine: &mut Machine, by: i8| machine.auth(0x130, &[OWNER], b"", &[by as u8]);
    assert_eq!(adjust(&mut machine, 4), Err(P1 | 4));
    for _ in 0..10 {
        adjust(&mut machine, -3).unwrap();
    }
    machine.pass(110_000);
    assert_eq!(machine.time().time, 100_000);
    for _ in 0..5 {
        adjust(&mut machine, -3).unwrap();
    }
    assert_eq!(adjust(&mut machine, -1), Err(P1 | 4));
}

#[test]
fn banks_that_are_allocated_come_with_a_reset_only() {
    let mut machine = Machine::new();
    let banks = [0, 0, 0, 1, 0, 0x0B, 3, 0, 0, 0];
    machine.auth(0x12B, &[PLATFORM], b"", &banks).unwrap();
    assert_eq!(machine.shutdown(true), Err(P1 | 0xA));
    machine.shutdown(false).unwrap();
    machine.cycle(false).unwrap();
    let out = machine
        .plain(0x17E, &[0, 0, 0, 1, 0, 0x0B, 3, 1, 0, 0])
        .unwrap();
    assert_eq!(out[out.len() - 4..], [0; 4]);
}
