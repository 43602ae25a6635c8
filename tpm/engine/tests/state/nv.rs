//! NV indices (Part 1 §34.2, Part 3 §31).

use super::*;

const PPWRITE: u32 = 1 << 0;
const OWNERWRITE: u32 = 1 << 1;
const AUTHWRITE: u32 = 1 << 2;
const POLICY_DELETE: u32 = 1 << 10;
const WRITELOCKED: u32 = 1 << 11;
const WRITEALL: u32 = 1 << 12;
const WRITEDEFINE: u32 = 1 << 13;
const WRITE_STCLEAR: u32 = 1 << 14;
const GLOBALLOCK: u32 = 1 << 15;
const PPREAD: u32 = 1 << 16;
const OWNERREAD: u32 = 1 << 17;
const AUTHREAD: u32 = 1 << 18;
const NO_DA: u32 = 1 << 25;
const ORDERLY: u32 = 1 << 26;
const CLEAR_STCLEAR: u32 = 1 << 27;
const READLOCKED: u32 = 1 << 28;
const WRITTEN: u32 = 1 << 29;
const PLATFORMCREATE: u32 = 1 << 30;
const READ_STCLEAR: u32 = 1 << 31;
const COUNTER: u32 = 1 << 4;
const BITS: u32 = 2 << 4;
const EXTEND: u32 = 4 << 4;
const PIN_FAIL: u32 = 8 << 4;
const PIN_PASS: u32 = 9 << 4;
const PLAIN: u32 = OWNERWRITE | OWNERREAD | AUTHWRITE | AUTHREAD;

pub const INDEX: u32 = 0x0100_0001;
const ATTRIBUTES: u32 = P2 | 2;
const SIZE: u32 = P2 | 0x15;

pub fn define_as(
    machine: &mut Machine,
    by: u32,
    index: u32,
    attributes: u32,
    size: u16,
) -> Response {
    let public = [
        &index.to_be_bytes()[..],
        &[0, 0x0B],
        &attributes.to_be_bytes(),
        &[0, 0],
        &size.to_be_bytes(),
    ]
    .concat();
    let body = [tpm2b(b"pin"), tpm2b(&public)].concat();
    machine.auth(0x12A, &[by], b"", &body)
}

pub fn define(machine: &mut Machine, attributes: u32, size: u16) -> Response {
    define_as(machine, OWNER, INDEX, attributes, size)
}

pub fn write(machine: &mut Machine, data: &[u8], offset: u16) -> Response {
    let body = [&tpm2b(data)[..], &offset.to_be_bytes()].concat();
    machine.auth(0x137, &[OWNER, INDEX], b"", &body)
}

pub fn read(machine: &mut Machine, size: u16, offset: u16) -> Response {
    let body = [size.to_be_bytes(), offset.to_be_bytes()].concat();
    machine
        .auth(0x14E, &[OWNER, INDEX], b"", &body)
        .map(|out| out[2..].to_vec())
}

pub fn increment(machine: &mut Machine) -> Response {
    machine.auth(0x134, &[OWNER, INDEX], b"", &[])
}

fn count(machine: &mut Machine) -> u64 {
    u64::from_be_bytes(read(machine, 8, 0).unwrap().try_into().unwrap())
}

fn attributes(machine: &mut Machine) -> u32 {
    let out = machine.plain(0x169, &INDEX.to_be_bytes()).unwrap();
    u32::from_be_bytes(out[8..12].try_into().unwrap())
}

fn undefine(machine: &mut Machine) -> Response {
    machine.auth(0x122, &[OWNER, INDEX], b"", &[])
}

#[test]
fn what_cannot_be_defined_says_why() {
    let mut machine = Machine::new();
    for (attributes, size, rc) in [
        (PLAIN | COUNTER, 7, SIZE),
        (PLAIN | BITS, 9, SIZE),
        (PLAIN | EXTEND, 20, SIZE),
        (OWNERWRITE | OWNERREAD | PIN_PASS, 4, SIZE),
        (PLAIN, 2049, SIZE),
        (PLAIN | WRITEALL, 1025, SIZE),
        (PLAIN | 3 << 4, 8, ATTRIBUTES),
        (PLAIN | COUNTER | CLEAR_STCLEAR, 8, ATTRIBUTES),
        (OWNERWRITE | OWNERREAD | PIN_FAIL, 8, ATTRIBUTES),
        (PLAIN | PIN_PASS, 8, ATTRIBUTES),
        (
            OWNERWRITE | OWNERREAD | PIN_PASS | WRITEDEFINE,
            8,
            ATTRIBUTES,
        ),
        (PLAIN | CLEAR_STCLEAR | WRITEDEFINE, 8, ATTRIBUTES),
        (PLAIN | WRITTEN, 8, ATTRIBUTES),
        (PLAIN | READLOCKED, 8, ATTRIBUTES),
        (PLAIN | WRITELOCKED, 8, ATTRIBUTES),
        (OWNERWRITE, 8, ATTRIBUTES),
        (OWNERREAD, 8, ATTRIBUTES),
        (PLAIN | PLATFORMCREATE, 8, H1 | 2),
        (PLAIN | POLICY_DELETE, 8, ATTRIBUTES),
        (PLAIN | 1 << 8, 8, P2 | 0x21),
    ] {
        assert_eq!(
            define(&mut machine, attributes, size),
            Err(rc),
            "{attributes:#x}"
        );
    }
    assert_eq!(
        define_as(&mut machine, PLATFORM, INDEX, PLAIN, 8),
        Err(H1 | 2)
    );
    assert_eq!(
        define_as(&mut machine, OWNER, 0x0200_0001, PLAIN, 8),
        Err(P2 | 4)
    );
    define(&mut machine, PLAIN, 8).unwrap();
    assert_eq!(define(&mut machine, PLAIN, 8), Err(NV_DEFINED));
    undefine(&mut machine).unwrap();
    assert_eq!(undefine(&mut machine), Err(H2 | 0xB));
}

