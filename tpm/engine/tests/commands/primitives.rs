//! Hashes, MACs, ciphers, capabilities: published vectors through commands.

use sha2::{Digest, Sha256, Sha512};

use crate::client::{Client, NULL, OWNER, hex, sized, take_sized, u32_at};

const GET_CAPABILITY: u32 = 0x17A;

/// TPM2_LoadExternal in the null hierarchy; the handle.
fn load_external(client: &mut Client, sensitive: &[u8], public: &[u8]) -> u32 {
    let parameters = [&sized(sensitive)[..], &sized(public), &NULL.to_be_bytes()].concat();
    u32_at(&client.plain(0x167, &[], &parameters).unwrap(), 0)
}

/// A keyed hash with `key` under HMAC with `hash`, from outside.
fn hmac_key(client: &mut Client, hash: u16, key: &[u8]) -> u32 {
    let seed = [7; 32];
    let sensitive = [&[0, 8][..], &sized(&[]), &sized(&seed), &sized(key)].concat();
    let unique = Sha256::new()
        .chain_update(seed)
        .chain_update(key)
        .finalize();
    let public = [
        &hex("0008 000b 00040040 0000 0005")[..],
        &hash.to_be_bytes(),
        &sized(&unique),
    ]
    .concat();
    load_external(client, &sensitive, &public)
}

/// An AES key in `mode` from outside, that may encrypt and decrypt.
fn aes_key(client: &mut Client, mode: u16, key: &[u8]) -> u32 {
    let seed = [7; 32];
    let sensitive = [&[0, 0x25][..], &sized(&[]), &sized(&seed), &sized(key)].concat();
    let unique = Sha256::new()
        .chain_update(seed)
        .chain_update(key)
        .finalize();
    let public = [
        &hex("0025 000b 00060040 0000 0006")[..],
        &(key.len() as u16 * 8).to_be_bytes(),
        &mode.to_be_bytes(),
        &sized(&unique),
    ]
    .concat();
    load_external(client, &sensitive, &public)
}

#[test]
fn hash_gives_the_digest_and_a_ticket_for_foreign_data() {
    let mut client = Client::new();
    let ask = |data: &[u8], hierarchy: u32| {
        [&sized(data)[..], &[0, 0x0B], &hierarchy.to_be_bytes()].concat()
    };
    let answer = client.plain(0x17D, &[], &ask(b"abc", OWNER)).unwrap();
    let mut rest = &answer[..];
    assert_eq!(take_sized(&mut rest), &Sha256::digest(b"abc")[..]);
    assert_eq!(rest[..6], hex("8024 40000001"));
    assert!(rest.len() > 8);
    // What begins like an attestation gets the ticket that proves nothing (Part 2 §10.7.6).
    let answer = client
        .plain(0x17D, &[], &ask(b"\xFFTCGabc", OWNER))
        .unwrap();
    assert_eq!(answer[34..], hex("8024 40000007 0000"));
}

#[test]
fn a_sequence_hashes_what_came_in_parts() {
    let mut client = Client::new();
    let answer = client.plain(0x186, &[], &[0, 0, 0, 0x0D]).unwrap();
    let handle = u32_at(&answer, 0);
    let data: Vec<u8> = (0..=255).cycle().take(3000).collect();
    for part in data[..2048].chunks(1024) {
        client.auth(0x15C, &[handle], 1, &sized(part)).unwrap();
    }
    let last = [&sized(&data[2048..])[..], &NULL.to_be_bytes()].concat();
    let answer = client.auth(0x13E, &[handle], 1, &last).unwrap();
    assert_eq!(take_sized(&mut &answer[..]), &Sha512::digest(&data)[..]);
    // The sequence is gone: TPM_RC_REFERENCE_H0.
    assert_eq!(client.auth(0x13E, &[handle], 1, &last), Err(0x910));
}

#[test]
fn hmac_of_rfc_4231() {
    let mut client = Client::new();
    let handle = hmac_key(&mut client, 0x0B, &[0x0b; 20]);
    let expected = hex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    let ask = [&sized(b"Hi There")[..], &[0, 0x10]].concat();
    let answer = client.auth(0x155, &[handle], 1, &ask).unwrap();
    assert_eq!(take_sized(&mut &answer[..]), &expected[..]);
    // The key's hash and another one: TPM_RC_VALUE, parameter 2.
    let ask = [&sized(b"Hi There")[..], &[0, 0x0C]].concat();
    assert_eq!(client.auth(0x155, &[handle], 1, &ask), Err(0x2C4));
}

