//! Project Wycheproof's vectors, as far as they are about what a TPM does. The extracts say where they come from.

use tpm_engine::buf::Buf;
use tpm_engine::crypto::drbg::Drbg;
use tpm_engine::crypto::ecc::{Curve, Point, ecdsa_verify, mul};
use tpm_engine::crypto::hash::{HashAlg, digest};
use tpm_engine::crypto::hmac::hmac;
use tpm_engine::crypto::rsa::*;
use tpm_engine::crypto::sym::{Mode, crypt};

use crate::hex;

/// The fields of each line; `-` is the empty string.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').collect())
}

fn bytes(field: &str) -> Vec<u8> {
    if field == "-" { Vec::new() } else { hex(field) }
}

fn alg(field: &str) -> HashAlg {
    match field {
        "sha1" => HashAlg::Sha1,
        "sha256" => HashAlg::Sha256,
        "sha384" => HashAlg::Sha384,
        "sha512" => HashAlg::Sha512,
        other => panic!("{other}"),
    }
}

fn curve(field: &str) -> Curve {
    match field {
        "p256" => Curve::P256,
        "p384" => Curve::P384,
        other => panic!("{other}"),
    }
}

fn point(x: &str, y: &str) -> Point {
    Point {
        x: Buf::from_slice(&bytes(x)).unwrap(),
        y: Buf::from_slice(&bytes(y)).unwrap(),
    }
}

fn exponent(field: &str) -> u32 {
    bytes(field)
        .iter()
        .fold(0, |e, byte| e << 8 | u32::from(*byte))
}

#[test]
fn hmac_and_aes_agree() {
    for line in lines(include_str!("../data/wycheproof_symmetric.txt")) {
        if let ["cbc", key, iv, message, ciphertext] = line[..] {
            let iv: [u8; 16] = bytes(iv).try_into().unwrap();
            let mut data = bytes(message);
            crypt(Mode::Cbc, true, &bytes(key), &mut { iv }, &mut data).unwrap();
            assert_eq!(data, bytes(ciphertext), "{line:?}");
            crypt(Mode::Cbc, false, &bytes(key), &mut { iv }, &mut data).unwrap();
            assert_eq!(data, bytes(message), "{line:?}");
        } else {
            let tag = hmac(alg(line[0]), &bytes(line[1]), &[&bytes(line[2])]);
            assert_eq!(tag.to_vec(), bytes(line[3]), "{line:?}");
        }
    }
}

#[test]
fn ecdsa_verifies_what_is_valid_and_nothing_else() {
    let mut key = None;
    for line in lines(include_str!("../data/wycheproof_ecdsa.txt")) {
        if line[0] == "key" {
            key = Some((curve(line[1]), alg(line[2]), point(line[3], line[4])));
            continue;
        }
        let (curve, alg, q) = key.as_ref().unwrap();
        let hash = digest(*alg, &[&bytes(line[1])]);
        let result = ecdsa_verify(*curve, q, &hash, &bytes(line[2]), &bytes(line[3]));
        assert_eq!(result.is_ok(), line[0] == "+", "{line:?}");
    }
}

#[test]
fn diffie_hellman_agrees_and_refuses_other_points() {
    for line in lines(include_str!("../data/wycheproof_ecdh.txt")) {
        let result = mul(curve(line[1]), &bytes(line[2]), &point(line[3], line[4]));
        match result {
            Ok(shared) => assert_eq!(("+", shared.x.to_vec()), (line[0], bytes(line[5]))),
            Err(_) => assert_eq!(line[0], "-", "{line:?}"),
        }
    }
}

#[test]
fn rsa_decrypts_what_is_valid_and_nothing_else() {
    let mut rng = Drbg::instantiate(b"wycheproof", b"");
    let mut key = None;
    for line in lines(include_str!("../data/wycheproof_rsa_decrypt.txt")) {
        if line[0] == "key" {
            let private =
                PrivateKey::from_prime(&bytes(line[3]), exponent(line[4]), &bytes(line[5]));
            key = Some((line[1], line[2], private.unwrap()));
            continue;
        }
        let (scheme, hash, key) = key.as_ref().unwrap();
        let ciphertext = bytes(line[2]);
        let result = match *scheme {
            "oaep" => oaep_decrypt(key, alg(hash), &bytes(line[3]), &mut rng, &ciphertext),
            _ => pkcs1_decrypt(key, &mut rng, &ciphertext),
        };
        match result {
            Ok(message) => assert_eq!(("+", message.to_vec()), (line[0], bytes(line[1]))),
            Err(_) => assert_eq!(line[0], "-", "{line:?}"),
        }
    }
}

#[test]
fn rsa_verifies_what_is_valid_and_nothing_else() {
    let mut key = None;
    for line in lines(include_str!("../data/wycheproof_rsa_verify.txt")) {
        if line[0] == "key" {
            key = Some((line[1], alg(line[2]), bytes(line[3]), exponent(line[4])));
            continue;
        }
        let (scheme, alg, n, e) = key.as_ref().unwrap();
        let hash = digest(*alg, &[&bytes(line[1])]);
        let result = match *scheme {
            "pss" => pss_verify((n, *e), *alg, &hash, &bytes(line[2])),
            _ => pkcs1_verify((n, *e), *alg, &hash, &bytes(line[2])),
        };
        assert_eq!(result.is_ok(), line[0] == "+", "{line:?}");
    }
}
