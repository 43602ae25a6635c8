//! Encryption and signature schemes (RFC 8017) on top of the raw operations.
//!
//! Ciphertexts and signatures are as long as the modulus. Paddings are taken off without a branch or an index that
//! depends on what is inside, up to the one decision whether they are good.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};

use super::{MAX_MODULUS_SIZE, PrivateKey, public_op};
use crate::buf::{Buf, Secret};
use crate::crypto::drbg::Rng;
use crate::crypto::hash::{Digest, HashAlg, MAX_DIGEST_SIZE, digest};
use crate::crypto::kdf::mgf1;
use crate::crypto::{CryptoError, Result};

/// What comes out of a decryption.
pub type Message = Secret<MAX_MODULUS_SIZE>;

type Encoded = Secret<MAX_MODULUS_SIZE>;

/// RSAES-OAEP; `label` with its final zero byte, `alg` for label and mask.
///
/// # Errors
/// `Size`: the message is too long, or `out` not as long as `n`. `Key`: see [`public_op`].
pub fn oaep_encrypt(
    (n, e): (&[u8], u32),
    alg: HashAlg,
    label: &[u8],
    message: &[u8],
    rng: &mut dyn Rng,
    out: &mut [u8],
) -> Result<()> {
    let mut encoded = Encoded::zeroed(n.len());
    let (seed, db) = split_masked(encoded.as_mut_slice(), alg)?;
    let (hash, rest) = split(db, alg.size())?;
    let start = rest
        .len()
        .checked_sub(message.len())
        .ok_or(CryptoError::Size)?;
    let (zeros, tail) = split(rest, start)?;
    *zeros.last_mut().ok_or(CryptoError::Size)? = 1;
    hash.copy_from_slice(&digest(alg, &[label]));
    tail.copy_from_slice(message);
    rng.fill(seed);
    mgf1(alg, seed, db);
    mgf1(alg, db, seed);
    public_op(n, e, &encoded, out)
}

/// The message of [`oaep_encrypt`].
///
/// # Errors
/// `Size`: `input` is not as long as the modulus. `Padding`: it does not decrypt. Others: see
/// [`PrivateKey::private_op`].
pub fn oaep_decrypt(
    key: &PrivateKey,
    alg: HashAlg,
    label: &[u8],
    rng: &mut dyn Rng,
    input: &[u8],
) -> Result<Message> {
    let mut encoded = decrypt(key, rng, input)?;
    let mut good = encoded.first().unwrap_or(&1).ct_eq(&0);
    let (seed, db) = split_masked(encoded.as_mut_slice(), alg)?;
    mgf1(alg, db, seed);
    mgf1(alg, seed, db);
    let (hash, rest) = split(db, alg.size())?;
    good &= (*hash).ct_eq(&digest(alg, &[label]));
    let mut looking = Choice::from(1);
    let mut start = 0u64;
    for (index, byte) in (1u64..).zip(rest.iter()) {
        let one = byte.ct_eq(&1);
        start.conditional_assign(&index, looking & one);
        // Before the first 1 there are zeros only.
        good &= !looking | one | byte.ct_eq(&0);
        looking &= !one;
    }
    good &= !looking;
    tail(rest, start, good)
}

/// RSAES-PKCS1-v1_5.
///
/// # Errors
/// `Size`: the message is too long, or `out` not as long as `n`. `Key`: see [`public_op`].
pub fn pkcs1_encrypt(
    (n, e): (&[u8], u32),
    message: &[u8],
    rng: &mut dyn Rng,
    out: &mut [u8],
) -> Result<()> {
    let mut encoded = Encoded::zeroed(n.len());
    let filled = n
        .len()
        .checked_sub(message.len())
        .and_then(|left| left.checked_sub(3));
    let filled = filled
        .filter(|filled| *filled >= 8)
        .ok_or(CryptoError::Size)?;
    let (head, rest) = split(encoded.as_mut_slice(), 2)?;
    head.copy_from_slice(&[0, 2]);
    let (filler, rest) = split(rest, filled)?;
    rng.fill(filler);
    for byte in filler {
        while *byte == 0 {
            rng.fill(core::slice::from_mut(byte));
        }
    }
    split(rest, 1)?.1.copy_from_slice(message);
    public_op(n, e, &encoded, out)
}

