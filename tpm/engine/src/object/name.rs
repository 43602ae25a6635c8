//! Names and qualified Names (Part 1 §14, §23.5).

use crate::buf::Buf;
use crate::codec::to_buf;
use crate::crypto::hash::{self, HashAlg};
use crate::limits::MAX_RSA_BYTES;
use crate::types::{Name, Public};

/// Longest TPMT_PUBLIC: a modulus, a policy, and 40 bytes of numbers.
pub(crate) const MAX_PUBLIC: usize = MAX_RSA_BYTES + 2 + 66 + 40;

/// An algorithm and the digest of `parts`.
pub(crate) fn tagged(alg: HashAlg, parts: &[&[u8]]) -> Name {
    let mut name = Name::from_prefix(&alg.id().to_be_bytes());
    // It fits: MAX_NAME is made for the longest digest.
    let _ = name.extend(&hash::digest(alg, parts));
    name
}

/// The Name of an object with this public area; empty where it has no algorithm for Names.
pub(crate) fn of(public: &Public) -> Name {
    match (public.name_alg, to_buf::<MAX_PUBLIC>(public)) {
        (Some(alg), Ok(bytes)) => tagged(alg, &[&bytes]),
        _ => Name::new(),
    }
}

/// The qualified Name of the object `name` under a parent, or a hierarchy, with the qualified Name `parent`.
pub(crate) fn qualified(alg: Option<HashAlg>, parent: &[u8], name: &Name) -> Name {
    alg.map_or_else(Name::new, |alg| tagged(alg, &[parent, name]))
}

/// The Name, and qualified Name, of a permanent handle.
pub(crate) fn of_handle(handle: u32) -> Name {
    Buf::from_prefix(&handle.to_be_bytes())
}