#[test]
fn an_ordinary_index_is_written_and_read_within_its_bounds() {
    let mut machine = Machine::new();
    define(&mut machine, PLAIN, 16).unwrap();
    assert_eq!(read(&mut machine, 0, 0), Err(NV_UNINITIALIZED));
    write(&mut machine, b"abc", 2).unwrap();
    assert_eq!(attributes(&mut machine) & WRITTEN, WRITTEN);
    assert_eq!(read(&mut machine, 3, 2).unwrap(), b"abc");
    assert_eq!(write(&mut machine, &[0; 17], 0), Err(NV_RANGE));
    assert_eq!(write(&mut machine, b"x", 16), Err(NV_RANGE));
    assert_eq!(write(&mut machine, b"", 17), Err(P2 | 4));
    assert_eq!(read(&mut machine, 17, 0), Err(NV_RANGE));
    assert_eq!(read(&mut machine, 0, 17), Err(P2 | 4));
    assert_eq!(read(&mut machine, 1025, 0), Err(P1 | 4));
    assert_eq!(increment(&mut machine), Err(H2 | 2));
    for shutdown in [true, false] {
        if shutdown {
            machine.shutdown(true).unwrap();
        }
        machine.cycle(shutdown).unwrap();
        assert_eq!(read(&mut machine, 3, 2).unwrap(), b"abc");
    }
    // The index' own value authorizes, too.
    let body = [&tpm2b(b"z")[..], &[0, 0]].concat();
    machine.auth(0x137, &[INDEX, INDEX], b"pin", &body).unwrap();
    assert_eq!(
        machine.auth(0x137, &[PLATFORM, INDEX], b"", &body),
        Err(NV_AUTHORIZATION)
    );
}

#[test]
fn writeall_takes_the_whole_only() {
    let mut machine = Machine::new();
    define(&mut machine, PLAIN | WRITEALL, 4).unwrap();
    assert_eq!(write(&mut machine, b"abc", 0), Err(NV_RANGE));
    write(&mut machine, b"abcd", 0).unwrap();
}

#[test]
fn locks_last_as_long_as_they_should() {
    let lock = |machine: &mut Machine, cc| machine.auth(cc, &[OWNER, INDEX], b"", &[]);
    let mut machine = Machine::new();
    define(&mut machine, PLAIN, 4).unwrap();
    assert_eq!(lock(&mut machine, 0x138), Err(H2 | 2));
    assert_eq!(lock(&mut machine, 0x14F), Err(H2 | 2));
    undefine(&mut machine).unwrap();

    // Until the next reset or restart.
    define(&mut machine, PLAIN | WRITE_STCLEAR | READ_STCLEAR, 4).unwrap();
    write(&mut machine, b"abcd", 0).unwrap();
    lock(&mut machine, 0x138).unwrap();
    lock(&mut machine, 0x138).unwrap();
    lock(&mut machine, 0x14F).unwrap();
    assert_eq!(write(&mut machine, b"x", 0), Err(NV_LOCKED));
    assert_eq!(read(&mut machine, 1, 0), Err(NV_LOCKED));
    machine.shutdown(true).unwrap();
    machine.cycle(true).unwrap();
    assert_eq!(write(&mut machine, b"x", 0), Err(NV_LOCKED));
    assert_eq!(read(&mut machine, 1, 0), Err(NV_LOCKED));
    machine.shutdown(true).unwrap();
    machine.cycle(false).unwrap();
    write(&mut machine, b"x", 0).unwrap();
    assert_eq!(read(&mut machine, 1, 0).unwrap(), b"x");
    undefine(&mut machine).unwrap();

    // For ever, once it is written.
    define(&mut machine, PLAIN | WRITEDEFINE | GLOBALLOCK, 4).unwrap();
    machine.auth(0x132, &[OWNER], b"", &[]).unwrap();
    assert_eq!(write(&mut machine, b"x", 0), Err(NV_LOCKED));
    machine.cycle(false).unwrap();
    write(&mut machine, b"x", 0).unwrap();
    machine.auth(0x132, &[OWNER], b"", &[]).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(write(&mut machine, b"y", 0), Err(NV_LOCKED));
}

