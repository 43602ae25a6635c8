//! Making an object from a template and a source of random bytes (Part 1 §24.5 to §24.7): what is drawn, and in which order,
//! is the same for ordinary, primary and derived objects, and frozen (docs: tpm-derivation).

use crate::buf::Secret;
use crate::crypto::drbg::Rng;
use crate::crypto::hash::{self, HashAlg};
use crate::crypto::{CryptoError, ecc, rsa};
use crate::limits::{MAX_AUTH, MAX_SENSITIVE, MAX_SYM_DATA};
use crate::rc::{Rc, Result};
use crate::types::{Digest, ObjectAttributes as A, Parameters, Public, Scheme, Sensitive, Unique};

/// Most bytes of the secret of a keyed hash object: a key must not be longer than its hash's block.
pub(crate) fn most_data(scheme: &Scheme) -> usize {
    scheme
        .hash
        .map_or(MAX_SYM_DATA, |hash| hash.block_size().min(MAX_SYM_DATA))
}

/// What stands for the public key of a cipher or keyed hash.
pub(crate) fn symmetric_unique(alg: HashAlg, sensitive: &Sensitive) -> Digest {
    hash::digest(alg, &[&sensitive.seed, &sensitive.secret])
}

/// Draws the key, or takes `data` for it, and fills in the public key of an asymmetric one.
///
/// # Errors
/// RANGE: an exponent that cannot be; SIZE, KEY_SIZE: `data` is too long, or not as long as the key must be.
pub(crate) fn key(
    public: &mut Public,
    data: &[u8],
    rng: &mut dyn Rng,
) -> Result<Secret<MAX_SENSITIVE>> {
    match &public.parameters {
        Parameters::Rsa { bits, exponent, .. } => {
            let e = super::exponent(*exponent);
            if !is_prime(e) {
                return Err(Rc::RANGE);
            }
            let (n, p) = rsa::generate(u32::from(*bits), e, rng).map_err(|e| match e {
                CryptoError::Value => Rc::RANGE,
                _ => Rc::VALUE,
            })?;
            public.unique = Unique::Rsa(n);
            Ok(Secret::from_slice(&p)?)
        }
        Parameters::Ecc { curve, .. } => {
            let (d, point) = ecc::keygen(*curve, rng);
            public.unique = Unique::Ecc(point);
            Ok(Secret::from_slice(&d)?)
        }
        Parameters::SymCipher { sym } => {
            if !data.is_empty() && data.len() != sym.key_bytes() {
                return Err(Rc::KEY_SIZE);
            }
            draw_or(data, sym.key_bytes(), rng)
        }
        Parameters::KeyedHash { scheme } => {
            // A key for every scheme could be used with the hash of the Name.
            let uses = A::SIGN.union(A::DECRYPT);
            let most = match public.name_alg {
                Some(alg) if scheme.is_null() && public.attributes.contains(uses) => {
                    alg.block_size()
                }
                _ => most_data(scheme),
            };
            if data.len() > most {
                return Err(Rc::SIZE);
            }
            // Part 1 §24.7.5.1 says the digest of nameAlg; every TPM that follows the reference code takes the scheme's, and
            // derived keys are to be the same everywhere.
            let alg = scheme.hash.or(public.name_alg);
            draw_or(data, alg.map_or(0, HashAlg::size), rng)
        }
    }
}

fn draw_or(data: &[u8], size: usize, rng: &mut dyn Rng) -> Result<Secret<MAX_SENSITIVE>> {
    if !data.is_empty() {
        return Ok(Secret::from_slice(data)?);
    }
    let mut secret = Secret::zeroed(size);
    rng.fill(secret.as_mut_slice());
    Ok(secret)
}

/// Draws the seed that parents and symmetric objects have, and fills in the `unique` of the latter.
///
/// # Errors
/// HASH: there is no algorithm for Names.
pub(crate) fn finish(
    public: &mut Public,
    auth: Secret<MAX_AUTH>,
    secret: Secret<MAX_SENSITIVE>,
    rng: &mut dyn Rng,
) -> Result<Sensitive> {
    let alg = public.name_alg.ok_or(Rc::HASH)?;
    let kind = public.object_type();
    let is_parent = public.attributes.contains(A::RESTRICTED.union(A::DECRYPT));
    let mut sensitive = Sensitive {
        kind,
        auth,
        seed: Secret::new(),
        secret,
    };
    if is_parent || !kind.is_asymmetric() {
        sensitive.seed = Secret::zeroed(alg.size());
        rng.fill(sensitive.seed.as_mut_slice());
    }
    if !kind.is_asymmetric() {
        public.unique = Unique::Digest(symmetric_unique(alg, &sensitive));
    }
    Ok(sensitive)
}

/// Whether a public exponent is a prime, by trial division: for 65537, the only one in use, it is known.
fn is_prime(e: u32) -> bool {
    e == super::exponent(0)
        || e > 2
            && e & 1 == 1
            && (3..=0xFFFFu32)
                .step_by(2)
                .take_while(|d| d.checked_mul(*d).is_some_and(|square| square <= e))
                .all(|d| e.checked_rem(d) != Some(0))
}
