//! PCRs (Part 1 §14, Part 3 §22; PC Client Platform TPM Profile §4.6).

use sha2::{Digest, Sha256, Sha384};

use crate::client::{Client, NULL, PLATFORM, hex, sized, take_sized, u32_at};

const EXTEND: u32 = 0x182;
const EVENT: u32 = 0x13C;
const READ: u32 = 0x17E;
const RESET: u32 = 0x13D;

/// TPML_PCR_SELECTION of one PCR in one bank.
fn one(hash: u16, pcr: usize) -> Vec<u8> {
    let mut select = [0; 3];
    select[pcr / 8] = 1 << (pcr % 8);
    [&[0, 0, 0, 1][..], &hash.to_be_bytes(), &[3], &select].concat()
}

/// pcrUpdateCounter and the value of one PCR; no value where the bank lacks it.
fn read(client: &mut Client, hash: u16, pcr: usize) -> (u32, Option<Vec<u8>>) {
    let answer = client.plain(READ, &[], &one(hash, pcr)).unwrap();
    let counter = u32_at(&answer, 0);
    let mut rest = &answer[4 + 10..];
    let count = u32_at(rest, 0);
    rest = &rest[4..];
    (
        counter,
        (count == 1).then(|| take_sized(&mut rest).to_vec()),
    )
}

fn sha256_values(digest: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 1, 0, 0x0B][..], digest].concat()
}

#[test]
fn an_extended_pcr_is_the_hash_of_its_old_value_and_the_digest() {
    let mut client = Client::new();
    let digest = Sha256::digest(b"measured");
    client
        .auth(EXTEND, &[3], 1, &sha256_values(&digest))
        .unwrap();
    let first = Sha256::new()
        .chain_update([0; 32])
        .chain_update(digest)
        .finalize();
    assert_eq!(read(&mut client, 0x0B, 3).1.unwrap(), first[..]);
    client
        .auth(EXTEND, &[3], 1, &sha256_values(&digest))
        .unwrap();
    let second = Sha256::new()
        .chain_update(first)
        .chain_update(digest)
        .finalize();
    assert_eq!(read(&mut client, 0x0B, 3).1.unwrap(), second[..]);
    // The other bank was not named.
    assert_eq!(read(&mut client, 0x0C, 3).1.unwrap(), [0; 48]);
}

#[test]
fn an_event_is_hashed_for_every_bank() {
    let mut client = Client::new();
    let answer = client.auth(EVENT, &[8], 1, &sized(b"event")).unwrap();
    let expected = Sha384::new()
        .chain_update([0; 48])
        .chain_update(Sha384::digest(b"event"))
        .finalize();
    assert_eq!(read(&mut client, 0x0C, 8).1.unwrap(), expected[..]);
    assert_eq!(u32_at(&answer, 0), 3);
    let sha256 = Sha256::digest(b"event");
    assert!(answer.windows(32).any(|window| window == &sha256[..]));
}

#[test]
fn an_event_for_no_pcr_gives_digests_only() {
    let mut client = Client::new();
    let before = read(&mut client, 0x0B, 8);
    client.auth(EVENT, &[NULL], 1, &sized(b"event")).unwrap();
    assert_eq!(read(&mut client, 0x0B, 8), before);
}

#[test]
fn pcrs_of_the_dynamic_launch_start_with_ones_and_are_not_for_locality_0() {
    let mut client = Client::new();
    for pcr in 17..=22 {
        assert_eq!(read(&mut client, 0x0B, pcr).1.unwrap(), [0xFF; 32]);
    }
    let values = sha256_values(&[1; 32]);
    assert_eq!(client.auth(EXTEND, &[17], 1, &values), Err(0x907));
    client.locality = 3;
    client.auth(EXTEND, &[17], 1, &values).unwrap();
    assert_eq!(client.auth(RESET, &[17], 1, &[]), Err(0x907));
    client.locality = 4;
    client.auth(RESET, &[17], 1, &[]).unwrap();
    assert_eq!(read(&mut client, 0x0B, 17).1.unwrap(), [0; 32]);
}

