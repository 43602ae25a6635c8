//! Policies: digests as Part 3 §23 defines them, computed here, and what a policy lets through.

use crate::client::{Client, OWNER, hex, sized, take_sized, u32_at};
use crate::sessions::{Session, sha};

const ENDORSEMENT: u32 = 0x4000_000B;
const ZERO: [u8; 32] = [0; 32];

fn digest(tpm: &mut Client, session: &Session) -> Vec<u8> {
    let answer = tpm.plain(0x189, &[session.handle], &[]).unwrap();
    take_sized(&mut &answer[..]).to_vec()
}

/// One assertion and the digest it must lead to.
fn assert_step(
    tpm: &mut Client,
    session: &Session,
    code: u32,
    parameters: &[u8],
    old: &[u8],
    arguments: &[u8],
) -> Vec<u8> {
    tpm.plain(code, &[session.handle], parameters).unwrap();
    let expected = sha(&[old, &code.to_be_bytes(), arguments]);
    assert_eq!(digest(tpm, session), expected, "{code:#x}");
    expected
}

#[test]
fn each_assertion_extends_the_digest_as_specified() {
    for kind in [1, 3] {
        let tpm = &mut Client::new();
        let s = Session::policy(tpm, kind);
        let mut d = ZERO.to_vec();
        d = assert_step(tpm, &s, 0x16C, &hex("00000153"), &d, &hex("00000153"));
        d = assert_step(tpm, &s, 0x16F, &[3], &d, &[3]);
        d = assert_step(tpm, &s, 0x16F, &[2], &d, &[2]);
        d = assert_step(tpm, &s, 0x187, &[], &d, &[]);
        d = assert_step(tpm, &s, 0x18F, &[1], &d, &[1]);
        d = assert_step(tpm, &s, 0x16B, &[], &d, &[]);
        // PolicyPassword looks like PolicyAuthValue.
        tpm.plain(0x18C, &[s.handle], &[]).unwrap();
        d = sha(&[&d, &hex("0000016B")]);
        assert_eq!(digest(tpm, &s), d);
        let template = sha(&[b"template"]);
        d = assert_step(tpm, &s, 0x190, &sized(&template), &d, &template);
        // PolicyCounterTimer: Time is not below zero. The arguments are hashed first.
        let arguments = [&[0; 8][..], &hex("0000 0007")].concat();
        let parameters = [sized(&[0; 8]), hex("0000 0007")].concat();
        d = assert_step(tpm, &s, 0x16D, &parameters, &d, &sha(&[&arguments]));
        // PolicyPCR: of PCR 0 and 23, which are zero, with and without the digest.
        let selection = hex("00000001 000B 03 010080");
        let pcrs = sha(&[&[0; 64]]);
        let parameters = [sized(&pcrs), selection.clone()].concat();
        let arguments = [&selection[..], &pcrs].concat();
        d = assert_step(tpm, &s, 0x17F, &parameters, &d, &arguments);
        let parameters = [sized(&[]), selection].concat();
        d = assert_step(tpm, &s, 0x17F, &parameters, &d, &arguments);
        // PolicySecret with a reference: two steps.
        let parameters = [sized(&[]), sized(&[]), sized(b"ref"), vec![0; 4]].concat();
        tpm.auth(0x151, &[OWNER, s.handle], 1, &parameters).unwrap();
        d = sha(&[&d, &hex("00000151 40000001")]);
        d = sha(&[&d, b"ref"]);
        assert_eq!(digest(tpm, &s), d);
        // PolicyOR begins from zero.
        let other = [7; 32];
        let list = [hex("00000002"), sized(&other), sized(&d)].concat();
        assert_step(tpm, &s, 0x171, &list, &ZERO, &[&other[..], &d].concat());
        tpm.plain(0x180, &[s.handle], &[]).unwrap();
        assert_eq!(digest(tpm, &s), ZERO);

        let cp = sha(&[b"cpHash"]);
        d = assert_step(tpm, &s, 0x16E, &sized(&cp), &ZERO, &cp);
        assert_eq!(tpm.plain(0x170, &[s.handle], &sized(&cp)), Err(0x151));
        assert_eq!(tpm.plain(0x16E, &[s.handle], &sized(&d)), Err(0x151));
        tpm.plain(0x180, &[s.handle], &[]).unwrap();
        assert_step(tpm, &s, 0x170, &sized(&cp), &ZERO, &cp);
        for include in [0, 1] {
            tpm.plain(0x180, &[s.handle], &[]).unwrap();
            let (object, parent) = ([1; 34], [2; 34]);
            let parameters = [sized(&object), sized(&parent), vec![include]].concat();
            let included = if include == 1 { &object[..] } else { &[] };
            let arguments = [included, &parent, &[include]].concat();
            assert_step(tpm, &s, 0x188, &parameters, &ZERO, &arguments);
        }
    }
}

