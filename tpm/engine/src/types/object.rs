//! Objects: public and sensitive areas, templates (Part 2 §12).

use zeroize::Zeroize;

use super::{Curve, Digest, HashAlg, ObjectAttributes, Point, Scheme, SymObject, alg};
use crate::buf::{Buf, Secret};
use crate::codec::{Marshal, Reader, Unmarshal, Writer};
use crate::limits::{MAX_AUTH, MAX_LABEL, MAX_NAME, MAX_RSA_BYTES, MAX_SENSITIVE, MAX_SYM_DATA};
use crate::rc::{Rc, Result};

/// TPM2B_NAME: nothing, a handle, or an algorithm with a digest.
pub type Name = Buf<MAX_NAME>;

/// TPMI_ALG_PUBLIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectType {
    /// RSA key pair.
    Rsa,
    /// Data, HMAC or XOR key.
    KeyedHash,
    /// ECC key pair.
    Ecc,
    /// AES key.
    SymCipher,
}

impl ObjectType {
    /// TPM_ALG_ID.
    pub const fn id(self) -> u16 {
        match self {
            ObjectType::Rsa => alg::RSA,
            ObjectType::KeyedHash => alg::KEYEDHASH,
            ObjectType::Ecc => alg::ECC,
            ObjectType::SymCipher => alg::SYMCIPHER,
        }
    }

    /// Whether it has a public key.
    pub const fn is_asymmetric(self) -> bool {
        matches!(self, ObjectType::Rsa | ObjectType::Ecc)
    }
}

impl Unmarshal for ObjectType {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        match r.u16()? {
            alg::RSA => Ok(ObjectType::Rsa),
            alg::KEYEDHASH => Ok(ObjectType::KeyedHash),
            alg::ECC => Ok(ObjectType::Ecc),
            alg::SYMCIPHER => Ok(ObjectType::SymCipher),
            _ => Err(Rc::TYPE),
        }
    }
}

/// TPMU_PUBLIC_PARMS. Its variant is the object's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// TPMS_RSA_PARMS.
    Rsa {
        /// Of a parent: how it protects its children.
        symmetric: Option<SymObject>,
        /// What the key is for, or NULL.
        scheme: Scheme,
        /// 2048 or 3072; 1024 for a key from elsewhere.
        bits: u16,
        /// Zero for 65537.
        exponent: u32,
    },
    /// TPMS_KEYEDHASH_PARMS.
    KeyedHash {
        /// HMAC, XOR, or NULL for data.
        scheme: Scheme,
    },
    /// TPMS_ECC_PARMS.
    Ecc {
        /// Of a parent: how it protects its children.
        symmetric: Option<SymObject>,
        /// What the key is for, or NULL.
        scheme: Scheme,
        /// The curve.
        curve: Curve,
        /// Must be NULL today, but is carried.
        kdf: Scheme,
    },
    /// TPMS_SYMCIPHER_PARMS.
    SymCipher {
        /// The cipher.
        sym: SymObject,
    },
}

impl Parameters {
    /// The type of the object.
    pub const fn object_type(&self) -> ObjectType {
        match self {
            Parameters::Rsa { .. } => ObjectType::Rsa,
            Parameters::KeyedHash { .. } => ObjectType::KeyedHash,
            Parameters::Ecc { .. } => ObjectType::Ecc,
            Parameters::SymCipher { .. } => ObjectType::SymCipher,
        }
    }

    /// The scheme of the key; NULL for a cipher.
    pub const fn scheme(&self) -> Scheme {
        match self {
            Parameters::Rsa { scheme, .. }
            | Parameters::Ecc { scheme, .. }
            | Parameters::KeyedHash { scheme } => *scheme,
            Parameters::SymCipher { .. } => Scheme::NULL,
        }
    }

    /// How a parent of this kind protects its children.
    pub const fn symmetric(&self) -> Option<SymObject> {
        match self {
            Parameters::Rsa { symmetric, .. } | Parameters::Ecc { symmetric, .. } => *symmetric,
            Parameters::SymCipher { sym } => Some(*sym),
            Parameters::KeyedHash { .. } => None,
        }
    }

    fn unmarshal_as(kind: ObjectType, r: &mut Reader<'_>) -> Result<Self> {
        Ok(match kind {
            ObjectType::Rsa => Parameters::Rsa {
                symmetric: r.get()?,
                scheme: Scheme::rsa(r)?,
                bits: match r.u16()? {
                    bits @ (1024 | 2048 | 3072) => bits,
                    _ => return Err(Rc::VALUE),
                },
                exponent: r.u32()?,
            },
            ObjectType::KeyedHash => Parameters::KeyedHash {
                scheme: Scheme::keyed_hash(r)?,
            },
            ObjectType::Ecc => Parameters::Ecc {
                symmetric: r.get()?,
                scheme: Scheme::ecc(r)?,
                curve: r.get()?,
                kdf: Scheme::kdf(r)?,
            },
            ObjectType::SymCipher => Parameters::SymCipher { sym: r.get()? },
        })
    }

