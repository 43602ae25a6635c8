//! TPMT_SIGNATURE (Part 2 §11.3).

use super::{Digest, HashAlg, alg};
use crate::buf::Buf;
use crate::codec::{Marshal, Reader, Unmarshal, Writer};
use crate::limits::{MAX_ECC_BYTES, MAX_RSA_BYTES};
use crate::rc::{Rc, Result};

/// A signature or MAC.
#[allow(
    clippy::large_enum_variant,
    reason = "held in place: nothing allocates while a command runs"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// TPM_ALG_NULL: none.
    Null,
    /// RSASSA or RSAPSS.
    Rsa {
        /// Which.
        alg: u16,
        /// The hash.
        hash: HashAlg,
        /// As long as the modulus.
        sig: Buf<MAX_RSA_BYTES>,
    },
    /// ECDSA, ECDAA or ECSCHNORR.
    Ecc {
        /// Which.
        alg: u16,
        /// The hash.
        hash: HashAlg,
        /// r.
        r: Buf<MAX_ECC_BYTES>,
        /// s.
        s: Buf<MAX_ECC_BYTES>,
    },
    /// HMAC.
    Hmac {
        /// The hash.
        hash: HashAlg,
        /// As long as the hash.
        digest: Digest,
    },
}

impl Signature {
    /// The hash of what is signed.
    pub const fn hash(&self) -> Option<HashAlg> {
        match self {
            Signature::Null => None,
            Signature::Rsa { hash, .. }
            | Signature::Ecc { hash, .. }
            | Signature::Hmac { hash, .. } => Some(*hash),
        }
    }

    /// TPMT_SIGNATURE+: TPM_ALG_NULL is allowed where `null`.
    ///
    /// # Errors
    /// SCHEME, HASH, SIZE.
    pub fn read(r: &mut Reader<'_>, null: bool) -> Result<Self> {
        let alg = r.u16()?;
        Ok(match alg {
            alg::NULL if null => Signature::Null,
            alg::RSASSA | alg::RSAPSS => Signature::Rsa {
                alg,
                hash: r.get()?,
                sig: r.get()?,
            },
            alg::ECDSA | alg::ECDAA | alg::ECSCHNORR => Signature::Ecc {
                alg,
                hash: r.get()?,
                r: r.get()?,
                s: r.get()?,
            },
            alg::HMAC => {
                // TPMT_HA: the digest has no size of its own.
                let hash: HashAlg = r.get()?;
                Signature::Hmac {
                    hash,
                    digest: Buf::from_prefix(r.bytes(hash.size())?),
                }
            }
            _ => return Err(Rc::SCHEME),
        })
    }
}

impl Unmarshal for Signature {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        Signature::read(r, false)
    }
}

impl Marshal for Signature {
    fn marshal(&self, w: &mut Writer<'_>) {
        match self {
            Signature::Null => w.u16(alg::NULL),
            Signature::Rsa { alg, hash, sig } => {
                w.u16(*alg);
                w.put(hash);
                w.put(sig);
            }
            Signature::Ecc { alg, hash, r, s } => {
                w.u16(*alg);
                w.put(hash);
                w.put(r);
                w.put(s);
            }
            Signature::Hmac { hash, digest } => {
                w.u16(alg::HMAC);
                w.put(hash);
                w.bytes(digest);
            }
        }
    }
}