#[test]
fn a_trial_session_takes_a_policy_that_does_not_hold_and_authorizes_nothing() {
    let tpm = &mut Client::new();
    let s = Session::policy(tpm, 3);
    let list = [hex("00000002"), sized(&[1; 32]), sized(&[2; 32])].concat();
    let d = assert_step(tpm, &s, 0x171, &list, &ZERO, &[[1; 32], [2; 32]].concat());
    // PolicyAuthorize: the policy is the key's, whoever approved what.
    let name = [&hex("000B")[..], &[5; 32]].concat();
    let ticket = hex("8022 40000007 0000");
    let parameters = [sized(&[9; 32]), sized(b"r"), sized(&name), ticket].concat();
    tpm.plain(0x16A, &[s.handle], &parameters).unwrap();
    let expected = sha(&[&ZERO, &hex("0000016A"), &name]);
    assert_eq!(digest(tpm, &s), sha(&[&expected, b"r"]));
    assert_ne!(d, expected);
    assert_eq!(with_policy(tpm, &s, &[]), Err(0x982));
}

/// TPM2_HierarchyChangeAuth of the owner, which changes nothing, authorized by `session` with `auth` in place of the HMAC.
fn with_policy(tpm: &mut Client, session: &Session, auth: &[u8]) -> Result<(), u32> {
    let area = [
        session.handle.to_be_bytes().to_vec(),
        hex("0000 01"),
        sized(auth),
    ]
    .concat();
    let size = (area.len() as u32).to_be_bytes();
    let body = [&OWNER.to_be_bytes()[..], &size, &area, &sized(&[])].concat();
    let packet = crate::client::packet(0x8002, 0x129, &body);
    tpm.run(&packet).map(|_| ())
}

/// The owner's policy becomes what `session` has now.
fn set_owner_policy(tpm: &mut Client, session: &Session) {
    let parameters = [sized(&digest(tpm, session)), hex("000B")].concat();
    tpm.auth(0x12E, &[OWNER], 1, &parameters).unwrap();
}

#[test]
fn what_a_policy_defers_is_checked_when_it_is_used() {
    let tpm = &mut Client::new();
    let s = Session::policy(tpm, 1);
    assert_eq!(with_policy(tpm, &s, &[]), Err(0x12F));
    // Assertions, and the code when they do not let through.
    let cases: &[(&[(u32, &str)], u32)] = &[
        (&[(0x16C, "00000153")], 0x9A4),
        (&[(0x16F, "02")], 0x907),
        (&[(0x187, "")], 0x990),
        (&[(0x18F, "01")], 0x99D),
        (&[(0x16C, "00000129"), (0x16F, "01")], 0),
        (&[(0x16C, "00000153"), (0x16F, "02")], 0x9A4),
        (&[(0x187, ""), (0x18F, "01")], 0x990),
    ];
    for (steps, expected) in cases {
        for (code, parameters) in *steps {
            tpm.plain(*code, &[s.handle], &hex(parameters)).unwrap();
        }
        set_owner_policy(tpm, &s);
        let result = with_policy(tpm, &s, &[]);
        assert_eq!(
            result,
            if *expected == 0 {
                Ok(())
            } else {
                Err(*expected)
            }
        );
        if *expected != 0 {
            tpm.plain(0x180, &[s.handle], &[]).unwrap();
        }
        // Whether it was used or started again, it is empty, and that is not the owner's policy.
        assert_eq!(digest(tpm, &s), ZERO);
        assert_eq!(with_policy(tpm, &s, &[]), Err(0x99D));
    }
}

#[test]
fn cp_hash_name_hash_and_pcrs_bind_a_policy() {
    let tpm = &mut Client::new();
    let s = Session::policy(tpm, 1);
    let cp = sha(&[&hex("00000129 40000001 0000")]);
    let names = sha(&[&OWNER.to_be_bytes()]);
    for (code, hash) in [(0x16E, cp), (0x170, names)] {
        tpm.plain(code, &[s.handle], &sized(&hash)).unwrap();
        set_owner_policy(tpm, &s);
        assert_eq!(with_policy(tpm, &s, &[]), Ok(()));
        tpm.plain(code, &[s.handle], &sized(&[3; 32])).unwrap();
        set_owner_policy(tpm, &s);
        assert_eq!(with_policy(tpm, &s, &[]), Err(0x99D));
        tpm.plain(0x180, &[s.handle], &[]).unwrap();
    }
    let selection = [sized(&[]), hex("00000001 000B 03 010000")].concat();
    tpm.plain(0x17F, &[s.handle], &selection).unwrap();
    set_owner_policy(tpm, &s);
    // Any PCR that counts ends it; PCR 16 does not count.
    let extend = [hex("00000001 000B"), vec![1; 32]].concat();
    tpm.auth(0x182, &[16], 1, &extend).unwrap();
    assert_eq!(with_policy(tpm, &s, &[]), Ok(()));
    tpm.plain(0x17F, &[s.handle], &selection).unwrap();
    tpm.auth(0x182, &[5], 1, &extend).unwrap();
    assert_eq!(with_policy(tpm, &s, &[]), Err(0x128));
    assert_eq!(tpm.plain(0x17F, &[s.handle], &selection), Err(0x128));
}

