//! Algorithms with their details: TPMT_SYM_DEF, TPMT_SYM_DEF_OBJECT and the schemes (Part 2 §11).

use super::{Curve, HashAlg, Mode, alg};
use crate::codec::{Marshal, Reader, Unmarshal, Writer};
use crate::rc::{Rc, Result};

/// TPMI_ALG_HASH: without TPM_ALG_NULL.
impl Unmarshal for HashAlg {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        HashAlg::from_id(r.u16()?).ok_or(Rc::HASH)
    }
}

/// TPMI_ALG_HASH+: `None` is TPM_ALG_NULL.
impl Unmarshal for Option<HashAlg> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        match r.u16()? {
            alg::NULL => Ok(None),
            id => HashAlg::from_id(id).map(Some).ok_or(Rc::HASH),
        }
    }
}

impl Marshal for HashAlg {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u16(self.id());
    }
}

impl Marshal for Option<HashAlg> {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u16(self.map_or(alg::NULL, HashAlg::id));
    }
}

/// TPMI_ECC_CURVE.
impl Unmarshal for Curve {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        Curve::from_id(r.u16()?).ok_or(Rc::CURVE)
    }
}

impl Marshal for Curve {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u16(self.id());
    }
}

/// TPM_ALG_ID of a block cipher mode.
pub const fn mode_id(mode: Mode) -> u16 {
    match mode {
        Mode::Ctr => alg::CTR,
        Mode::Ofb => alg::OFB,
        Mode::Cbc => alg::CBC,
        Mode::Cfb => alg::CFB,
        Mode::Ecb => alg::ECB,
    }
}

const fn mode_from_id(id: u16) -> Option<Mode> {
    match id {
        alg::CTR => Some(Mode::Ctr),
        alg::OFB => Some(Mode::Ofb),
        alg::CBC => Some(Mode::Cbc),
        alg::CFB => Some(Mode::Cfb),
        alg::ECB => Some(Mode::Ecb),
        _ => None,
    }
}

/// TPMI_ALG_SYM_MODE+: `None` is TPM_ALG_NULL.
impl Unmarshal for Option<Mode> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        match r.u16()? {
            alg::NULL => Ok(None),
            id => mode_from_id(id).map(Some).ok_or(Rc::MODE),
        }
    }
}

fn aes_bits(r: &mut Reader<'_>) -> Result<u16> {
    match r.u16()? {
        bits @ (128 | 256) => Ok(bits),
        _ => Err(Rc::VALUE),
    }
}

/// TPMT_SYM_DEF_OBJECT other than TPM_ALG_NULL: AES. In an `Option`, `None` is TPM_ALG_NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymObject {
    /// 128 or 256.
    pub bits: u16,
    /// `None`: the user of the key chooses (TPM_ALG_NULL).
    pub mode: Option<Mode>,
}

impl SymObject {
    /// Length of the key in bytes.
    pub const fn key_bytes(&self) -> usize {
        (self.bits / 8) as usize
    }
}

/// TPMT_SYM_DEF_OBJECT+.
impl Unmarshal for Option<SymObject> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        match r.u16()? {
            alg::NULL => Ok(None),
            alg::AES => Ok(Some(SymObject {
                bits: aes_bits(r)?,
                mode: r.get()?,
            })),
            _ => Err(Rc::SYMMETRIC),
        }
    }
}

/// TPMT_SYM_DEF_OBJECT.
impl Unmarshal for SymObject {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        r.get::<Option<SymObject>>()?.ok_or(Rc::SYMMETRIC)
    }
}

impl Marshal for SymObject {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u16(alg::AES);
        w.u16(self.bits);
        w.u16(self.mode.map_or(alg::NULL, mode_id));
    }
}

impl Marshal for Option<SymObject> {
    fn marshal(&self, w: &mut Writer<'_>) {
        match self {
            Some(sym) => w.put(sym),
            None => w.u16(alg::NULL),
        }
    }
}

/// TPMT_SYM_DEF+: what a session encrypts parameters with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SymDef {
    /// Nothing.
    #[default]
    Null,
    /// XOR obfuscation with a mask from KDFa.
    Xor(HashAlg),
    /// AES in `mode`, which for a session must be CFB.
    Aes {
        /// 128 or 256.
        bits: u16,
        /// `None`: TPM_ALG_NULL.
        mode: Option<Mode>,
    },
}

impl Unmarshal for SymDef {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        match r.u16()? {
            alg::NULL => Ok(SymDef::Null),
            alg::XOR => Ok(SymDef::Xor(r.get()?)),
            alg::AES => Ok(SymDef::Aes {
                bits: aes_bits(r)?,
                mode: r.get()?,
            }),
            _ => Err(Rc::SYMMETRIC),
        }
    }
}

impl Marshal for SymDef {
    fn marshal(&self, w: &mut Writer<'_>) {
        match *self {
            SymDef::Null => w.u16(alg::NULL),
            SymDef::Xor(hash) => {
                w.u16(alg::XOR);
                w.put(&hash);
            }
            SymDef::Aes { bits, mode } => w.put(&SymObject { bits, mode }),
        }
    }
}

