//! Signatures with the keys of the TPM, and their verification (Part 1 Annex B.7, C.4; Part 3 §20).

use crate::buf::Buf;
use crate::commands::ephemeral;
use crate::context::Context;
use crate::crypto::CryptoError;
use crate::crypto::ecc;
use crate::crypto::hmac::hmac;
use crate::crypto::rsa;
use crate::limits::MAX_RSA_BYTES;
use crate::object::Object;
use crate::rc::{Rc, Result};
use crate::types::{ObjectAttributes, Parameters, Public, Scheme, Signature, Unique, alg, rh};

/// RSA's public exponent when the parameter is zero.
pub(crate) const DEFAULT_EXPONENT: u32 = 65537;

/// The public exponent of an RSA key.
pub(crate) const fn exponent(parameter: u32) -> u32 {
    if parameter == 0 {
        DEFAULT_EXPONENT
    } else {
        parameter
    }
}

/// Modulus and exponent of an RSA key.
pub(crate) fn rsa_public(public: &Public) -> Option<(&[u8], u32)> {
    match (&public.parameters, &public.unique) {
        (Parameters::Rsa { exponent: e, .. }, Unique::Rsa(n)) => Some((n, exponent(*e))),
        _ => None,
    }
}

/// The scheme that a signing command uses: the key's, or where that leaves it open the caller's (Part 1 §24.7).
///
/// # Errors
/// SCHEME: neither says, or they differ, or the key cannot do it.
pub(crate) fn select_scheme(object: &Object, wanted: Scheme) -> Result<Scheme> {
    let own = object.public.parameters.scheme();
    let scheme = if own.is_null() {
        wanted
    } else if wanted.is_null() {
        own
    } else if own.alg == wanted.alg && own.hash == wanted.hash {
        wanted
    } else {
        return Err(Rc::SCHEME);
    };
    let fits = match object.public.parameters {
        Parameters::Rsa { .. } => matches!(scheme.alg, alg::RSASSA | alg::RSAPSS),
        Parameters::Ecc { .. } => {
            matches!(scheme.alg, alg::ECDSA | alg::ECDAA | alg::ECSCHNORR)
        }
        Parameters::KeyedHash { .. } => scheme.alg == alg::HMAC,
        Parameters::SymCipher { .. } => false,
    };
    if fits { Ok(scheme) } else { Err(Rc::SCHEME) }
}

/// Whether the key may sign.
///
/// # Errors
/// KEY.
pub(crate) fn check_signing_key(object: &Object) -> Result<()> {
    if object.has(ObjectAttributes::SIGN) && object.public.object_type().id() != alg::SYMCIPHER {
        Ok(())
    } else {
        Err(Rc::KEY)
    }
}

/// Signs `digest` with the key behind `handle`; TPM_RH_NULL signs nothing.
///
/// # Errors
/// KEY: its sensitive area is not loaded. SIZE: the digest is not one of the scheme's hash. FAILURE: a self-check of the
/// arithmetic failed.
pub(crate) fn sign(
    cx: &mut Context<'_>,
    handle: u32,
    scheme: Scheme,
    digest: &[u8],
) -> Result<Signature> {
    if handle == rh::NULL {
        return Ok(Signature::Null);
    }
    let Some(hash) = scheme.hash else {
        return Err(Rc::SCHEME);
    };
    cx.rng()?;
    let s = &mut *cx.s;
    let committed = match s.objects.get(handle).map(|object| object.public.parameters) {
        Some(Parameters::Ecc { curve, .. }) if scheme.alg == alg::ECDAA => {
            ephemeral::scalar(s, curve, scheme.extra)
        }
        _ => None,
    };
    let object = s.objects.get(handle).ok_or(Rc::KEY)?;
    let rng = &mut s.drbg;
    let secret = object.sensitive.as_ref().ok_or(Rc::KEY)?;
    match &object.public.parameters {
        Parameters::Rsa { .. } => {
            let key = object.rsa.as_ref().ok_or(Rc::KEY)?;
            let mut sig: Buf<MAX_RSA_BYTES> = Buf::zeroed(key.size());
            match scheme.alg {
                alg::RSASSA => rsa::pkcs1_sign(key, hash, digest, rng, sig.as_mut_slice()),
                _ => rsa::pss_sign(key, hash, digest, rng, sig.as_mut_slice()),
            }
            .map_err(failure)?;
            Ok(Signature::Rsa {
                alg: scheme.alg,
                hash,
                sig,
            })
        }
        Parameters::Ecc { curve, .. } => {
            let d = &secret.secret;
            let sig = match scheme.alg {
                alg::ECDSA => ecc::ecdsa_sign(*curve, d, digest, rng),
                alg::ECDAA => {
                    let r = committed.as_deref().ok_or(Rc::VALUE)?;
                    ecc::ecdaa_sign(*curve, hash, d, r, digest, rng)
                }
                _ => ecc::ecschnorr_sign(*curve, hash, d, digest, rng),
            }
            .map_err(failure)?;
            if scheme.alg == alg::ECDAA {
                ephemeral::used(s, scheme.extra);
            }
            Ok(Signature::Ecc {
                alg: scheme.alg,
                hash,
                r: sig.r,
                s: sig.s,
            })
        }
        Parameters::KeyedHash { .. } => Ok(Signature::Hmac {
            hash,
            digest: hmac(hash, &secret.secret, &[digest]),
        }),
        Parameters::SymCipher { .. } => Err(Rc::KEY),
    }
}

/// What a failed private operation means.
pub(crate) fn failure(error: CryptoError) -> Rc {
    match error {
        CryptoError::Size => Rc::SIZE,
        CryptoError::Value => Rc::VALUE,
        _ => Rc::FAILURE,
    }
}

/// Verifies a signature of `digest`.
///
/// # Errors
/// SIGNATURE: it is none. SCHEME: not one of this kind of key. HANDLE: an HMAC key of which only the public area is loaded.
pub(crate) fn verify(object: &Object, digest: &[u8], signature: &Signature) -> Result<()> {
    let good = match (&object.public.parameters, &object.public.unique, signature) {
        (Parameters::Rsa { .. }, _, Signature::Rsa { alg, hash, sig }) => {
            let public = rsa_public(&object.public).ok_or(Rc::KEY)?;
            match *alg {
                alg::RSASSA => rsa::pkcs1_verify(public, *hash, digest, sig).is_ok(),
                _ => rsa::pss_verify(public, *hash, digest, sig).is_ok(),
            }
        }
        (Parameters::Ecc { curve, .. }, Unique::Ecc(point), Signature::Ecc { alg, hash, r, s }) => {
            match *alg {
                alg::ECDSA => ecc::ecdsa_verify(*curve, point, digest, r, s).is_ok(),
                alg::ECSCHNORR => ecc::ecschnorr_verify(*curve, *hash, point, digest, r, s).is_ok(),
                _ => return Err(Rc::SCHEME),
            }
        }
        (Parameters::KeyedHash { .. }, _, Signature::Hmac { hash, digest: mac }) => {
            let sensitive = object.sensitive.as_ref().ok_or(Rc::HANDLE)?;
            crate::buf::ct_eq(&hmac(*hash, &sensitive.secret, &[digest]), mac)
        }
        (_, _, Signature::Null) => false,
        _ => return Err(Rc::SCHEME),
    };
    if good { Ok(()) } else { Err(Rc::SIGNATURE) }
}
