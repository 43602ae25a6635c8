//! What a caller of a TPM computes for sessions: a small implementation of its own, so that it does not share a
//! mistake with the engine.

use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use p256::elliptic_curve::sec1::ToSec1Point as _;
use sha1::Digest as _;

/// TPM_ALG_SHA1.
pub const SHA1: u16 = 0x0004;
/// TPM_ALG_SHA256.
pub const SHA256: u16 = 0x000B;
/// TPM_ALG_SHA384.
pub const SHA384: u16 = 0x000C;
/// TPM_ALG_SHA512.
pub const SHA512: u16 = 0x000D;

/// The length of a digest; 0 for what is no hash algorithm here.
pub fn digest_len(alg: u16) -> usize {
    match alg {
        SHA1 => 20,
        SHA256 => 32,
        SHA384 => 48,
        SHA512 => 64,
        _ => 0,
    }
}

/// The digest of `parts`; empty for what is no hash algorithm here.
pub fn hash(alg: u16, parts: &[&[u8]]) -> Vec<u8> {
    let all = parts.concat();
    match alg {
        SHA1 => sha1::Sha1::digest(&all).to_vec(),
        SHA256 => sha2::Sha256::digest(&all).to_vec(),
        SHA384 => sha2::Sha384::digest(&all).to_vec(),
        SHA512 => sha2::Sha512::digest(&all).to_vec(),
        _ => Vec::new(),
    }
}

/// HMAC (RFC 2104).
pub fn hmac(alg: u16, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let block = if digest_len(alg) > 32 { 128 } else { 64 };
    let mut padded = if key.len() > block {
        hash(alg, &[key])
    } else {
        key.to_vec()
    };
    padded.resize(block, 0);
    let inner: Vec<u8> = padded.iter().map(|byte| byte ^ 0x36).collect();
    let outer: Vec<u8> = padded.iter().map(|byte| byte ^ 0x5C).collect();
    let digest = hash(alg, &[&inner, &parts.concat()]);
    hash(alg, &[&outer, &digest])
}

/// KDFa (TPM Part 1 §11.4.10.2).
pub fn kdfa(alg: u16, key: &[u8], label: &str, u: &[u8], v: &[u8], bits: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut counter = 0_u32;
    while out.len() < bits.div_ceil(8) && digest_len(alg) != 0 {
        counter += 1;
        out.extend(hmac(
            alg,
            key,
            &[
                &counter.to_be_bytes(),
                label.as_bytes(),
                &[0],
                u,
                v,
                &(bits as u32).to_be_bytes(),
            ],
        ));
    }
    out.truncate(bits.div_ceil(8));
    out
}

/// KDFe (TPM Part 1 §11.4.10.3).
pub fn kdfe(alg: u16, z: &[u8], label: &str, u: &[u8], v: &[u8], bits: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut counter = 0_u32;
    while out.len() < bits.div_ceil(8) && digest_len(alg) != 0 {
        counter += 1;
        out.extend(hash(
            alg,
            &[&counter.to_be_bytes(), z, label.as_bytes(), &[0], u, v],
        ));
    }
    out.truncate(bits.div_ceil(8));
    out
}

/// How a session encrypts parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// It does not.
    None,
    /// AES-CFB with a key of so many bits.
    Aes(u16),
    /// XOR with KDFa of this hash algorithm.
    Xor(u16),
}

impl Cipher {
    /// Encrypts (or decrypts) the first parameter (TPM Part 1 §21).
    pub fn apply(
        self,
        encrypt: bool,
        alg: u16,
        value: &[u8],
        newer: &[u8],
        older: &[u8],
        data: &mut [u8],
    ) {
        match self {
            Cipher::None => {}
            Cipher::Xor(hash) => {
                let mask = kdfa(hash, value, "XOR", newer, older, data.len() * 8);
                data.iter_mut()
                    .zip(mask)
                    .for_each(|(byte, mask)| *byte ^= mask);
            }
            Cipher::Aes(bits) => {
                let secret = kdfa(alg, value, "CFB", newer, older, usize::from(bits) + 128);
                let (key, iv) = secret.split_at(usize::from(bits) / 8);
                aes_cfb(key, iv, encrypt, data);
            }
        }
    }
}

fn aes_cfb(key: &[u8], iv: &[u8], encrypt: bool, data: &mut [u8]) {
    let mut feedback = [0; 16];
    feedback.copy_from_slice(iv);
    for chunk in data.chunks_mut(16) {
        let mut block = feedback.into();
        if key.len() == 16 {
            aes::Aes128::new_from_slice(key).map(|aes| aes.encrypt_block(&mut block))
        } else {
            aes::Aes256::new_from_slice(key).map(|aes| aes.encrypt_block(&mut block))
        }
        .expect("16 or 32 bytes");
        for (at, byte) in chunk.iter_mut().enumerate() {
            let cipher = if encrypt { *byte ^ block[at] } else { *byte };
            *byte ^= block[at];
            feedback[at] = cipher;
        }
    }
}

/// A salt for a P-256 key: the ephemeral point's coordinates, and the salt (TPM Part 1 §C.6.1).
/// Nothing where `public` is no point of the curve.
pub fn ecc_salt(
    alg: u16,
    public: (&[u8], &[u8]),
    scalar: &[u8; 32],
) -> Option<([u8; 32], [u8; 32], Vec<u8>)> {
    let mut sec1 = vec![4];
    for coordinate in [public.0, public.1] {
        sec1.extend(std::iter::repeat_n(
            0,
            32_usize.checked_sub(coordinate.len())?,
        ));
        sec1.extend(coordinate);
    }
    let key = p256::PublicKey::from_sec1_bytes(&sec1).ok()?;
    let secret = p256::SecretKey::from_bytes(&(*scalar).into()).ok()?;
    let scalar = secret.to_nonzero_scalar();
    let ephemeral = secret.public_key().to_sec1_point(false);
    let shared = p256::AffinePoint::from(key.to_projective() * *scalar).to_sec1_point(false);
    let coordinates = |bytes: &[u8]| -> Option<([u8; 32], [u8; 32])> {
        Some((
            bytes.get(1..33)?.try_into().ok()?,
            bytes.get(33..65)?.try_into().ok()?,
        ))
    };
    let (x, y) = coordinates(ephemeral.as_bytes())?;
    let (z, _) = coordinates(shared.as_bytes())?;
    let salt = kdfe(alg, &z, "SECRET", &x, &sec1[1..33], digest_len(alg) * 8);
    Some((x, y, salt))
}
