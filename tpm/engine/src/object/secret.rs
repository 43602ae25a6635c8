//! Seeds and salts that are sent to a key: the labeled key encapsulation of Part 1 §43.10 (RSA: OAEP) and §44.7 (ECC:
//! a Diffie-Hellman exchange with an ephemeral key, then KDFe).

use zeroize::Zeroize;

use crate::buf::{Buf, Secret};
use crate::codec::{Reader, build};
use crate::context::Context;
use crate::crypto::drbg::Rng;
use crate::crypto::{CryptoError, ecc, kdf, rsa};
use crate::limits::{MAX_DIGEST, MAX_ECC_BYTES, MAX_ENCRYPTED_SECRET};
use crate::object::Object;
use crate::rc::{Rc, Result};
use crate::types::{Parameters, Point, Public, Unique};

/// A label, with its final zero byte.
pub(crate) type Label = &'static [u8];
/// Of the salt of a session.
pub(crate) const SECRET: Label = b"SECRET\0";
/// Of the seed of a duplicate.
pub(crate) const DUPLICATE: Label = b"DUPLICATE\0";
/// Of the seed of a credential.
pub(crate) const IDENTITY: Label = b"IDENTITY\0";

/// A seed or salt.
pub(crate) type Seed = Secret<MAX_DIGEST>;

/// Decrypts `encrypted` with the loaded key `handle`, which is a decryption key with its private part.
///
/// # Errors
/// VALUE, SIZE, INSUFFICIENT, ECC_POINT: it was not encrypted to this key. KEY: the key cannot do this.
pub(crate) fn decrypt(
    cx: &mut Context<'_>,
    handle: u32,
    label: Label,
    encrypted: &[u8],
) -> Result<Seed> {
    cx.rng()?;
    let key = cx.s.objects.object(handle)?;
    decrypt_with(key, &mut cx.s.drbg, label, encrypted)
}

/// As [`decrypt`].
pub(crate) fn decrypt_with(
    key: &Object,
    rng: &mut dyn Rng,
    label: Label,
    encrypted: &[u8],
) -> Result<Seed> {
    let alg = key.public.name_alg.ok_or(Rc::KEY)?;
    match (&key.public.parameters, &key.public.unique) {
        (Parameters::Rsa { .. }, _) => {
            let private = key.rsa.as_ref().ok_or(Rc::KEY)?;
            // OAEP with nameAlg, whatever the key's scheme says: that is what callers encrypt with.
            let seed =
                rsa::oaep_decrypt(private, alg, label, rng, encrypted).map_err(|e| match e {
                    CryptoError::Size => Rc::SIZE,
                    CryptoError::Fault => Rc::FAILURE,
                    _ => Rc::VALUE,
                })?;
            if seed.len() > alg.size() {
                return Err(Rc::VALUE);
            }
            Ok(Seed::from_slice(&seed)?)
        }
        (Parameters::Ecc { curve, .. }, Unique::Ecc(own)) => {
            let sensitive = key.sensitive.as_ref().ok_or(Rc::KEY)?;
            // What is behind the point is ignored, as the oracle does.
            let ephemeral: Point = Reader::new(encrypted).get()?;
            let shared = exchange(*curve, &sensitive.secret, &ephemeral)?;
            Ok(derive(&key.public, &shared, label, &ephemeral.x, &own.x))
        }
        _ => Err(Rc::KEY),
    }
}

/// A new seed, and the same encrypted to `key`.
///
/// # Errors
/// KEY: it is no key that can do this.
pub(crate) fn encrypt(
    key: &Public,
    rng: &mut dyn Rng,
    label: Label,
) -> Result<(Seed, Buf<MAX_ENCRYPTED_SECRET>)> {
    let alg = key.name_alg.ok_or(Rc::KEY)?;
    match (&key.parameters, &key.unique) {
        (Parameters::Rsa { exponent, .. }, Unique::Rsa(n)) => {
            let mut seed = Seed::zeroed(alg.size());
            rng.fill(seed.as_mut_slice());
            let mut out = Buf::zeroed(n.len());
            rsa::oaep_encrypt(
                (n, super::exponent(*exponent)),
                alg,
                label,
                &seed,
                rng,
                out.as_mut_slice(),
            )
            .map_err(|_| Rc::KEY)?;
            Ok((seed, out))
        }
        (Parameters::Ecc { curve, .. }, Unique::Ecc(own)) => {
            let (d, ephemeral) = ecc::keygen(*curve, rng);
            let shared = exchange(*curve, &d, own)?;
            let seed = derive(key, &shared, label, &ephemeral.x, &own.x);
            Ok((seed, build(|w| w.put(&ephemeral))?))
        }
        _ => Err(Rc::KEY),
    }
}

fn exchange(curve: ecc::Curve, d: &[u8], point: &Point) -> Result<Secret<MAX_ECC_BYTES>> {
    let mut shared = ecc::mul(curve, d, point).map_err(|_| Rc::ECC_POINT)?;
    let x = Secret::from_slice(&shared.x)?;
    shared.x.zeroize();
    shared.y.zeroize();
    Ok(x)
}

/// KDFe with x coordinates as they came: a caller that leaves out leading zeros (tpm2-tools does, of the ephemeral key's)
/// leaves them out of its own derivation too, and libtpms takes them likewise. What the TPM makes has all of them
/// (Part 1 §44.5.3).
fn derive(key: &Public, shared: &[u8], label: Label, ephemeral: &[u8], own: &[u8]) -> Seed {
    let Some(alg) = key.name_alg else {
        return Seed::new();
    };
    let mut seed = Seed::zeroed(alg.size());
    kdf::kdfe(
        alg,
        shared,
        label,
        ephemeral,
        own,
        (alg.size() as u32).wrapping_mul(8),
        seed.as_mut_slice(),
    );
    seed
}

/// `number` with zeros in front, as long as a coordinate.
pub(crate) fn full(curve: ecc::Curve, number: &[u8]) -> Buf<MAX_ECC_BYTES> {
    let mut out = Buf::zeroed(curve.size());
    for (to, from) in out.as_mut_slice().iter_mut().rev().zip(number.iter().rev()) {
        *to = *from;
    }
    out
}
