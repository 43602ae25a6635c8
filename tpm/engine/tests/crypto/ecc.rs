//! Elliptic curves: keys from a fixed stream, and that what one side does the other undoes.

use tpm_engine::crypto::CryptoError;
use tpm_engine::crypto::drbg::Drbg;
use tpm_engine::crypto::ecc::*;
use tpm_engine::crypto::hash::{HashAlg, digest};

use crate::hex;

#[test]
fn signatures_verify_and_altered_ones_do_not() {
    let mut rng = Drbg::instantiate(b"ecc", b"signatures");
    for curve in Curve::ALL {
        for alg in HashAlg::ALL {
            let (d, q) = keygen(curve, &mut rng);
            let (hash, other) = (digest(alg, &[b"message"]), digest(alg, &[b"other"]));
            let none = Err(CryptoError::Signature);

            let signature = ecdsa_sign(curve, &d, &hash, &mut rng).unwrap();
            let (r, s) = (signature.r, signature.s);
            assert_eq!(ecdsa_verify(curve, &q, &hash, &r, &s), Ok(()));
            assert_eq!(ecdsa_verify(curve, &q, &other, &r, &s), none);
            assert_eq!(ecdsa_verify(curve, &q, &hash, &s, &r), none);
            assert_eq!(ecdsa_verify(curve, &q, &hash, &[], &s), none);
            assert_eq!(ecdsa_verify(curve, &q, &hash, &r, &[0xFF; 48]), none);

            let signature = ecschnorr_sign(curve, alg, &d, &hash, &mut rng).unwrap();
            let (r, s) = (signature.r, signature.s);
            assert_eq!(ecschnorr_verify(curve, alg, &q, &hash, &r, &s), Ok(()));
            assert_eq!(ecschnorr_verify(curve, alg, &q, &other, &r, &s), none);
            assert_eq!(ecschnorr_verify(curve, alg, &q, &hash, &s, &r), none);

            // ECDAA with the generator as its base is Schnorr's signature with the nonce in the hash.
            let (commit, e) = keygen(curve, &mut rng);
            let signature = ecdaa_sign(curve, alg, &d, &commit, &hash, &mut rng).unwrap();
            let mut t = digest(alg, &[&signature.r, &hash]);
            t.truncate(curve.size());
            let generator = Point {
                x: tpm_engine::buf::Buf::from_prefix(curve.parameters().gx),
                y: tpm_engine::buf::Buf::from_prefix(curve.parameters().gy),
            };
            let right = mul_add(curve, &[1], &e, &t, &q).unwrap();
            assert_eq!(mul(curve, &signature.s, &generator).unwrap(), right);
        }
    }
}

/// Frozen as RSA's; the answers come from Python.
#[test]
fn keys_from_a_fixed_stream_are_the_same_for_ever() {
    for (curve, keys) in [
        (
            Curve::P256,
            [
                "43f7e30405beb3c6d079054b8ea7ea07b9fa93f6290e8deee5b8261a7c317f46",
                "e1f2261a450eee67d8e2ae83fc7786847f0ba87d0d611da70fe07f4f57b47f9e",
            ],
        ),
        (
            Curve::P384,
            [
                "c2310c6539272bd5a1ea5b9121a0d8da3a4a0ac7538fa945
                 e41b1cc98bf1cda11c2e8be364ceae80391c00e69d24cc1a",
                "3c171b42004a0aacd3487321134fa3abb9dd6ba4384c8954
                 ada67fe43ad02b4678603e8d2b237b4b7f9c657cc10b092c",
            ],
        ),
    ] {
        let mut rng = Drbg::instantiate(b"frozen for ever", b"ECC");
        for key in keys {
            assert_eq!(keygen(curve, &mut rng).0.to_vec(), hex(key));
        }
    }
}

#[test]
fn both_sides_of_diffie_hellman_agree() {
    let mut rng = Drbg::instantiate(b"ecc", b"agreement");
    for curve in Curve::ALL {
        let ((a, p), (b, q)) = (keygen(curve, &mut rng), keygen(curve, &mut rng));
        assert_eq!(mul(curve, &a, &q), mul(curve, &b, &p));
        assert_eq!(public_of(curve, &a).unwrap(), p);
        assert_eq!(mul_add(curve, &a, &q, &[], &p), mul(curve, &b, &p));
        assert!(on_curve(curve, &p));
        let n = curve.parameters().n;
        assert_eq!(private_from_bytes(curve, n).unwrap_err(), CryptoError::Key);
        assert_eq!(
            private_from_bytes(curve, &[0]).unwrap_err(),
            CryptoError::Key
        );
        assert_eq!(*private_from_bytes(curve, &a).unwrap(), *a);
        let mut off = p.clone();
        off.y.as_mut_slice()[31] ^= 1;
        assert!(!on_curve(curve, &off));
        assert!(!on_curve(curve, &Point::default()));
        assert_eq!(mul(curve, &a, &off), Err(CryptoError::Point));
        // n − 1 is −1: adding a point to its negative gives none.
        let mut minus_one = n.to_vec();
        *minus_one.last_mut().unwrap() -= 1;
        assert_eq!(
            mul_add(curve, &[1], &p, &minus_one, &p),
            Err(CryptoError::Point)
        );
        assert_eq!(
            *private_from_extra(curve, &[]),
            *private_from_bytes(curve, &[1]).unwrap()
        );
        assert_eq!(
            *private_from_extra(curve, &minus_one),
            *private_from_extra(curve, &[])
        );
    }
}
