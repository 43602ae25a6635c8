//! TPM commands as bytes, written down once for both sides (TPM Part 3; structures: Part 2).

/// Constants of Part 2 §6 that the commands need.
pub mod value {
    #![allow(missing_docs, reason = "names of the specification")]

    pub const RS_PW: u32 = 0x4000_0009;
    pub const RH_OWNER: u32 = 0x4000_0001;
    pub const RH_NULL: u32 = 0x4000_0007;
    pub const ALG_RSA: u16 = 0x0001;
    pub const ALG_AES: u16 = 0x0006;
    pub const ALG_KEYEDHASH: u16 = 0x0008;
    pub const ALG_SHA256: u16 = 0x000b;
    pub const ALG_NULL: u16 = 0x0010;
    pub const ALG_RSASSA: u16 = 0x0014;
    pub const ALG_OAEP: u16 = 0x0017;
    pub const ALG_ECDSA: u16 = 0x0018;
    pub const ALG_ECC: u16 = 0x0023;
    pub const ALG_CFB: u16 = 0x0043;
    pub const ECC_NIST_P256: u16 = 0x0003;
}

use value::*;

/// What [`crate::measure::Step::numbered`] replaces by the run's number.
pub const MARK: [u8; 4] = [0xca, 0xfe, 0xba, 0xbe];

/// A command's fields in their order.
#[derive(Clone, Debug, Default)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// None yet.
    pub fn new() -> Bytes {
        Bytes::default()
    }

    /// One byte.
    pub fn u8(mut self, value: u8) -> Bytes {
        self.0.push(value);
        self
    }

    /// A big-endian number.
    pub fn u16(mut self, value: u16) -> Bytes {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// A big-endian number.
    pub fn u32(mut self, value: u32) -> Bytes {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Bytes {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// A TPM2B: size and bytes.
    pub fn sized(self, bytes: impl AsRef<[u8]>) -> Bytes {
        self.u16(bytes.as_ref().len() as u16).raw(bytes)
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A command without sessions.
pub fn plain(code: u32, fields: Bytes) -> Vec<u8> {
    finish(0x8001, code, fields)
}

/// A command whose first handle is authorized with the empty password.
pub fn authorized(code: u32, handles: &[u32], parameters: Bytes) -> Vec<u8> {
    let mut fields = Bytes::new();
    for handle in handles {
        fields = fields.u32(*handle);
    }
    let session = Bytes::new().u32(RS_PW).u16(0).u8(0).u16(0);
    let size = session.0.len() as u32;
    finish(0x8002, code, fields.u32(size).raw(session).raw(parameters))
}

fn finish(tag: u16, code: u32, fields: Bytes) -> Vec<u8> {
    let size = 10 + fields.0.len() as u32;
    Bytes::new().u16(tag).u32(size).u32(code).raw(fields).0
}

/// Where the parameters of a command with one handle and one password start.
pub const PARAMETERS: usize = 10 + 4 + 4 + 9;

/// TPM2_FlushContext (Part 3 §28.4).
pub fn flush(handle: u32) -> Vec<u8> {
    plain(0x165, Bytes::new().u32(handle))
}

/// TPM2_CreatePrimary in the owner's hierarchy (Part 3 §24.1).
pub fn create_primary(public: &Bytes) -> Vec<u8> {
    authorized(0x131, &[RH_OWNER], creation(&[], public))
}

/// TPM2_Create (Part 3 §12.1), with `data` to be sealed or none.
pub fn create(parent: u32, data: &[u8], public: &Bytes) -> Vec<u8> {
    authorized(0x153, &[parent], creation(data, public))
}

/// inSensitive, inPublic, outsideInfo, creationPCR.
fn creation(data: &[u8], public: &Bytes) -> Bytes {
    let sensitive = Bytes::new().u16(0).sized(data);
    Bytes::new().sized(sensitive).sized(public).u16(0).u32(0)
}

/// Attributes of keys (Part 2 §8.3): fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, and then some.
pub mod attributes {
    const KEY: u32 = 0x0472;
    /// For keys to be loaded below it.
    pub const STORAGE: u32 = KEY | 0x3_0000;
    /// Signs anything.
    pub const SIGN: u32 = KEY | 0x4_0000;
    /// Signs what the TPM says.
    pub const ATTEST: u32 = KEY | 0x5_0000;
    /// Decrypts anything.
    pub const DECRYPT: u32 = KEY | 0x2_0000;
    /// Data: it has an origin outside, and no use but TPM2_Unseal.
    pub const SEALED: u32 = 0x0452;
}

/// The template of a P-256 key with `scheme`.
pub fn p256(attributes: u32, scheme: &Bytes) -> Bytes {
    template(ALG_ECC, attributes)
        .raw(scheme)
        .u16(ECC_NIST_P256)
        .u16(ALG_NULL) // KDF
        .sized(unique(32))
        .sized([0; 32])
}

/// The template of an RSA-2048 key with `scheme`.
pub fn rsa2048(attributes: u32, scheme: &Bytes) -> Bytes {
    template(ALG_RSA, attributes)
        .raw(scheme)
        .u16(2048)
        .u32(0) // exponent
        .sized(unique(256))
}

/// The template of sealed data.
pub fn sealed() -> Bytes {
    Bytes::new()
        .u16(ALG_KEYEDHASH)
        .u16(ALG_SHA256)
        .u32(attributes::SEALED)
        .u16(0)
        .u16(ALG_NULL)
        .u16(0)
}

/// As far as the symmetric algorithm; storage keys have one.
fn template(kind: u16, attributes: u32) -> Bytes {
    let start = Bytes::new()
        .u16(kind)
        .u16(ALG_SHA256)
        .u32(attributes)
        .u16(0);
    if attributes == attributes::STORAGE {
        start.u16(ALG_AES).u16(128).u16(ALG_CFB)
    } else {
        start.u16(ALG_NULL)
    }
}

/// Room for a number that makes every primary key another one.
fn unique(size: usize) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.resize(size, 0);
    bytes
}