#[test]
fn passwords_in_policies_and_secrets_that_prove_nothing() {
    let tpm = &mut Client::new();
    let s = Session::policy(tpm, 1);
    tpm.plain(0x18C, &[s.handle], &[]).unwrap();
    set_owner_policy(tpm, &s);
    tpm.auth(0x129, &[OWNER], 1, &sized(b"")).unwrap();
    assert_eq!(with_policy(tpm, &s, b"x"), Err(0x9A2));
    assert_eq!(with_policy(tpm, &s, b"\0\0"), Ok(()));
    // PolicySecret with a policy session that does not need the value.
    let other = Session::policy(tpm, 1);
    let area = [&s.handle.to_be_bytes()[..], &hex("0000 01 0000")].concat();
    let body = [
        &OWNER.to_be_bytes()[..],
        &other.handle.to_be_bytes(),
        &hex("00000009"),
        &area,
        &hex("0000 0000 0000 00000000"),
    ]
    .concat();
    let packet = crate::client::packet(0x8002, 0x151, &body);
    tpm.plain(0x180, &[s.handle], &[]).unwrap();
    let parameters = [sized(&ZERO), hex("000B")].concat();
    tpm.auth(0x12E, &[OWNER], 1, &parameters).unwrap();
    assert_eq!(tpm.run(&packet).err(), Some(0x989));
}

/// TPM2_PolicySecret of the endorsement hierarchy, with timeout and ticket.
fn secret(
    tpm: &mut Client,
    session: &Session,
    nonce: &[u8],
    expiration: i32,
) -> Result<(Vec<u8>, Vec<u8>), u32> {
    let parameters = [
        sized(nonce),
        sized(&[]),
        sized(b"r"),
        expiration.to_be_bytes().to_vec(),
    ]
    .concat();
    let answer = tpm.auth(0x151, &[ENDORSEMENT, session.handle], 1, &parameters)?;
    let mut rest = &answer[..];
    let timeout = take_sized(&mut rest).to_vec();
    Ok((timeout, rest.to_vec()))
}

#[test]
fn tickets_stand_for_a_secret_until_they_expire() {
    let tpm = &mut Client::new();
    let s = Session::policy(tpm, 1);
    assert_eq!(secret(tpm, &s, &[1; 20], 0).err(), Some(0x1CF));
    let (timeout, ticket) = secret(tpm, &s, &[], 5).unwrap();
    assert_eq!((timeout.len(), ticket), (0, hex("8023 40000007 0000")));
    tpm.plain(0x180, &[s.handle], &[]).unwrap();
    let (timeout, ticket) = secret(tpm, &s, &s.nonce_tpm, -60).unwrap();
    assert_eq!(timeout.len(), 8);
    let expected = digest(tpm, &s);
    let use_ticket = |tpm: &mut Client, name: &[u8], reference: &[u8]| {
        let parameters = [
            sized(&timeout),
            sized(&[]),
            sized(reference),
            sized(name),
            ticket.clone(),
        ]
        .concat();
        tpm.plain(0x180, &[s.handle], &[]).unwrap();
        tpm.plain(0x172, &[s.handle], &parameters)
    };
    let name = ENDORSEMENT.to_be_bytes();
    assert!(use_ticket(tpm, &name, b"r").is_ok());
    assert_eq!(digest(tpm, &s), expected);
    assert_eq!(use_ticket(tpm, &name, b"q"), Err(0x5E0));
    assert_eq!(use_ticket(tpm, &OWNER.to_be_bytes(), b"r"), Err(0x5E0));
    assert!(use_ticket(tpm, &name, b"r").is_ok());
    set_owner_policy(tpm, &s);
    tpm.tpm.platform().now += 61_000;
    assert_eq!(with_policy(tpm, &s, &[]), Err(0x9A3));
    assert_eq!(use_ticket(tpm, &name, b"r"), Err(0x1E3));
    // Another power cycle is another epoch.
    tpm.reset();
    let s = Session::policy(tpm, 1);
    let parameters = [
        sized(&timeout),
        sized(&[]),
        sized(b"r"),
        sized(&name),
        ticket.clone(),
    ]
    .concat();
    assert_eq!(tpm.plain(0x172, &[s.handle], &parameters), Err(0x5E0));
}

