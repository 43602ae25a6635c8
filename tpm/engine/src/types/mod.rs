//! TPM Part 2: constants and structures, as far as the profile has them.

mod attributes;
pub mod constants;
mod object;
mod pcr;
mod scheme;
mod signature;
mod tags;

pub use attributes::{NvAttributes, ObjectAttributes, SessionAttributes};
pub use constants::{alg, cap, cc, hr, pt, rh, st};
pub use object::{
    Derive, Name, ObjectType, Parameters, Public, Sensitive, SensitiveCreate, Template, Unique,
};
pub use pcr::{PcrSelection, PcrSelections};
pub use scheme::{Scheme, SymDef, SymObject};
pub use signature::Signature;
pub use tags::{DigestList, HashValue, NvPublic, Ticket};

pub use crate::crypto::ecc::{Curve, Point};
pub use crate::crypto::hash::{Digest, HashAlg};
pub use crate::crypto::sym::Mode;
