//! How sensitive areas and credentials are protected outside of the TPM (Part 1 §19, §20.3, §21): encrypted in CFB mode
//! with a key from a seed and the object's Name, with an HMAC in front, whose key is from the same seed.

use crate::buf::{Buf, Secret, ct_eq};
use crate::codec::{Marshal, Reader, Writer};
use crate::crypto::hash::{self, HashAlg};
use crate::crypto::hmac::hmac;
use crate::crypto::kdf::kdfa;
use crate::crypto::sym::{self, BLOCK};
use crate::limits::{MAX_DIGEST, MAX_PRIVATE, MAX_SYM_KEY_BYTES};
use crate::object::Object;
use crate::rc::{Rc, Result};
use crate::types::{Digest, Public, Sensitive, SymObject};

/// TPM2B_PRIVATE, and what else is protected in this way.
pub(crate) type Private = Buf<MAX_PRIVATE>;
/// The same before it is protected.
pub(crate) type Plain = Secret<MAX_PRIVATE>;

/// The keys of the outer wrapper: of a parent's algorithms, from its seed or from one that was sent along.
pub(crate) struct Outer<'a> {
    alg: HashAlg,
    sym: SymObject,
    seed: &'a [u8],
}

impl<'a> Outer<'a> {
    /// With the algorithms of `parent`.
    ///
    /// # Errors
    /// TYPE: it is no storage parent.
    pub(crate) fn new(parent: &Public, seed: &'a [u8]) -> Result<Self> {
        Ok(Outer {
            alg: parent.name_alg.ok_or(Rc::TYPE)?,
            sym: parent.parameters.symmetric().ok_or(Rc::TYPE)?,
            seed,
        })
    }

    /// With the algorithms and the seed of `parent`: for its children.
    ///
    /// # Errors
    /// TYPE: it is no storage parent.
    pub(crate) fn child(parent: &'a Object) -> Result<Self> {
        let sensitive = parent.sensitive.as_ref().ok_or(Rc::TYPE)?;
        Outer::new(&parent.public, &sensitive.seed)
    }

    fn key(&self, name: &[u8]) -> Secret<MAX_SYM_KEY_BYTES> {
        let mut key = Secret::zeroed(self.sym.key_bytes());
        let bits = u32::from(self.sym.bits);
        kdfa(
            self.alg,
            self.seed,
            b"STORAGE",
            name,
            &[],
            bits,
            key.as_mut_slice(),
        );
        key
    }

    fn integrity(&self, name: &[u8], body: &[u8]) -> Digest {
        let mut key = Secret::<MAX_DIGEST>::zeroed(self.alg.size());
        let bits = (self.alg.size() as u32).wrapping_mul(8);
        kdfa(
            self.alg,
            self.seed,
            b"INTEGRITY",
            &[],
            &[],
            bits,
            key.as_mut_slice(),
        );
        hmac(self.alg, &key, &[body, name])
    }

    /// Protects `plain` for the object `name`: TPM2B_DIGEST, TPM2B_IV where there is an `iv`, ciphertext.
    ///
    /// # Errors
    /// SIZE: it does not fit.
    pub(crate) fn wrap(
        &self,
        name: &[u8],
        iv: Option<&[u8; BLOCK]>,
        plain: &[u8],
    ) -> Result<Private> {
        let mut data = Plain::from_slice(plain)?;
        let iv_or_zero = iv.copied().unwrap_or_default();
        sym::cfb_encrypt(&self.key(name), &iv_or_zero, data.as_mut_slice())
            .map_err(|_| Rc::FAILURE)?;
        let body: Private = crate::codec::build(|w| {
            if let Some(iv) = iv {
                w.sized_bytes(iv);
            }
            w.bytes(&data);
        })?;
        crate::codec::build(|w| {
            w.sized_bytes(&self.integrity(name, &body));
            w.bytes(&body);
        })
    }

    /// Undoes [`Outer::wrap`].
    ///
    /// # Errors
    /// INTEGRITY; SIZE and INSUFFICIENT for a malformed structure.
    pub(crate) fn unwrap(&self, name: &[u8], has_iv: bool, blob: &[u8]) -> Result<Plain> {
        let mut r = Reader::new(blob);
        let integrity = r.sized_bytes(MAX_DIGEST)?;
        if !ct_eq(integrity, &self.integrity(name, r.rest())) {
            return Err(Rc::INTEGRITY);
        }
        let mut iv = [0; BLOCK];
        if has_iv {
            iv = r.sized_bytes(BLOCK)?.try_into().map_err(|_| Rc::SIZE)?;
        }
        let mut data = Plain::from_slice(r.rest())?;
        sym::cfb_decrypt(&self.key(name), &iv, data.as_mut_slice()).map_err(|_| Rc::FAILURE)?;
        Ok(data)
    }
}