    fn marshal_body(&self, w: &mut Writer<'_>) {
        match self {
            Parameters::Rsa {
                symmetric,
                scheme,
                bits,
                exponent,
            } => {
                w.put(symmetric);
                w.put(scheme);
                w.u16(*bits);
                w.u32(*exponent);
            }
            Parameters::KeyedHash { scheme } => w.put(scheme),
            Parameters::Ecc {
                symmetric,
                scheme,
                curve,
                kdf,
            } => {
                w.put(symmetric);
                w.put(scheme);
                w.put(curve);
                w.put(kdf);
            }
            Parameters::SymCipher { sym } => w.put(sym),
        }
    }
}

/// TPMT_PUBLIC_PARMS.
impl Unmarshal for Parameters {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        let kind = r.get()?;
        Parameters::unmarshal_as(kind, r)
    }
}

/// TPMU_PUBLIC_ID.
#[allow(
    clippy::large_enum_variant,
    reason = "held in place: nothing allocates while a command runs"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unique {
    /// Of a cipher or keyed hash.
    Digest(Digest),
    /// A modulus.
    Rsa(Buf<MAX_RSA_BYTES>),
    /// A public point.
    Ecc(Point),
}

impl Unique {
    fn unmarshal_as(kind: ObjectType, r: &mut Reader<'_>) -> Result<Self> {
        Ok(match kind {
            ObjectType::Rsa => Unique::Rsa(r.get()?),
            ObjectType::Ecc => Unique::Ecc(r.get()?),
            ObjectType::KeyedHash | ObjectType::SymCipher => Unique::Digest(r.get()?),
        })
    }
}

impl Marshal for Unique {
    fn marshal(&self, w: &mut Writer<'_>) {
        match self {
            Unique::Digest(digest) => w.put(digest),
            Unique::Rsa(modulus) => w.put(modulus),
            Unique::Ecc(point) => w.put(point),
        }
    }
}

/// TPMS_ECC_POINT.
impl Unmarshal for Point {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Point {
            x: r.get()?,
            y: r.get()?,
        })
    }
}

impl Marshal for Point {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.put(&self.x);
        w.put(&self.y);
    }
}

/// TPMT_PUBLIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    /// Of the Name; `None` only for a public area that is loaded alone.
    pub name_alg: Option<HashAlg>,
    /// What may be done with the object.
    pub attributes: ObjectAttributes,
    /// Empty, or a digest of `name_alg`'s size.
    pub auth_policy: Digest,
    /// Type and parameters.
    pub parameters: Parameters,
    /// The public key, or what stands for it.
    pub unique: Unique,
}

impl Public {
    /// The type of the object.
    pub const fn object_type(&self) -> ObjectType {
        self.parameters.object_type()
    }

    /// Reads TPMT_PUBLIC; whether TPM_ALG_NULL is allowed as the Name's algorithm is said by `null`.
    ///
    /// # Errors
    /// Those of Part 2 §12.2.4.
    pub fn read(r: &mut Reader<'_>, null: bool) -> Result<Self> {
        let (kind, name_alg, attributes, auth_policy, parameters) = Self::head(r, null)?;
        Ok(Public {
            name_alg,
            attributes,
            auth_policy,
            parameters,
            unique: Unique::unmarshal_as(kind, r)?,
        })
    }

    #[allow(
        clippy::type_complexity,
        reason = "the fields before `unique`, in their order"
    )]
    fn head(
        r: &mut Reader<'_>,
        null: bool,
    ) -> Result<(
        ObjectType,
        Option<HashAlg>,
        ObjectAttributes,
        Digest,
        Parameters,
    )> {
        let kind: ObjectType = r.get()?;
        let name_alg: Option<HashAlg> = r.get()?;
        if name_alg.is_none() && !null {
            return Err(Rc::HASH);
        }
        let attributes = r.get()?;
        let auth_policy = r.get()?;
        let parameters = Parameters::unmarshal_as(kind, r)?;
        Ok((kind, name_alg, attributes, auth_policy, parameters))
    }

    /// TPM2B_PUBLIC, as a template or to be loaded.
    ///
    /// # Errors
    /// SIZE where it is empty; those of TPMT_PUBLIC.
    pub fn sized(r: &mut Reader<'_>, null: bool) -> Result<Self> {
        r.sized(|r| Self::read(r, null))?.ok_or(Rc::SIZE)
    }
}