#[test]
fn a_dynamic_launch_resets_its_pcrs_and_measures_into_17() {
    let mut client = Client::new();
    client.tpm.hash_start();
    client.tpm.hash_data(b"launched ");
    client.tpm.hash_data(b"code");
    client.tpm.hash_end();
    let expected = Sha256::new()
        .chain_update([0; 32])
        .chain_update(Sha256::digest(b"launched code"))
        .finalize();
    assert_eq!(read(&mut client, 0x0B, 17).1.unwrap(), expected[..]);
    assert_eq!(read(&mut client, 0x0B, 18).1.unwrap(), [0; 32]);
    assert!(client.tpm.established());
}

#[test]
fn only_pcrs_that_policies_use_count_their_changes() {
    let mut client = Client::new();
    let (before, _) = read(&mut client, 0x0B, 0);
    client
        .auth(EXTEND, &[16], 1, &sha256_values(&[1; 32]))
        .unwrap();
    assert_eq!(read(&mut client, 0x0B, 0).0, before);
    client
        .auth(EXTEND, &[0], 1, &sha256_values(&[1; 32]))
        .unwrap();
    assert_eq!(read(&mut client, 0x0B, 0).0, before + 1);
}

#[test]
fn the_debug_pcr_can_be_reset_the_boot_pcrs_cannot() {
    let mut client = Client::new();
    client
        .auth(EXTEND, &[16], 1, &sha256_values(&[1; 32]))
        .unwrap();
    client.auth(RESET, &[16], 1, &[]).unwrap();
    assert_eq!(read(&mut client, 0x0B, 16).1.unwrap(), [0; 32]);
    assert_eq!(client.auth(RESET, &[0], 1, &[]), Err(0x907));
}

#[test]
fn a_new_allocation_takes_effect_at_the_next_reset() {
    let mut client = Client::new();
    assert_eq!(read(&mut client, 4, 0).1, None);
    let both = hex("00000002 0004 03 ffffff 000c 03 000000");
    let answer = client.auth(0x12B, &[PLATFORM], 1, &both).unwrap();
    assert_eq!(answer[0], 1);
    assert_eq!(read(&mut client, 4, 0).1, None);
    client.reset();
    assert_eq!(read(&mut client, 4, 0).1.unwrap(), [0; 20]);
    assert_eq!(read(&mut client, 0x0B, 0).1.unwrap(), [0; 32]);
    assert_eq!(read(&mut client, 0x0C, 0).1, None);
    let none = hex("00000003 0004 03 000000 000b 03 000000 000c 03 000000");
    assert_eq!(client.auth(0x12B, &[PLATFORM], 1, &none), Err(0x127));
}

#[test]
fn a_list_holds_eight_values_and_says_which() {
    let mut client = Client::new();
    let all = hex("00000001 000b 03 ffffff");
    let answer = client.plain(READ, &[], &all).unwrap();
    assert_eq!(answer[4..14], hex("00000001 000b 03 ff0000"));
    assert_eq!(u32_at(&answer, 14), 8);
    assert_eq!(answer.len(), 18 + 8 * 34);
}

#[test]
fn malformed_extensions_name_the_parameter() {
    let mut client = Client::new();
    // A bank that no algorithm has: TPM_RC_HASH, parameter 1.
    let values = [&[0, 0, 0, 1, 0, 0xFF][..], &[0; 32]].concat();
    assert_eq!(client.auth(EXTEND, &[16], 1, &values), Err(0x1C3));
    // A digest that is cut: TPM_RC_INSUFFICIENT, parameter 1.
    assert_eq!(
        client.auth(EXTEND, &[16], 1, &sha256_values(&[0; 31])),
        Err(0x1DA)
    );
    // More than is expected: TPM_RC_SIZE.
    assert_eq!(
        client.auth(EXTEND, &[16], 1, &sha256_values(&[0; 33])),
        Err(0x095)
    );
    // No such PCR: TPM_RC_VALUE, handle 1.
    assert_eq!(
        client.auth(EXTEND, &[24], 1, &sha256_values(&[0; 32])),
        Err(0x184)
    );
    // More digests than algorithms: TPM_RC_SIZE, parameter 1.
    assert_eq!(client.auth(EXTEND, &[16], 1, &[0, 0, 0, 5]), Err(0x1D5));
}
