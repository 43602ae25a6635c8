//! RSA: keys from a fixed stream, and that what one side does the other undoes.

use tpm_engine::crypto::CryptoError;
use tpm_engine::crypto::drbg::Drbg;
use tpm_engine::crypto::hash::{HashAlg, digest};
use tpm_engine::crypto::rsa::*;

use crate::hex;

const E: u32 = 65537;

fn rng(what: &str) -> Drbg {
    Drbg::instantiate(b"frozen for ever", what.as_bytes())
}

fn key(bits: u32) -> (Vec<u8>, PrivateKey) {
    let (n, p) = generate(bits, E, &mut rng("RSA")).unwrap();
    let key = PrivateKey::from_prime(&n, E, &p).unwrap();
    (n.to_vec(), key)
}

/// Frozen: a change of these answers is a change of every endorsement key. They come from an implementation of
/// `rsa::keygen`'s description in Python, with no sieve and other tests of primality. SHA-256 of modulus and prime.
#[test]
fn keys_from_a_fixed_stream_are_the_same_for_ever() {
    for (bits, e, stream, of_n, of_p) in [
        (
            2048,
            E,
            "RSA",
            "d784e3b160ef34fe4e16d1a9d287bc2ea18cdd1ddcaf6b89b88d106dff8d52d8",
            "e9a3384851d2bddec78eb9ed50b8b5d236c81d08448326994bf0395ee7a271a1",
        ),
        (
            2048,
            3 * 5 * 7 * 11 * 13 * 17,
            "RSA 3",
            "5c0158217ba05777cd2342c679138085913c9724653af53d0bae2eb9069fa657",
            "6f75bc7003841b44c513094ec81fd575c8306cfa3704b47c4e3a30010b998c58",
        ),
        (
            3072,
            E,
            "RSA",
            "e1f064a1be35c00d3b912f18f96e41c7a7749dfcac017ef0b4e8d5a9d60d6d84",
            "a7b02b900700340ebbf788c82dd9daa48fcef43f633f1dda9d13098fd16436f4",
        ),
        (
            2048,
            E,
            "RSA 2",
            "3cad0e21193ddd8801ac4b7f7dcd3ce52fa4b35db77a4be43d7e06fb2f14cf6a",
            "e46cf8d15440374acf5a00d20492c69aa7544dbf65f836ed7ef41f0f88bcd12c",
        ),
    ] {
        let (n, p) = generate(bits, e, &mut rng(stream)).unwrap();
        assert_eq!(
            digest(HashAlg::Sha256, &[&n]).to_vec(),
            hex(of_n),
            "{bits} {e}"
        );
        assert_eq!(
            digest(HashAlg::Sha256, &[&p]).to_vec(),
            hex(of_p),
            "{bits} {e}"
        );
        assert!(PrivateKey::from_prime(&n, e, &p).is_ok());
    }
    let refused = |bits, e| generate(bits, e, &mut rng("RSA")).err();
    assert_eq!(refused(1024, E), Some(CryptoError::Size));
    assert_eq!(refused(2048, 3), Some(CryptoError::Value));
    assert_eq!(refused(2048, 65538), Some(CryptoError::Value));
}