#[test]
fn clear_stclear_makes_an_index_unwritten_but_not_at_resume() {
    let mut machine = Machine::new();
    define(&mut machine, PLAIN | CLEAR_STCLEAR, 4).unwrap();
    write(&mut machine, b"abcd", 0).unwrap();
    machine.shutdown(true).unwrap();
    machine.cycle(true).unwrap();
    assert_eq!(read(&mut machine, 4, 0).unwrap(), b"abcd");
    machine.shutdown(true).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(read(&mut machine, 4, 0), Err(NV_UNINITIALIZED));
}

#[test]
fn an_orderly_index_is_in_the_store_after_a_shutdown_only() {
    let mut machine = Machine::new();
    define(&mut machine, PLAIN | ORDERLY, 4).unwrap();
    write(&mut machine, b"abcd", 0).unwrap();
    let commits = machine.host().commits;
    write(&mut machine, b"efgh", 0).unwrap();
    assert_eq!(machine.host().commits, commits);
    for state in [true, false] {
        machine.shutdown(true).unwrap();
        machine.cycle(state).unwrap();
        assert_eq!(read(&mut machine, 4, 0).unwrap(), b"efgh");
    }
    machine.shutdown(false).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(read(&mut machine, 4, 0), Err(NV_UNINITIALIZED));
    write(&mut machine, b"ijkl", 0).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(read(&mut machine, 4, 0), Err(NV_UNINITIALIZED));
}

#[test]
fn a_counter_never_repeats_not_even_when_it_is_defined_again() {
    let mut machine = Machine::new();
    define(&mut machine, PLAIN | COUNTER, 8).unwrap();
    assert_eq!(write(&mut machine, &[0; 8], 0), Err(2 | 0x80));
    for n in 1..=3 {
        increment(&mut machine).unwrap();
        assert_eq!(count(&mut machine), n);
    }
    machine.cycle(false).unwrap();
    assert_eq!(count(&mut machine), 3);
    undefine(&mut machine).unwrap();
    define(&mut machine, PLAIN | COUNTER, 8).unwrap();
    assert_eq!(read(&mut machine, 8, 0), Err(NV_UNINITIALIZED));
    increment(&mut machine).unwrap();
    assert_eq!(count(&mut machine), 4);
}

#[test]
fn an_orderly_counter_jumps_when_power_is_lost() {
    let mut machine = Machine::new();
    define(&mut machine, PLAIN | COUNTER | ORDERLY, 8).unwrap();
    for _ in 0..300 {
        increment(&mut machine).unwrap();
    }
    machine.shutdown(false).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(count(&mut machine), 300);
    machine.cycle(false).unwrap();
    assert_eq!(count(&mut machine), 511);
    machine.cycle(false).unwrap();
    assert_eq!(count(&mut machine), 511);
    increment(&mut machine).unwrap();
    machine.cycle(false).unwrap();
    assert_eq!(count(&mut machine), 767);
}

#[test]
fn bits_are_only_ever_set() {
    let mut machine = Machine::new();
    define(&mut machine, PLAIN | BITS, 8).unwrap();
    let set = |machine: &mut Machine, bits: u64| {
        machine.auth(0x135, &[OWNER, INDEX], b"", &bits.to_be_bytes())
    };
    set(&mut machine, 0).unwrap();
    assert_eq!(count(&mut machine), 0);
    set(&mut machine, 0x8001).unwrap();
    set(&mut machine, 0x0011).unwrap();
    assert_eq!(count(&mut machine), 0x8011);
}

#[test]
fn extend_works_as_for_a_pcr() {
    let mut machine = Machine::new();
    define(&mut machine, PLAIN | EXTEND, 32).unwrap();
    let extend = |machine: &mut Machine| machine.auth(0x136, &[OWNER, INDEX], b"", &tpm2b(b"abc"));
    let hash = |parts: &[&[u8]]| {
        use tpm_engine::crypto::hash::{HashAlg, digest};
        digest(HashAlg::Sha256, parts).to_vec()
    };
    extend(&mut machine).unwrap();
    let first = hash(&[&[0; 32], b"abc"]);
    assert_eq!(read(&mut machine, 32, 0).unwrap(), first);
    extend(&mut machine).unwrap();
    assert_eq!(read(&mut machine, 32, 0).unwrap(), hash(&[&first, b"abc"]));
}