#[test]
fn an_nv_index_is_compared_in_every_way() {
    let tpm = &mut Client::new();
    let s = Session::policy(tpm, 1);
    let index = 0x0180_0001u32;
    let public = [index.to_be_bytes().to_vec(), hex("000B 00040004 0000 0004")].concat();
    let parameters = [sized(&[]), sized(&public)].concat();
    tpm.auth(0x12A, &[OWNER], 1, &parameters).unwrap();
    let compare = |tpm: &mut Client, operand: &str, offset: u16, operation: u16| {
        let parameters = [
            sized(&hex(operand)),
            offset.to_be_bytes().to_vec(),
            operation.to_be_bytes().to_vec(),
        ]
        .concat();
        tpm.auth(0x149, &[index, index, s.handle], 1, &parameters)
    };
    assert_eq!(compare(tpm, "00", 0, 0), Err(0x14A));
    let parameters = [sized(&hex("80010203")), vec![0, 0]].concat();
    tpm.auth(0x137, &[index, index], 1, &parameters).unwrap();
    // Operand, offset, operation, whether it holds: 0x80010203 is negative where signs count, its rest a magnitude.
    let cases = [
        ("80010203", 0, 0x0, true),
        ("80010202", 0, 0x0, false),
        ("80010202", 0, 0x1, true),
        ("80010204", 0, 0x2, true),
        ("00000000", 0, 0x2, false),
        ("00000000", 0, 0x3, true),
        ("00000000", 0, 0x4, true),
        ("80010202", 0, 0x4, true),
        ("80010204", 0, 0x5, true),
        ("80010203", 0, 0x5, false),
        ("80010203", 0, 0x6, true),
        ("81010203", 0, 0x6, true),
        ("80010202", 0, 0x6, false),
        ("80010203", 0, 0x7, true),
        ("81010203", 0, 0x7, false),
        ("00010203", 0, 0x8, true),
        ("00010203", 0, 0x9, false),
        ("0203", 2, 0x0, true),
        ("0201", 2, 0xA, true),
        ("0401", 2, 0xA, false),
        ("0400", 2, 0xB, true),
        ("0401", 2, 0xB, false),
        ("", 4, 0x0, true),
    ];
    for (operand, offset, operation, holds) in cases {
        let expected = if holds { Ok(vec![]) } else { Err(0x126) };
        let found = compare(tpm, operand, offset, operation);
        assert_eq!(found, expected, "{operand} {offset} {operation}");
    }
    assert_eq!(compare(tpm, "00", 0, 0xC), Err(0x3C4));
    assert_eq!(compare(tpm, "00", 5, 0), Err(0x2C4));
    assert_eq!(compare(tpm, "0000", 3, 0), Err(0x1D5));

    tpm.plain(0x180, &[s.handle], &[]).unwrap();
    compare(tpm, "0203", 2, 0).unwrap();
    let answer = tpm.plain(0x169, &[index], &[]).unwrap();
    let mut rest = &answer[..];
    take_sized(&mut rest);
    let name = take_sized(&mut rest);
    let arguments = sha(&[&hex("0203 0002 0000")]);
    let expected = sha(&[&ZERO, &hex("00000149"), &arguments, name]);
    assert_eq!(digest(tpm, &s), expected);
}

#[test]
fn a_signature_and_its_key_are_a_policy() {
    let tpm = &mut Client::new();
    // An HMAC key, so that signing needs no second implementation: SHA-256, value "key".
    let template = hex("0008 000B 00040052 0000 0005 000B 0000");
    let sensitive = [sized(&[]), sized(b"key")].concat();
    let parameters = [sized(&sensitive), sized(&template), hex("0000 00000000")].concat();
    let answer = tpm.auth_with_handle(0x131, &[OWNER], 1, &parameters);
    let Ok(answer) = answer else {
        panic!("{answer:x?}");
    };
    let key = u32_at(&answer, 0);
    let mut public = &answer[4..];
    let name = [&hex("000B")[..], &sha(&[take_sized(&mut public)])].concat();
    let s = Session::policy(tpm, 1);
    let signed = sha(&[&[0; 4], b"ref"]);
    let answer = tpm
        .auth(0x155, &[key], 1, &[sized(&signed), hex("000B")].concat())
        .unwrap();
    let tag = take_sized(&mut &answer[..]);
    let parameters = |tag: &[u8]| {
        let signature = [&hex("0005 000B")[..], tag].concat();
        [sized(&[]), sized(&[]), sized(b"ref"), vec![0; 4], signature].concat()
    };
    let found = tpm.plain(0x160, &[key, s.handle], &parameters(&[0; 32]));
    assert_eq!(found, Err(0x5DB));
    tpm.plain(0x160, &[key, s.handle], &parameters(tag))
        .unwrap();
    let expected = sha(&[&ZERO, &hex("00000160"), &name]);
    assert_eq!(digest(tpm, &s), sha(&[&expected, b"ref"]));
}