/// A scheme of any kind: which kinds are allowed is said by the function that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// TPM_ALG_ID, `alg::NULL` for none.
    pub alg: u16,
    /// The hash, for schemes that have one (all but NULL and RSAES).
    pub hash: Option<HashAlg>,
    /// ECDAA's count, XOR's KDF; zero for all others.
    pub extra: u16,
}

impl Scheme {
    /// TPM_ALG_NULL.
    pub const NULL: Scheme = Scheme {
        alg: alg::NULL,
        hash: None,
        extra: 0,
    };

    /// `alg` with `hash`.
    pub const fn new(alg: u16, hash: HashAlg) -> Scheme {
        Scheme {
            alg,
            hash: Some(hash),
            extra: 0,
        }
    }

    /// Whether it is TPM_ALG_NULL.
    pub const fn is_null(&self) -> bool {
        self.alg == alg::NULL
    }

    /// Whether it signs with an asymmetric key.
    pub const fn is_asymmetric_signing(&self) -> bool {
        matches!(
            self.alg,
            alg::RSASSA | alg::RSAPSS | alg::ECDSA | alg::ECDAA | alg::ECSCHNORR
        )
    }

    fn details(alg: u16, r: &mut Reader<'_>) -> Result<Scheme> {
        let mut scheme = Scheme {
            alg,
            hash: None,
            extra: 0,
        };
        if alg != alg::NULL && alg != alg::RSAES {
            scheme.hash = Some(r.get()?);
        }
        if alg == alg::ECDAA {
            scheme.extra = r.u16()?;
        }
        Ok(scheme)
    }

    fn one_of(r: &mut Reader<'_>, allowed: &[u16], rc: Rc) -> Result<Scheme> {
        let alg = r.u16()?;
        if alg != alg::NULL && !allowed.contains(&alg) {
            return Err(rc);
        }
        Scheme::details(alg, r)
    }

    /// TPMT_SIG_SCHEME+.
    ///
    /// # Errors
    /// SCHEME, HASH.
    pub fn signing(r: &mut Reader<'_>) -> Result<Scheme> {
        Scheme::one_of(
            r,
            &[
                alg::RSASSA,
                alg::RSAPSS,
                alg::ECDSA,
                alg::ECDAA,
                alg::ECSCHNORR,
                alg::HMAC,
            ],
            Rc::SCHEME,
        )
    }

    /// TPMT_RSA_SCHEME+, of a key.
    ///
    /// # Errors
    /// VALUE, HASH.
    pub fn rsa(r: &mut Reader<'_>) -> Result<Scheme> {
        Scheme::one_of(
            r,
            &[alg::RSASSA, alg::RSAPSS, alg::RSAES, alg::OAEP],
            Rc::VALUE,
        )
    }

    /// TPMT_RSA_DECRYPT+.
    ///
    /// # Errors
    /// VALUE, HASH.
    pub fn rsa_decrypt(r: &mut Reader<'_>) -> Result<Scheme> {
        Scheme::one_of(r, &[alg::RSAES, alg::OAEP], Rc::VALUE)
    }

    /// TPMT_ECC_SCHEME+, of a key.
    ///
    /// # Errors
    /// SCHEME, HASH.
    pub fn ecc(r: &mut Reader<'_>) -> Result<Scheme> {
        Scheme::one_of(
            r,
            &[
                alg::ECDSA,
                alg::ECDAA,
                alg::ECSCHNORR,
                alg::ECDH,
                alg::ECMQV,
            ],
            Rc::SCHEME,
        )
    }

    /// TPMT_KDF_SCHEME+.
    ///
    /// # Errors
    /// KDF, HASH.
    pub fn kdf(r: &mut Reader<'_>) -> Result<Scheme> {
        Scheme::one_of(
            r,
            &[
                alg::MGF1,
                alg::KDF1_SP800_56A,
                alg::KDF2,
                alg::KDF1_SP800_108,
            ],
            Rc::KDF,
        )
    }

    /// TPMT_KEYEDHASH_SCHEME+.
    ///
    /// # Errors
    /// VALUE, HASH, KDF.
    pub fn keyed_hash(r: &mut Reader<'_>) -> Result<Scheme> {
        let mut scheme = Scheme::one_of(r, &[alg::HMAC, alg::XOR], Rc::VALUE)?;
        if scheme.alg == alg::XOR {
            scheme.extra = match r.u16()? {
                id @ (alg::MGF1
                | alg::KDF1_SP800_56A
                | alg::KDF2
                | alg::KDF1_SP800_108
                | alg::NULL) => id,
                _ => return Err(Rc::KDF),
            };
        }
        Ok(scheme)
    }
}

impl Marshal for Scheme {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u16(self.alg);
        if let Some(hash) = self.hash {
            w.put(&hash);
        }
        if self.alg == alg::ECDAA || self.alg == alg::XOR {
            w.u16(self.extra);
        }
    }
}