#[test]
fn a_pin_index_counts_the_use_of_its_value() {
    let by_value = |machine: &mut Machine, pin: &[u8]| {
        machine.auth(0x14E, &[INDEX, INDEX], pin, &[0, 8, 0, 0])
    };
    let pins = |machine: &mut Machine| read(machine, 8, 0).unwrap();
    let attributes = OWNERWRITE | OWNERREAD | AUTHREAD | NO_DA;

    let mut machine = Machine::new();
    define(&mut machine, attributes | PIN_FAIL, 8).unwrap();
    assert_eq!(by_value(&mut machine, b"pin"), Err(0x12F));
    write(&mut machine, &[0, 0, 0, 0, 0, 0, 0, 2], 0).unwrap();
    assert_eq!(by_value(&mut machine, b"no"), Err(S1 | 0x22));
    assert_eq!(pins(&mut machine)[3], 1);
    machine.cycle(false).unwrap();
    assert_eq!(pins(&mut machine)[3], 1);
    by_value(&mut machine, b"pin").unwrap();
    assert_eq!(pins(&mut machine)[3], 0);
    for _ in 0..2 {
        assert_eq!(by_value(&mut machine, b"no"), Err(S1 | 0x22));
    }
    assert_eq!(by_value(&mut machine, b"pin"), Err(0x12F));
    assert_eq!(machine.property(0x20E), 0, "no dictionary attack");
    write(&mut machine, &[0, 0, 0, 0, 0, 0, 0, 2], 0).unwrap();
    for guess in [&b"no"[..], b"pin"] {
        machine.host().fail = true;
        assert_eq!(by_value(&mut machine, guess), Err(FAILURE), "no guessing");
        machine.host().fail = false;
        machine.cycle(false).unwrap();
    }
    machine.host().last = Some(1);
    assert_eq!(by_value(&mut machine, b"pin"), Err(FAILURE));
    machine.host().last = None;
    machine.cycle(false).unwrap();
    assert_eq!(pins(&mut machine)[3], 1, "counted");
    undefine(&mut machine).unwrap();

    define(&mut machine, attributes | PIN_PASS, 8).unwrap();
    write(&mut machine, &[0, 0, 0, 0, 0, 0, 0, 2], 0).unwrap();
    assert_eq!(by_value(&mut machine, b"no"), Err(S1 | 0x22));
    assert_eq!(pins(&mut machine)[3], 0);
    by_value(&mut machine, b"pin").unwrap();
    by_value(&mut machine, b"pin").unwrap();
    assert_eq!(by_value(&mut machine, b"pin"), Err(0x12F));
    assert_eq!(pins(&mut machine)[3], 2);
}

#[test]
fn the_platforms_indices_are_the_platforms() {
    let mut machine = Machine::new();
    let attributes = PPWRITE | PPREAD | OWNERREAD | PLATFORMCREATE;
    define_as(&mut machine, PLATFORM, INDEX, attributes, 4).unwrap();
    assert_eq!(undefine(&mut machine), Err(NV_AUTHORIZATION));
    assert_eq!(write(&mut machine, b"a", 0), Err(NV_AUTHORIZATION));
    let disable = [0x40, 0, 0, 0xD, 0];
    machine.auth(0x121, &[PLATFORM], b"", &disable).unwrap();
    assert_eq!(machine.plain(0x169, &INDEX.to_be_bytes()), Err(H1 | 0xB));
    assert_eq!(
        define_as(&mut machine, PLATFORM, INDEX + 1, attributes, 4),
        Err(H1 | 5)
    );
    machine.cycle(false).unwrap();
    machine.auth(0x122, &[PLATFORM, INDEX], b"", &[]).unwrap();
    define_as(&mut machine, PLATFORM, INDEX, attributes | POLICY_DELETE, 4).unwrap();
    assert_eq!(
        machine.auth(0x122, &[PLATFORM, INDEX], b"", &[]),
        Err(H2 | 2)
    );
}

#[test]
fn there_is_an_end_to_what_can_be_defined() {
    let mut machine = Machine::new();
    let fill = |machine: &mut Machine, attributes, size| {
        let mut n = 0;
        while define_as(machine, OWNER, INDEX + n, attributes, size).is_ok() {
            n += 1;
        }
        assert_eq!(
            define_as(machine, OWNER, INDEX + n, attributes, size),
            Err(NV_SPACE)
        );
        machine.auth(0x126, &[LOCKOUT], b"", &[]).unwrap();
        n
    };
    assert_eq!(fill(&mut machine, PLAIN, 2048), 32);
    assert_eq!(fill(&mut machine, PLAIN, 8), 64);
    assert_eq!(fill(&mut machine, PLAIN | ORDERLY, 2048), 2);
    assert_eq!(machine.host().store.len(), 1);
}
