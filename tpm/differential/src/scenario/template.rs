//! Public areas.

use crate::crypto::{SHA1, SHA256, SHA384, SHA512, digest_len, hash};
use crate::rng::Rng;
use crate::scenario::keys::{self, bytes};
use crate::step::{Piece, b2, raw, sized, u16, u32};

/// TPM_ALG_NULL.
pub const NULL: u16 = 0x10;
/// fixedTPM.
pub const FIXED_TPM: u32 = 1 << 1;
/// stClear.
pub const ST_CLEAR: u32 = 1 << 2;
/// fixedParent.
pub const FIXED_PARENT: u32 = 1 << 4;
/// sensitiveDataOrigin.
pub const ORIGIN: u32 = 1 << 5;
/// userWithAuth.
pub const USER: u32 = 1 << 6;
/// adminWithPolicy.
pub const ADMIN: u32 = 1 << 7;
/// noDA.
pub const NO_DA: u32 = 1 << 10;
/// encryptedDuplication.
pub const ENCRYPTED: u32 = 1 << 11;
/// restricted.
pub const RESTRICTED: u32 = 1 << 16;
/// decrypt.
pub const DECRYPT: u32 = 1 << 17;
/// sign.
pub const SIGN: u32 = 1 << 18;

/// What an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A storage key on a curve.
    Storage(u16),
    /// An RSA storage key.
    StorageRsa,
    /// A signing key on a curve: scheme and hash.
    SignEcc(u16, u16, u16),
    /// A restricted signing key.
    Ak(u16),
    /// A key for ECDH.
    Exchange(u16),
    /// An RSA key that signs.
    SignRsa(u16, u16),
    /// An RSA key that decrypts.
    DecryptRsa(u16, u16),
    /// An HMAC key.
    Hmac(u16),
    /// A restricted HMAC key.
    HmacRestricted(u16),
    /// A key for the XOR of parameters.
    Xor(u16),
    /// Sealed data.
    Seal,
    /// An AES key: bits and mode.
    Sym(u16, u16),
    /// A derivation parent.
    Derive(u16),
}

impl Kind {
    /// One of any kind that is cheap to create.
    pub fn any(rng: &mut Rng) -> Kind {
        let curve = rng.pick(&[3, 3, 4]);
        let alg = rng.pick(&[SHA1, SHA256, SHA256, SHA384, SHA512]);
        match rng.below(11) {
            0 => Kind::Storage(curve),
            1 => Kind::SignEcc(
                curve,
                rng.pick(&[NULL, 0x18, 0x18, 0x1C, 0x1A]),
                if curve == 3 { SHA256 } else { SHA384 },
            ),
            2 => Kind::Ak(curve),
            3 => Kind::Exchange(curve),
            4 => Kind::Hmac(rng.pick(&[NULL, alg])),
            5 => Kind::HmacRestricted(alg),
            6 => Kind::Xor(alg),
            7 | 8 => Kind::Seal,
            9 => Kind::Sym(
                rng.pick(&[128, 256]),
                rng.pick(&[NULL, 0x40, 0x41, 0x42, 0x43, 0x44]),
            ),
            _ => Kind::Derive(alg),
        }
    }

    /// TPM_ALG_RSA and so on.
    pub fn object_type(self) -> u16 {
        match self {
            Kind::StorageRsa | Kind::SignRsa(..) | Kind::DecryptRsa(..) => 0x01,
            Kind::Storage(_) | Kind::SignEcc(..) | Kind::Ak(_) | Kind::Exchange(_) => 0x23,
            Kind::Sym(..) => 0x25,
            _ => 0x08,
        }
    }

    fn purpose(self) -> u32 {
        match self {
            Kind::Storage(_) | Kind::StorageRsa | Kind::Derive(_) => RESTRICTED | DECRYPT,
            Kind::SignEcc(..) | Kind::SignRsa(..) | Kind::Hmac(_) => SIGN,
            Kind::Ak(_) | Kind::HmacRestricted(_) => RESTRICTED | SIGN,
            Kind::Exchange(_) | Kind::DecryptRsa(..) | Kind::Xor(_) => DECRYPT,
            Kind::Sym(..) => SIGN | DECRYPT,
            Kind::Seal => 0,
        }
    }
}

/// A public area, and the sensitive one that goes with it where it is known.
#[derive(Clone, Debug)]
pub struct Template {
    /// What for.
    pub kind: Kind,
    /// nameAlg.
    pub name_alg: u16,
    /// objectAttributes.
    pub attributes: u32,
    /// authPolicy.
    pub policy: Piece,
}

impl Template {
    /// The usual attributes: not duplicable, use by authorization value, no dictionary attack protection.
    pub fn new(kind: Kind) -> Template {
        let origin = if kind == Kind::Seal { 0 } else { ORIGIN };
        Template {
            kind,
            name_alg: SHA256,
            attributes: FIXED_TPM | FIXED_PARENT | USER | NO_DA | origin | kind.purpose(),
            policy: b2(&[]),
        }
    }

    /// For a key that both TPMs are given.
    pub fn known(kind: Kind) -> Template {
        let mut template = Self::new(kind);
        template.attributes &= !(FIXED_TPM | FIXED_PARENT | ORIGIN);
        template
    }