/// The message of [`pkcs1_encrypt`].
///
/// # Errors
/// `Size`: `input` is not as long as the modulus. `Padding`: it does not decrypt. Others: see
/// [`PrivateKey::private_op`].
pub fn pkcs1_decrypt(key: &PrivateKey, rng: &mut dyn Rng, input: &[u8]) -> Result<Message> {
    let mut encoded = decrypt(key, rng, input)?;
    let (head, rest) = split(encoded.as_mut_slice(), 2)?;
    let mut good = (*head).ct_eq(&[0, 2]);
    let mut looking = Choice::from(1);
    let mut start = 0u64;
    for (index, byte) in (1u64..).zip(rest.iter()) {
        let zero = byte.ct_eq(&0);
        start.conditional_assign(&index, looking & zero);
        looking &= !zero;
    }
    good &= !looking & start.ct_gt(&8);
    tail(rest, start, good)
}

/// RSASSA-PKCS1-v1_5 of a digest.
///
/// # Errors
/// `Size`: the digest is not one of `alg`, or `out` not as long as the modulus. `Fault`.
pub fn pkcs1_sign(
    key: &PrivateKey,
    alg: HashAlg,
    digest: &[u8],
    rng: &mut dyn Rng,
    out: &mut [u8],
) -> Result<()> {
    let encoded = pkcs1_encode(key.size(), alg, digest)?;
    key.private_op(rng, &encoded, out)
}

/// Whether that is a signature of a digest.
///
/// # Errors
/// `Signature`: it is none. `Size`: the digest is not one of `alg`. `Key`: see [`public_op`].
pub fn pkcs1_verify(
    (n, e): (&[u8], u32),
    alg: HashAlg,
    digest: &[u8],
    signature: &[u8],
) -> Result<()> {
    let expected = pkcs1_encode(n.len(), alg, digest)?;
    let encoded = open(n, e, signature)?;
    if encoded == expected {
        Ok(())
    } else {
        Err(CryptoError::Signature)
    }
}

/// RSASSA-PSS of a digest, with a salt of the digest's length (FIPS 186-5 §5.4 allows no more), or of what fits.
///
/// # Errors
/// `Size`: the digest is not one of `alg`, or `out` not as long as the modulus. `Fault`.
pub fn pss_sign(
    key: &PrivateKey,
    alg: HashAlg,
    digest: &[u8],
    rng: &mut dyn Rng,
    out: &mut [u8],
) -> Result<()> {
    check_digest(alg, digest)?;
    let mut encoded = Encoded::zeroed(key.size());
    let (db, hash, end) = split_pss(encoded.as_mut_slice(), alg)?;
    let most = db.len().checked_sub(1).ok_or(CryptoError::Size)?;
    let start = db.len().saturating_sub(alg.size().min(most));
    let (zeros, salt) = split(db, start)?;
    *zeros.last_mut().ok_or(CryptoError::Size)? = 1;
    rng.fill(salt);
    hash.copy_from_slice(&pss_hash(alg, digest, salt));
    *end = 0xBC;
    mgf1(alg, hash, db);
    clear_top(db);
    key.private_op(rng, &encoded, out)
}

/// Whether that is a signature of a digest, with a salt of any length.
///
/// # Errors
/// `Signature`: it is none. `Size`: the digest is not one of `alg`. `Key`: see [`public_op`].
pub fn pss_verify(
    (n, e): (&[u8], u32),
    alg: HashAlg,
    digest: &[u8],
    signature: &[u8],
) -> Result<()> {
    check_digest(alg, digest)?;
    let mut encoded = open(n, e, signature)?;
    let (db, hash, end) = split_pss(encoded.as_mut_slice(), alg)?;
    let short = db.first().is_some_and(|byte| byte & 0x80 == 0);
    mgf1(alg, hash, db);
    clear_top(db);
    let salt = db
        .iter()
        .position(|byte| *byte != 0)
        .and_then(|first| db.get(first..)?.strip_prefix(&[1]));
    match salt {
        Some(salt) if short && *end == 0xBC && *pss_hash(alg, digest, salt) == *hash => Ok(()),
        _ => Err(CryptoError::Signature),
    }
}

