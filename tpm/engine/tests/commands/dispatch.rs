//! The order of checks: the codes for commands that are wrong in one or more ways, as swtpm 0.7.1 (libtpms 0.9.2) has them too,
//! but for the tag, where Part 3 §5.2 is followed.

use crate::client::{Client, hex};

/// Packets and the code of their response.
const CASES: &[(&str, u32)] = &[
    // Header.
    ("0001 0000000C 0000017B 0008", 0x01E),
    ("8001 0000000B 0000017B 0008", 0x142),
    ("8001 0000000D 0000017B 0008", 0x142),
    ("8001 0000000A 00000000", 0x143),
    ("8001 0000000A 00000123", 0x143),
    ("8001 0000000A 2000017B", 0x143),
    ("8001 0000000C 00000144 0000", 0x100),
    (
        "8002 00000019 00000144 00000009 40000009 0000 00 0000 0000",
        0x100,
    ),
    // Handles: the values of all, then whether they are there.
    ("8002 0000000C 00000182 0000", 0x19A),
    (
        "8002 00000021 00000182 00000018 00000009 40000009 0000 00 0000 00000000 0000",
        0x184,
    ),
    ("8001 0000000E 00000173 80000000", 0x910),
    ("8001 0000000E 00000173 80000003", 0x184),
    ("8001 0000000E 00000173 81000000", 0x18B),
    ("8001 0000000E 00000173 40000007", 0x184),
    ("8001 0000000E 00000169 01000000", 0x18B),
    ("8001 0000000E 00000189 03000000", 0x910),
    ("8001 0000000E 00000189 03000040", 0x184),
    ("8001 0000000E 00000189 02000000", 0x184),
    ("8001 00000012 00000176 80000000 40000009", 0x284),
    // The authorization area.
    ("8001 00000012 00000182 00000010 00000000", 0x125),
    (
        "8002 0000001A 00000182 00000010 00000008 40000009 0000 0000",
        0x095,
    ),
    (
        "8002 0000001B 00000182 00000010 00000064 40000009 0000 00 0000",
        0x095,
    ),
    (
        "8002 0000001C 00000182 00000010 0000000A 40000009 0000 00 0000 00",
        0xA9A,
    ),
    (
        "8002 0000001B 00000182 00000010 00000009 40000009 0000 00 0001",
        0x99A,
    ),
    (
        "8002 0000001F 00000182 00000010 00000009 40000009 0000 FF 0000 00000000",
        0x9A1,
    ),
    (
        "8002 0000001F 00000182 00000010 00000009 40000009 0000 20 0000 00000000",
        0x982,
    ),
    (
        "8002 0000001F 00000182 00000010 00000009 40000009 0000 04 0000 00000000",
        0x982,
    ),
    (
        "8002 00000020 00000182 00000010 0000000A 40000009 0001 00 00 0000 00000000",
        0x98F,
    ),
    (
        "8002 0000001F 00000182 00000010 00000009 80000000 0000 00 0000 00000000",
        0x984,
    ),
    (
        "8002 0000001F 00000182 00000010 00000009 02000005 0000 00 0000 00000000",
        0x918,
    ),
    (
        "8002 0000001F 00000182 00000010 00000009 02000040 0000 00 0000 00000000",
        0x984,
    ),
    (
        "8002 00000028 00000182 00000010 00000012 40000009 0000 00 0000 40000009 0000 00 0000 00000000",
        0xA8B,
    ),
    (
        "8002 0000003A 00000182 00000010 00000024 40000009 0000 00 0000 40000009 0000 00 0000 \
         40000009 0000 00 0000 40000009 0000 00 0000 00000000",
        0xC95,
    ),
    (
        "8002 0000001B 00000165 00000009 40000009 0000 00 0000 80000000",
        0x145,
    ),
    (
        "8002 00000019 0000017B 00000009 40000009 0000 00 0000 0008",
        0x98B,
    ),
    (
        "8002 00000020 00000182 00000010 0000000A 40000009 0000 00 0001 78 00000000",
        0x9A2,
    ),
    // Parameters.
    ("8001 0000000A 0000017B", 0x1DA),
    ("8001 0000000B 0000017B 00", 0x1DA),
    ("8001 0000000D 0000017B 0008 00", 0x095),
    (
        "8002 0000001F 00000182 00000010 00000009 40000009 0000 FF 0000 00000000",
        0x9A1,
    ),
];

#[test]
fn what_is_wrong_first_is_answered() {
    let mut tpm = Client::new();
    for (packet, expected) in CASES {
        let mut bytes = hex(packet);
        // Lengths in the table are exact but for those that are meant to be wrong.
        if *expected != 0x142 {
            let len = bytes.len() as u32;
            bytes[2..6].copy_from_slice(&len.to_be_bytes());
        }
        assert_eq!(tpm.run(&bytes).err(), Some(*expected), "{packet}");
    }
}

#[test]
fn everything_but_startup_waits_for_startup() {
    let mut tpm = Client::new();
    tpm.tpm.init();
    assert_eq!(tpm.plain(0x17B, &[], &[0, 8]), Err(0x100));
    assert_eq!(tpm.plain(0x123, &[], &[]), Err(0x143));
    assert!(tpm.plain(0x144, &[], &[0, 0]).is_ok());
    assert_eq!(tpm.plain(0x144, &[], &[0, 0]), Err(0x100));
}

#[test]
fn an_error_is_ten_bytes_without_sessions() {
    let mut tpm = Client::new();
    let mut response = [0xEE; 4096];
    let bytes = hex("8002 0000000A 0000017B");
    let answer = tpm.tpm.execute(0, &bytes, &mut response);
    assert_eq!(answer, hex("8001 0000000A 0000009A"));
    // A tag that is none is answered as by a TPM 1.2.
    let answer = tpm
        .tpm
        .execute(0, &hex("0001 0000000A 0000017B"), &mut response);
    assert_eq!(answer, hex("00C4 0000000A 0000001E"));
}

#[test]
fn measurements_of_roots_of_trust_begin_their_pcrs() {
    let sha = |parts: &[&[u8]]| crate::sessions::sha(parts);
    let read = |tpm: &mut Client, selection: &str| {
        let selection = [hex("00000001 000B 03"), hex(selection)].concat();
        let answer = tpm.plain(0x17E, &[], &selection).unwrap();
        answer[answer.len() - 32..].to_vec()
    };
    let measure = |tpm: &mut Client| {
        tpm.tpm.hash_start();
        tpm.tpm.hash_data(b"co");
        tpm.tpm.hash_data(b"de");
        tpm.tpm.hash_end();
    };
    let mut tpm = Client::new();
    assert_eq!(read(&mut tpm, "000002"), [0xFF; 32]);
    measure(&mut tpm);
    assert!(tpm.tpm.established());
    let value = sha(&[&[0; 32], &sha(&[b"code"])]);
    assert_eq!(read(&mut tpm, "000002"), value);
    assert_eq!(read(&mut tpm, "000004"), [0; 32]);

    tpm.tpm.init();
    measure(&mut tpm);
    tpm.plain(0x144, &[], &[0, 0]).unwrap();
    let start = [&[0; 31][..], &[4]].concat();
    let value = sha(&[&start, &sha(&[b"code"])]);
    assert_eq!(read(&mut tpm, "010000"), value);

    // Startup in between: it has no effect.
    tpm.tpm.init();
    tpm.tpm.hash_start();
    tpm.plain(0x144, &[], &[0, 0]).unwrap();
    tpm.tpm.hash_end();
    assert_eq!(read(&mut tpm, "010000"), [0; 32]);
}