    fn parameters(&self) -> Vec<Piece> {
        let aes = || vec![u16(6), u16(128), u16(0x43)];
        let scheme = |scheme: u16, alg: u16| match scheme {
            NULL | 0x15 => vec![u16(scheme)],
            0x1A => vec![u16(scheme), u16(alg), u16(0)],
            _ => vec![u16(scheme), u16(alg)],
        };
        let null = || vec![u16(NULL)];
        let parts = match self.kind {
            Kind::Storage(curve) => vec![aes(), null(), vec![u16(curve)], null()],
            Kind::StorageRsa => vec![aes(), null(), vec![u16(2048), u32(0)]],
            Kind::SignEcc(curve, by, alg) => {
                vec![null(), scheme(by, alg), vec![u16(curve)], null()]
            }
            Kind::Ak(curve) => vec![null(), scheme(0x18, SHA256), vec![u16(curve)], null()],
            Kind::Exchange(curve) => vec![null(), null(), vec![u16(curve)], null()],
            Kind::SignRsa(by, alg) | Kind::DecryptRsa(by, alg) => {
                vec![null(), scheme(by, alg), vec![u16(2048), u32(0)]]
            }
            Kind::Hmac(NULL) | Kind::Seal => vec![null()],
            Kind::Hmac(alg) | Kind::HmacRestricted(alg) => vec![vec![u16(5), u16(alg)]],
            Kind::Xor(alg) | Kind::Derive(alg) => vec![vec![u16(0x0A), u16(alg), u16(0x22)]],
            Kind::Sym(bits, mode) => vec![vec![u16(6), u16(bits), u16(mode)]],
        };
        parts.concat()
    }

    fn with_unique(&self, unique: Vec<Piece>) -> Vec<Piece> {
        let mut pieces = vec![
            u16(self.kind.object_type()),
            u16(self.name_alg),
            u32(self.attributes),
            self.policy.clone(),
        ];
        pieces.extend(self.parameters());
        pieces.extend(unique);
        pieces
    }

    /// The TPMT_PUBLIC of a template to create from.
    pub fn public(&self) -> Vec<Piece> {
        self.with_unique(match self.kind.object_type() {
            0x23 => vec![b2(&[]), b2(&[])],
            _ => vec![b2(&[])],
        })
    }

    /// The TPMT_PUBLIC of the known key, and its TPMT_SENSITIVE.
    pub fn known_areas(&self, rng: &mut Rng, auth: &[u8]) -> (Vec<Piece>, Vec<Piece>) {
        let seed = bytes(&keys::P384_D[..2 * digest_len(self.name_alg)]);
        let symmetric = |secret: &[u8]| {
            (
                vec![b2(&hash(self.name_alg, &[&seed, secret]))],
                secret.to_vec(),
            )
        };
        let (unique, secret) = match self.kind {
            Kind::StorageRsa | Kind::SignRsa(..) | Kind::DecryptRsa(..) => {
                (vec![b2(&bytes(keys::RSA_N))], bytes(keys::RSA_P))
            }
            Kind::Storage(4) | Kind::SignEcc(4, ..) | Kind::Ak(4) | Kind::Exchange(4) => (
                vec![b2(&bytes(keys::P384_X)), b2(&bytes(keys::P384_Y))],
                bytes(keys::P384_D),
            ),
            Kind::Storage(_) | Kind::SignEcc(..) | Kind::Ak(_) | Kind::Exchange(_) => (
                vec![b2(&bytes(keys::P256_X)), b2(&bytes(keys::P256_Y))],
                bytes(keys::P256_D),
            ),
            Kind::Sym(bits, _) => symmetric(&bytes(&keys::RSA_P[..usize::from(bits) / 4])),
            Kind::Hmac(alg) | Kind::HmacRestricted(alg) | Kind::Xor(alg) | Kind::Derive(alg) => {
                let most = digest_len(alg).max(20);
                symmetric(&bytes(&keys::RSA_P[..2 * rng.pick(&[16, most])]))
            }
            Kind::Seal => symmetric(&bytes(&keys::RSA_P[..64])),
        };
        let storage = matches!(self.kind, Kind::Storage(_) | Kind::StorageRsa);
        let asymmetric = matches!(self.kind.object_type(), 0x01 | 0x23);
        let sensitive = vec![
            u16(self.kind.object_type()),
            b2(auth),
            if storage || !asymmetric {
                b2(&seed)
            } else {
                b2(&[])
            },
            b2(&secret),
        ];
        (self.with_unique(unique), sensitive)
    }
}

/// TPMS_SENSITIVE_CREATE in its TPM2B.
pub fn sensitive_create(auth: &[u8], data: &[u8]) -> Piece {
    sized(vec![b2(auth), b2(data)])
}

/// TPML_PCR_SELECTION of one bank.
pub fn pcrs(alg: u16, select: [u8; 3]) -> Vec<Piece> {
    vec![u32(1), u16(alg), Piece::Int(vec![3]), raw(&select)]
}

/// No selection.
pub fn no_pcrs() -> Piece {
    u32(0)
}