/// x^d of a whole ciphertext.
fn decrypt(key: &PrivateKey, rng: &mut dyn Rng, input: &[u8]) -> Result<Encoded> {
    if input.len() != key.size() {
        return Err(CryptoError::Size);
    }
    let mut encoded = Encoded::zeroed(input.len());
    key.private_op(rng, input, encoded.as_mut_slice())?;
    Ok(encoded)
}

/// x^e of a whole signature.
fn open(n: &[u8], e: u32, signature: &[u8]) -> Result<Buf<MAX_MODULUS_SIZE>> {
    let mut encoded = Buf::zeroed(n.len());
    if signature.len() != n.len() {
        return Err(CryptoError::Signature);
    }
    match public_op(n, e, signature, encoded.as_mut_slice()) {
        Ok(()) => Ok(encoded),
        Err(CryptoError::Value) => Err(CryptoError::Signature),
        Err(error) => Err(error),
    }
}

fn check_digest(alg: HashAlg, digest: &[u8]) -> Result<()> {
    if digest.len() == alg.size() {
        Ok(())
    } else {
        Err(CryptoError::Size)
    }
}

/// EMSA-PKCS1-v1_5 (§9.2).
fn pkcs1_encode(size: usize, alg: HashAlg, digest: &[u8]) -> Result<Buf<MAX_MODULUS_SIZE>> {
    check_digest(alg, digest)?;
    let mut encoded = Buf::from_slice(&[0, 1])?;
    let used = alg.oid_der().len().saturating_add(digest.len());
    for _ in encoded.len()..size.saturating_sub(used).saturating_sub(1) {
        encoded.push(0xFF)?;
    }
    encoded.push(0)?;
    encoded.extend(alg.oid_der())?;
    encoded.extend(digest)?;
    Ok(encoded)
}

fn pss_hash(alg: HashAlg, of: &[u8], salt: &[u8]) -> Digest {
    digest(alg, &[&[0; 8], of, salt])
}

/// The encoded number is one bit shorter than the modulus (§9.1.1).
fn clear_top(db: &mut [u8]) {
    if let Some(first) = db.first_mut() {
        *first &= 0x7F;
    }
}

/// Masked data block, hash and last byte of an encoded PSS message.
fn split_pss(encoded: &mut [u8], alg: HashAlg) -> Result<(&mut [u8], &mut [u8], &mut u8)> {
    let (end, rest) = encoded.split_last_mut().ok_or(CryptoError::Size)?;
    let db = rest
        .len()
        .checked_sub(alg.size())
        .ok_or(CryptoError::Size)?;
    let (db, hash) = split(rest, db)?;
    Ok((db, hash, end))
}

/// Masked seed and masked data block of an encoded OAEP message.
fn split_masked(encoded: &mut [u8], alg: HashAlg) -> Result<(&mut [u8], &mut [u8])> {
    split(split(encoded, 1)?.1, alg.size())
}

fn split(bytes: &mut [u8], at: usize) -> Result<(&mut [u8], &mut [u8])> {
    bytes.split_at_mut_checked(at).ok_or(CryptoError::Size)
}

/// What is behind `start`, if the padding is good: from here on that, and the length of the message, is no secret.
fn tail(bytes: &[u8], start: u64, good: Choice) -> Result<Message> {
    if !bool::from(good) {
        return Err(CryptoError::Padding);
    }
    Ok(Message::from_slice(
        bytes.get(start as usize..).unwrap_or(&[]),
    )?)
}

const _: () = assert!(
    MAX_DIGEST_SIZE * 2 + 2 <= 256,
    "every digest fits every modulus with a salt of its length"
);
