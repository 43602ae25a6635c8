//! Elliptic curves: keys from a fixed stream, and that what one side does the other undoes.

use std::time::Instant;

use tpm_engine::crypto::CryptoError;
use tpm_engine::crypto::drbg::Drbg;
use tpm_engine::crypto::ecc::*;
use tpm_engine::crypto::hash::{HashAlg, digest};

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

#[test]
#[ignore = "a measurement: run it in release"]
fn speed() {
    let mut rng = Drbg::instantiate(b"speed", b"");
    let hash = digest(HashAlg::Sha256, &[b"message"]);
    for curve in Curve::ALL {
        let mut best = |name: &str, f: &mut dyn FnMut(&mut Drbg)| {
            let time = (0..500)
                .map(|_| {
                    let start = Instant::now();
                    f(&mut rng);
                    start.elapsed()
                })
                .min();
            println!("{curve:?} {name}: {:?}", time.unwrap());
        };
        let (d, q) = keygen(curve, &mut Drbg::instantiate(b"speed", b"key"));
        let signature = ecdsa_sign(curve, &d, &hash, &mut Drbg::instantiate(b"k", b"")).unwrap();
        best("keygen", &mut |rng| {
            keygen(curve, rng);
        });
        best("random", &mut |rng| {
            random(curve, rng);
        });
        best("ecdsa_sign", &mut |rng| {
            ecdsa_sign(curve, &d, &hash, rng).unwrap();
        });
        best("ecdsa_verify", &mut |_| {
            ecdsa_verify(curve, &q, &hash, &signature.r, &signature.s).unwrap();
        });
        best("mul", &mut |_| {
            mul(curve, &d, &q).unwrap();
        });
        let mut out = [0; 32];
        best("32 random bytes", &mut |rng| rng.generate(&mut out));
    }
}