/// TPM2B_PUBLIC without a NULL Name algorithm. (As a parameter; TPM2B_PUBLIC+ is [`Public::sized`].)
impl Unmarshal for Public {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        Public::sized(r, false)
    }
}

/// TPMT_PUBLIC: without a size in front.
impl Marshal for Public {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u16(self.object_type().id());
        w.put(&self.name_alg);
        w.put(&self.attributes);
        w.put(&self.auth_policy);
        self.parameters.marshal_body(w);
        w.put(&self.unique);
    }
}

/// TPMT_PUBLIC_PARMS.
impl Marshal for Parameters {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u16(self.object_type().id());
        self.marshal_body(w);
    }
}

/// TPMS_DERIVE: label and context of an object that is derived from its parent.
#[derive(Clone, Debug, Default)]
pub struct Derive {
    /// What it is for.
    pub label: Buf<MAX_LABEL>,
    /// What makes it different.
    pub context: Buf<MAX_LABEL>,
}

impl Unmarshal for Derive {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Derive {
            label: r.get()?,
            context: r.get()?,
        })
    }
}

/// TPM2B_TEMPLATE of TPM2_CreateLoaded: its `unique` depends on the parent, which decides how to read it.
#[derive(Clone, Debug)]
pub struct Template {
    /// With an empty `unique` where `derive` is present.
    pub public: Public,
    /// For a derivation parent.
    pub derive: Option<Derive>,
}

impl Template {
    /// Reads the contents of TPM2B_TEMPLATE; with `derive` its `unique` is TPMS_DERIVE.
    ///
    /// # Errors
    /// Those of TPMT_PUBLIC; SIZE where bytes are left.
    pub fn read(bytes: &[u8], derive: bool) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let template = if derive {
            let (kind, name_alg, attributes, auth_policy, parameters) =
                Public::head(&mut r, false)?;
            let derive = r.get()?;
            let unique = match kind {
                ObjectType::Rsa => Unique::Rsa(Buf::new()),
                ObjectType::Ecc => Unique::Ecc(Point {
                    x: Buf::new(),
                    y: Buf::new(),
                }),
                ObjectType::KeyedHash | ObjectType::SymCipher => Unique::Digest(Digest::new()),
            };
            Template {
                public: Public {
                    name_alg,
                    attributes,
                    auth_policy,
                    parameters,
                    unique,
                },
                derive: Some(derive),
            }
        } else {
            Template {
                public: Public::read(&mut r, false)?,
                derive: None,
            }
        };
        if r.is_empty() {
            Ok(template)
        } else {
            Err(Rc::SIZE)
        }
    }
}

/// TPMT_SENSITIVE.
#[derive(Clone, Debug)]
pub struct Sensitive {
    /// The type, which is that of the public area.
    pub kind: ObjectType,
    /// Authorization value without zeros at its end.
    pub auth: Secret<MAX_AUTH>,
    /// Seed of a parent, obfuscation value of a cipher or keyed hash.
    pub seed: Secret<MAX_AUTH>,
    /// A prime, a private scalar, a key, or data.
    pub secret: Secret<MAX_SENSITIVE>,
}

/// TPMT_SENSITIVE, without a size in front.
impl Unmarshal for Sensitive {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        let kind = r.get()?;
        let auth = r.get()?;
        let seed = r.get()?;
        let most = match kind {
            ObjectType::Rsa => MAX_SENSITIVE,
            ObjectType::Ecc => crate::limits::MAX_ECC_BYTES,
            ObjectType::KeyedHash => MAX_SYM_DATA,
            ObjectType::SymCipher => crate::limits::MAX_SYM_KEY_BYTES,
        };
        let secret = Secret::from_slice(r.sized_bytes(most)?)?;
        Ok(Sensitive {
            kind,
            auth,
            seed,
            secret,
        })
    }
}

impl Marshal for Sensitive {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u16(self.kind.id());
        w.put(&self.auth);
        w.put(&self.seed);
        w.put(&self.secret);
    }
}

impl Zeroize for Sensitive {
    fn zeroize(&mut self) {
        self.auth.zeroize();
        self.seed.zeroize();
        self.secret.zeroize();
    }
}

/// TPM2B_SENSITIVE_CREATE.
#[derive(Clone, Debug, Default)]
pub struct SensitiveCreate {
    /// Authorization value as given.
    pub auth: Secret<MAX_AUTH>,
    /// Data to seal or a key of the caller's; of a derivation, TPMS_DERIVE.
    pub data: Secret<MAX_SYM_DATA>,
}

impl Unmarshal for SensitiveCreate {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        r.sized(|r| {
            Ok(SensitiveCreate {
                auth: r.get()?,
                data: r.get()?,
            })
        })?
        .ok_or(Rc::SIZE)
    }
}