#[test]
fn every_scheme_undoes_itself_and_refuses_what_was_altered() {
    let mut rng = rng("schemes");
    for bits in [2048, 3072] {
        let (n, key) = key(bits);
        let public = (&n[..], E);
        for alg in HashAlg::ALL {
            let (hash, other) = (digest(alg, &[b"message"]), digest(alg, &[b"other"]));
            let none = Err(CryptoError::Signature);
            let mut signature = vec![0; n.len()];

            pkcs1_sign(&key, alg, &hash, &mut rng, &mut signature).unwrap();
            assert_eq!(pkcs1_verify(public, alg, &hash, &signature), Ok(()));
            assert_eq!(pkcs1_verify(public, alg, &other, &signature), none);
            assert_eq!(pkcs1_verify(public, alg, &hash, &signature[1..]), none);
            assert_eq!(pkcs1_verify(public, alg, &hash, &n), none);
            assert_eq!(pss_verify(public, alg, &hash, &signature), none);

            pss_sign(&key, alg, &hash, &mut rng, &mut signature).unwrap();
            assert_eq!(pss_verify(public, alg, &hash, &signature), Ok(()));
            assert_eq!(pss_verify(public, alg, &other, &signature), none);
            assert_eq!(pkcs1_verify(public, alg, &hash, &signature), none);
            let short = pss_sign(&key, alg, &hash[1..], &mut rng, &mut signature);
            assert_eq!(short, Err(CryptoError::Size));

            let most = n.len() - 2 * alg.size() - 2;
            for len in [0, 1, most, most + 1] {
                let (message, mut out) = (vec![0xA5; len], vec![0; n.len()]);
                let made = oaep_encrypt(public, alg, b"label\0", &message, &mut rng, &mut out);
                if len > most {
                    assert_eq!(made, Err(CryptoError::Size));
                    continue;
                }
                let open = |label: &[u8], ciphertext: &[u8]| {
                    oaep_decrypt(
                        &key,
                        alg,
                        label,
                        &mut Drbg::instantiate(b"", b""),
                        ciphertext,
                    )
                };
                assert_eq!(*open(b"label\0", &out).unwrap(), message[..]);
                assert_eq!(open(b"label", &out).err(), Some(CryptoError::Padding));
                assert_eq!(open(b"label\0", &out[1..]).err(), Some(CryptoError::Size));
            }
        }
        for len in [0, 1, n.len() - 11, n.len() - 10] {
            let (message, mut out) = (vec![0xA5; len], vec![0; n.len()]);
            let made = pkcs1_encrypt(public, &message, &mut rng, &mut out);
            if len > n.len() - 11 {
                assert_eq!(made, Err(CryptoError::Size));
                continue;
            }
            assert_eq!(*pkcs1_decrypt(&key, &mut rng, &out).unwrap(), message[..]);
        }
    }
}

#[test]
fn raw_operations_take_every_number_below_the_modulus_and_no_other() {
    for bits in [2048, 3072] {
        let (n, key) = key(bits);
        let mut least = n.clone();
        *least.last_mut().unwrap() -= 1;
        // Numbers 0, 1, n−1, and one that is shorter than n.
        for input in [vec![], vec![1], least, vec![0x77; 100]] {
            let (mut out, mut back) = (vec![0; n.len()], vec![0xEE; n.len()]);
            key.private_op(&mut rng("raw"), &input, &mut out).unwrap();
            public_op(&n, E, &out, &mut back).unwrap();
            assert!(back.ends_with(&input));
            assert!(back[..n.len() - input.len()].iter().all(|byte| *byte == 0));
        }
        // A multiple of a prime has no inverse; it must decrypt all the same.
        let (_, p) = generate(bits, E, &mut rng("RSA")).unwrap();
        let (mut out, mut back) = (vec![0; n.len()], vec![0; n.len()]);
        key.private_op(&mut rng("raw"), &p, &mut out).unwrap();
        public_op(&n, E, &out, &mut back).unwrap();
        assert!(back.ends_with(&p));

        let value = Err(CryptoError::Value);
        assert_eq!(key.private_op(&mut rng("raw"), &n, &mut out), value);
        assert_eq!(public_op(&n, E, &n, &mut out), value);
        let size = Err(CryptoError::Size);
        assert_eq!(key.private_op(&mut rng("raw"), &p, &mut back[1..]), size);
        assert_eq!(public_op(&n, E, &p, &mut back[1..]), size);
        assert_eq!(public_op(&n, 2, &p, &mut back), Err(CryptoError::Key));
        assert_eq!(
            public_op(&n[1..], E, &p, &mut back[1..]),
            Err(CryptoError::Key)
        );
    }
}

#[test]
fn what_is_no_prime_of_the_modulus_makes_no_key() {
    let (n, p) = generate(2048, E, &mut rng("RSA")).unwrap();
    let (_, other) = generate(2048, E, &mut rng("RSA 2")).unwrap();
    let refused = |n: &[u8], e, p: &[u8]| PrivateKey::from_prime(n, e, p).err();
    let key = Some(CryptoError::Key);
    assert_eq!(refused(&n, E, &other), key);
    assert_eq!(refused(&n, E, &p[1..]), key);
    assert_eq!(refused(&n, E, &[0; 128]), key);
    assert_eq!(refused(&n, E, &[0xFF; 128]), key);
    assert_eq!(refused(&n, 65536, &p), key);
    let mut even = n.to_vec();
    *even.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&even, E, &p), key);
    assert_eq!(refused(&n[1..], E, &p), key);
    // An exponent that has a factor in common with p − 1 has no inverse.
    let p_minus_one_is_even = 65537 * 2;
    assert_eq!(refused(&n, p_minus_one_is_even, &p), key);
}
