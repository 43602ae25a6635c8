//! Primary and derived objects: sources of bytes that are functions of a seed, or of a parent's secret.
//!
//! [`create`] is version 1 of the function from seed and template to a primary object; it must never change, because an
//! endorsement key must be the same for ever. docs/src/tpm-derivation.md says what it is.

use crate::buf::Secret;
use crate::codec::to_buf;
use crate::crypto::drbg::{Drbg, Rng};
use crate::crypto::hash::{self, HashAlg};
use crate::crypto::kdf::kdfa;
use crate::limits::{MAX_AUTH, MAX_SYM_DATA};
use crate::object::{create as make, name::MAX_PUBLIC};
use crate::rc::Result;
use crate::state::State;
use crate::types::{ObjectAttributes, Public, Sensitive, SensitiveCreate, rh};

/// Which function [`create`] is; a TPM keeps the number that it was manufactured with.
pub(crate) const VERSION: u32 = 1;

/// What a primary object is made of.
pub(crate) struct Root<'a> {
    /// The primary seed.
    pub seed: &'a [u8],
    /// TPM_RH of the hierarchy.
    pub hierarchy: u32,
    /// shProof: an endorsement primary's children die with the owner's (Part 1 §24.7.4).
    pub owner_proof: &'a [u8],
}

impl<'a> Root<'a> {
    /// Of `hierarchy`.
    pub(crate) fn new(s: &'a State, hierarchy: u32) -> Self {
        Root {
            seed: &s.seeds(hierarchy).seed,
            hierarchy,
            owner_proof: s.proof(rh::OWNER),
        }
    }
}

/// The data of the caller that becomes the key or the sealed data.
pub(crate) fn given<'a>(template: &Public, sensitive: &'a SensitiveCreate) -> &'a [u8] {
    if template
        .attributes
        .contains(ObjectAttributes::SENSITIVE_DATA_ORIGIN)
    {
        &[]
    } else {
        &sensitive.data
    }
}

/// The primary object that follows from `root`, a checked `template` and the caller's data; its authorization value
/// has no influence.
///
/// # Errors
/// Those of [`make::key`].
pub(crate) fn create(
    root: &Root<'_>,
    template: Public,
    sensitive: &SensitiveCreate,
) -> Result<(Public, Sensitive)> {
    let mut rng = generator(root, &template, &sensitive.data)?;
    let mut public = template;
    let data = given(&public, sensitive);
    let secret = make::key(&mut public, data, &mut rng)?;
    if root.hierarchy == rh::ENDORSEMENT {
        rng.stir(root.owner_proof);
    }
    let auth = Secret::<MAX_AUTH>::from_slice(&sensitive.auth)?;
    let sensitive = make::finish(&mut public, auth, secret, &mut rng)?;
    Ok((public, sensitive))
}

fn generator(root: &Root<'_>, template: &Public, data: &[u8]) -> Result<Drbg> {
    let bytes = to_buf::<MAX_PUBLIC>(template)?;
    let alg = HashAlg::Sha512;
    let template = hash::digest(alg, &[&bytes, data]);
    let mut key = Secret::<64>::zeroed(64);
    kdfa(
        alg,
        root.seed,
        b"PRIMARY OBJECT 1",
        &root.hierarchy.to_be_bytes(),
        &template,
        512,
        key.as_mut_slice(),
    );
    Ok(Drbg::instantiate(&key, b""))
}

/// Bytes of derivation that are made: no key and seed together need more.
const STREAM: usize = 2 * MAX_SYM_DATA;

/// What derived objects are made of (Part 1 §25.4): KDFa over the parent's secret with label and context.
pub(crate) struct Derivation {
    stream: Secret<STREAM>,
    used: usize,
}

impl Derivation {
    /// From the `secret` of a parent whose scheme has the hash `alg`.
    pub(crate) fn new(alg: HashAlg, secret: &[u8], label: &[u8], context: &[u8]) -> Self {
        let mut stream = Secret::zeroed(STREAM);
        kdfa(
            alg,
            secret,
            label,
            context,
            &[],
            8192,
            stream.as_mut_slice(),
        );
        Derivation { stream, used: 0 }
    }
}

impl Rng for Derivation {
    fn fill(&mut self, out: &mut [u8]) {
        let end = self.used.saturating_add(out.len());
        if let Some(bytes) = self.stream.get(self.used..end) {
            out.copy_from_slice(bytes);
        }
        self.used = end;
    }
}