/// NIST SP 800-38A, appendix F: AES-128, first two blocks, and the IV.
#[test]
fn ciphers_of_sp_800_38a() {
    let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    let plain = hex("6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51");
    let iv = hex("000102030405060708090a0b0c0d0e0f");
    let counter = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    for (mode, iv, cipher) in [
        (
            0x44,
            &[][..],
            "3ad77bb40d7a3660a89ecaf32466ef97 f5d3d58503b9699de785895a96fdbaaf",
        ),
        (
            0x42,
            &iv,
            "7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2",
        ),
        (
            0x43,
            &iv,
            "3b3fd92eb72dad20333449f8e83cfb4a c8a64537a0b3a93fcde3cdad9f1ce58b",
        ),
        (
            0x41,
            &iv,
            "3b3fd92eb72dad20333449f8e83cfb4a 7789508d16918f03f53c52dac54ed825",
        ),
        (
            0x40,
            &counter,
            "874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff",
        ),
    ] {
        let mut client = Client::new();
        let handle = aes_key(&mut client, mode, &key);
        let ask =
            |data: &[u8], decrypt: u8| [&sized(data)[..], &[decrypt, 0, 0x10], &sized(iv)].concat();
        let answer = client.auth(0x193, &[handle], 1, &ask(&plain, 0)).unwrap();
        assert_eq!(take_sized(&mut &answer[..]), hex(cipher), "mode {mode:#x}");
        let answer = client
            .auth(0x193, &[handle], 1, &ask(&hex(cipher), 1))
            .unwrap();
        assert_eq!(take_sized(&mut &answer[..]), plain, "mode {mode:#x}");
    }
}

#[test]
fn a_chained_encryption_goes_on_with_the_returned_iv() {
    let mut client = Client::new();
    let handle = aes_key(&mut client, 0x42, &[1; 16]);
    let ask = |data: &[u8], iv: &[u8]| [&sized(data)[..], &[0, 0, 0x10], &sized(iv)].concat();
    let whole = client
        .auth(0x193, &[handle], 1, &ask(&[5; 64], &[0; 16]))
        .unwrap();
    let whole = take_sized(&mut &whole[..]).to_vec();
    let first = client
        .auth(0x193, &[handle], 1, &ask(&[5; 32], &[0; 16]))
        .unwrap();
    let mut rest = &first[..];
    let mut parts = take_sized(&mut rest).to_vec();
    let iv = take_sized(&mut rest).to_vec();
    let second = client
        .auth(0x193, &[handle], 1, &ask(&[5; 32], &iv))
        .unwrap();
    parts.extend(take_sized(&mut &second[..]));
    assert_eq!(parts, whole);
    // Half a block: TPM_RC_SIZE, parameter 1.
    assert_eq!(
        client.auth(0x193, &[handle], 1, &ask(&[5; 8], &[0; 16])),
        Err(0x1D5)
    );
}

#[test]
fn capabilities_come_in_pieces() {
    let mut client = Client::new();
    let ask = |capability: u32, property: u32, count: u32| {
        [capability, property, count].map(u32::to_be_bytes).concat()
    };
    let answer = client
        .plain(GET_CAPABILITY, &[], &ask(6, 0x100, 2))
        .unwrap();
    assert_eq!(
        answer,
        hex("01 00000006 00000002 00000100 322e3000 00000101 00000000")
    );
    let answer = client.plain(GET_CAPABILITY, &[], &ask(8, 0, 10)).unwrap();
    assert_eq!(answer, hex("00 00000008 00000002 0003 0004"));
    let answer = client.plain(GET_CAPABILITY, &[], &ask(5, 0, 1)).unwrap();
    assert_eq!(
        answer,
        hex("00 00000005 00000003 0004 03 000000 000b 03 ffffff 000c 03 ffffff")
    );
    // TPM_RC_VALUE parameter 1, TPM_RC_HANDLE parameter 2.
    assert_eq!(
        client.plain(GET_CAPABILITY, &[], &ask(0x77, 0, 1)),
        Err(0x1C4)
    );
    assert_eq!(
        client.plain(GET_CAPABILITY, &[], &ask(1, 0x5500_0000, 1)),
        Err(0x2CB)
    );
}

#[test]
fn random_numbers_are_limited_to_the_largest_digest() {
    let mut client = Client::new();
    let first = client.plain(0x17B, &[], &[0x10, 0]).unwrap();
    let second = client.plain(0x17B, &[], &[0x10, 0]).unwrap();
    assert_eq!((first.len(), second.len()), (66, 66));
    assert_ne!(first, second);
}

#[test]
fn an_ephemeral_key_is_used_once() {
    let mut client = Client::new();
    let answer = client.plain(0x18E, &[], &[0, 3]).unwrap();
    let mut rest = &answer[..];
    let point = take_sized(&mut rest).to_vec();
    // An unrestricted ECDH key of the null hierarchy.
    let template = hex("0023 000b 00020072 0000 0010 0019 000b 0003 0010 0000 0000");
    let parameters = [
        &hex("0004 0000 0000")[..],
        &sized(&template),
        &[0, 0],
        &[0; 4],
    ]
    .concat();
    let create = client
        .auth_with_handle(0x131, &[NULL], 1, &parameters)
        .unwrap();
    let handle = u32_at(&create, 0);
    let ask = [&sized(&point)[..], &sized(&point), &[0, 0x19], rest].concat();
    let answer = client.auth(0x18D, &[handle], 1, &ask).unwrap();
    let mut rest = &answer[..];
    assert_eq!(take_sized(&mut rest).len(), 68);
    assert_eq!(take_sized(&mut rest).len(), 68);
    // TPM_RC_VALUE, parameter 4.
    assert_eq!(client.auth(0x18D, &[handle], 1, &ask), Err(0x4C4));
}