/// TPM2B_SENSITIVE, in which the authorization value is padded: its length would be known from the ciphertext's.
struct Padded<'a> {
    sensitive: &'a Sensitive,
    alg: Option<HashAlg>,
}

impl Marshal for Padded<'_> {
    fn marshal(&self, w: &mut Writer<'_>) {
        let s = self.sensitive;
        w.sized(|w| {
            let auth_size = self.alg.map_or(0, HashAlg::size).max(s.auth.len());
            w.u16(s.kind.id());
            w.u16(auth_size as u16);
            w.bytes(&s.auth);
            for _ in s.auth.len()..auth_size {
                w.u8(0);
            }
            w.put(&s.seed);
            w.put(&s.secret);
        });
    }
}

/// `write`'s output as a secret.
fn plain(write: impl FnOnce(&mut Writer<'_>)) -> Result<Plain> {
    let mut out = Plain::zeroed(MAX_PRIVATE);
    let mut w = Writer::new(out.as_mut_slice());
    write(&mut w);
    let len = w.finish()?;
    out.buf_mut().truncate(len);
    Ok(out)
}

/// TPM2B_SENSITIVE with the length that it says and no other.
fn parse(bytes: &[u8]) -> Result<Sensitive> {
    let mut r = Reader::new(bytes);
    if usize::from(r.u16()?) != r.rest().len() {
        return Err(Rc::SIZE);
    }
    let sensitive = r.get()?;
    if r.is_empty() {
        Ok(sensitive)
    } else {
        Err(Rc::SIZE)
    }
}

/// TPM2B_PRIVATE of a child of `parent`.
///
/// # Errors
/// TYPE: it is no storage parent.
pub(crate) fn to_private(
    parent: &Object,
    public: &Public,
    name: &[u8],
    sensitive: &Sensitive,
    iv: &[u8; BLOCK],
) -> Result<Private> {
    let alg = public.name_alg;
    let bytes = plain(|w| w.put(&Padded { sensitive, alg }))?;
    Outer::child(parent)?.wrap(name, Some(iv), &bytes)
}

/// The sensitive area in the TPM2B_PRIVATE of a child of `parent`.
///
/// # Errors
/// INTEGRITY; those of the structure.
pub(crate) fn from_private(parent: &Object, name: &[u8], private: &[u8]) -> Result<Sensitive> {
    parse(&Outer::child(parent)?.unwrap(name, true, private)?)
}

/// What TPM2_Duplicate returns: `sensitive` in an inner wrapper with `inner`'s key, in an outer one.
///
/// # Errors
/// SIZE: it does not fit.
pub(crate) fn to_duplicate(
    outer: Option<&Outer<'_>>,
    inner: Option<&[u8]>,
    public: &Public,
    name: &[u8],
    sensitive: &Sensitive,
) -> Result<Private> {
    let alg = public.name_alg;
    let mut bytes = plain(|w| w.put(&Padded { sensitive, alg }))?;
    if let Some(key) = inner {
        let alg = alg.ok_or(Rc::TYPE)?;
        let digest = hash::digest(alg, &[&bytes, name]);
        let mut wrapped = plain(|w| {
            w.put(&digest);
            w.bytes(&bytes);
        })?;
        sym::cfb_encrypt(key, &[0; BLOCK], wrapped.as_mut_slice()).map_err(|_| Rc::FAILURE)?;
        bytes = wrapped;
    }
    match outer {
        Some(outer) => outer.wrap(name, None, &bytes),
        None => Ok(Private::from_prefix(&bytes)),
    }
}

/// Undoes [`to_duplicate`].
///
/// # Errors
/// INTEGRITY; those of the structure.
pub(crate) fn from_duplicate(
    outer: Option<&Outer<'_>>,
    inner: Option<&[u8]>,
    public: &Public,
    name: &[u8],
    duplicate: &[u8],
) -> Result<Sensitive> {
    let mut bytes = match outer {
        Some(outer) => outer.unwrap(name, false, duplicate)?,
        None => Plain::from_slice(duplicate)?,
    };
    let Some(key) = inner else {
        return parse(&bytes);
    };
    let alg = public.name_alg.ok_or(Rc::HASH)?;
    sym::cfb_decrypt(key, &[0; BLOCK], bytes.as_mut_slice()).map_err(|_| Rc::FAILURE)?;
    let mut r = Reader::new(&bytes);
    let integrity = r.sized_bytes(MAX_DIGEST)?;
    if !ct_eq(integrity, &hash::digest(alg, &[r.rest(), name])) {
        return Err(Rc::INTEGRITY);
    }
    parse(r.rest())
}
