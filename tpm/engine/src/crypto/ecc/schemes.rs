//! Signatures: ECDSA (FIPS 186-5 §6), EC Schnorr (TPM Part 1 §44.3.4), ECDAA (§44.3.3).
#![allow(
    clippy::arithmetic_side_effects,
    reason = "the operators are those of points and of numbers modulo the order, which cannot overflow"
)]

use p256::elliptic_curve::ff::{Field, PrimeField};
use p256::elliptic_curve::group::Curve as _;
use p256::elliptic_curve::ops::{Invert, MulByGeneratorVartime, Reduce};
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::{CurveArithmetic, FieldBytes};
use zeroize::Zeroize;

use super::{
    Curve, MAX_SIZE, Point, affine, field_bytes, generator_times, nonzero, on, pad, random,
};
use crate::buf::Buf;
use crate::crypto::drbg::Rng;
use crate::crypto::hash::{HashAlg, digest};
use crate::crypto::{CryptoError, Result};

/// The two numbers of a signature, each as long as the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The first.
    pub r: Buf<MAX_SIZE>,
    /// The second.
    pub s: Buf<MAX_SIZE>,
}

/// ECDSA of a digest with a random k.
///
/// # Errors
/// `Key`: `d` is not a private key.
pub fn ecdsa_sign(curve: Curve, d: &[u8], digest: &[u8], rng: &mut dyn Rng) -> Result<Signature> {
    on!(curve, ecdsa_sign_on(curve, d, digest, rng))
}

fn ecdsa_sign_on<C: CurveArithmetic>(
    curve: Curve,
    d: &[u8],
    digest: &[u8],
    rng: &mut dyn Rng,
) -> Result<Signature> {
    let mut d = nonzero::<C>(d).map_err(|_| CryptoError::Key)?;
    let z = from_digest::<C>(digest)?;
    loop {
        let secret = random(curve, rng);
        let mut k = nonzero::<C>(&secret)?;
        let r = C::Scalar::reduce(&field_bytes::<C>(&generator_times::<C>(&secret)?.x)?);
        // k and the sum are both multiplied by a random number, so that the inversion is not of k itself.
        let mut blind = nonzero::<C>(&random(curve, rng))?;
        let inverse = Invert::invert(&(k * blind))
            .into_option()
            .ok_or(CryptoError::Fault)?;
        let s = (z * blind + d * blind * r) * inverse;
        k.zeroize();
        blind.zeroize();
        if bool::from(!r.is_zero() & !s.is_zero()) {
            d.zeroize();
            return signature::<C>(&r.to_repr(), &s);
        }
    }
}

/// Whether that is an ECDSA signature of a digest.
///
/// # Errors
/// `Signature`: it is none. `Point`: the public key is not on the curve.
pub fn ecdsa_verify(curve: Curve, q: &Point, digest: &[u8], r: &[u8], s: &[u8]) -> Result<()> {
    on!(curve, ecdsa_verify_on(q, digest, r, s))
}

fn ecdsa_verify_on<C: CurveArithmetic>(q: &Point, digest: &[u8], r: &[u8], s: &[u8]) -> Result<()> {
    let q = C::ProjectivePoint::from(affine::<C>(q)?);
    let number = |bytes| nonzero::<C>(bytes).map_err(|_| CryptoError::Signature);
    let (r, s) = (number(r)?, number(s)?);
    let inverse = Invert::invert_vartime(&s)
        .into_option()
        .ok_or(CryptoError::Signature)?;
    let (u, v) = (from_digest::<C>(digest)? * inverse, r * inverse);
    let point = C::ProjectivePoint::mul_by_generator_and_mul_add_vartime(&u, &v, &q);
    // The point at infinity has x = 0, which is no r.
    if C::Scalar::reduce(&point.to_affine().x()) == r {
        Ok(())
    } else {
        Err(CryptoError::Signature)
    }
}

/// EC Schnorr of a digest: `alg` hashes it together with the random point's x-coordinate.
///
/// # Errors
/// `Key`: `d` is not a private key.
pub fn ecschnorr_sign(
    curve: Curve,
    alg: HashAlg,
    d: &[u8],
    digest: &[u8],
    rng: &mut dyn Rng,
) -> Result<Signature> {
    on!(curve, ecschnorr_sign_on(curve, alg, d, digest, rng))
}

fn ecschnorr_sign_on<C: CurveArithmetic>(
    curve: Curve,
    alg: HashAlg,
    d: &[u8],
    digest: &[u8],
    rng: &mut dyn Rng,
) -> Result<Signature> {
    let mut d = nonzero::<C>(d).map_err(|_| CryptoError::Key)?;
    loop {
        let secret = random(curve, rng);
        let mut k = nonzero::<C>(&secret)?;
        let e = generator_times::<C>(&secret)?;
        let r = schnorr_hash::<C>(alg, &e.x, digest)?;
        let product = C::Scalar::reduce(&r) * d;
        let s = k + product;
        k.zeroize();
        if bool::from(!s.is_zero() & !product.is_zero()) {
            d.zeroize();
            return signature::<C>(&r, &s);
        }
    }
}

/// Whether that is an EC Schnorr signature of a digest.
///
/// # Errors
/// `Signature`: it is none. `Point`: the public key is not on the curve.
pub fn ecschnorr_verify(
    curve: Curve,
    alg: HashAlg,
    q: &Point,
    digest: &[u8],
    r: &[u8],
    s: &[u8],
) -> Result<()> {
    on!(curve, ecschnorr_verify_on(alg, q, digest, r, s))
}

fn ecschnorr_verify_on<C: CurveArithmetic>(
    alg: HashAlg,
    q: &Point,
    digest: &[u8],
    r: &[u8],
    s: &[u8],
) -> Result<()> {
    let q = C::ProjectivePoint::from(affine::<C>(q)?);
    let s = nonzero::<C>(s).map_err(|_| CryptoError::Signature)?;
    let r = field_bytes::<C>(r).map_err(|_| CryptoError::Signature)?;
    let minus = -C::Scalar::reduce(&r);
    let e = C::ProjectivePoint::mul_by_generator_and_mul_add_vartime(&s, &minus, &q);
    if schnorr_hash::<C>(alg, &e.to_affine().x(), digest)? == r {
        Ok(())
    } else {
        Err(CryptoError::Signature)
    }
}

/// ECDAA: `commit` is the random number of the TPM2_Commit before it, `digest` the value to sign. The signature's r is
/// the nonce k.
///
/// # Errors
/// `Key`: `d` or `commit` is not a private key. `Fault`: s is zero.
pub fn ecdaa_sign(
    curve: Curve,
    alg: HashAlg,
    d: &[u8],
    commit: &[u8],
    digest: &[u8],
    rng: &mut dyn Rng,
) -> Result<Signature> {
    on!(curve, ecdaa_sign_on(curve, alg, d, commit, digest, rng))
}

fn ecdaa_sign_on<C: CurveArithmetic>(
    curve: Curve,
    alg: HashAlg,
    d: &[u8],
    commit: &[u8],
    digest: &[u8],
    rng: &mut dyn Rng,
) -> Result<Signature> {
    let mut d = nonzero::<C>(d).map_err(|_| CryptoError::Key)?;
    let mut commit = nonzero::<C>(commit).map_err(|_| CryptoError::Key)?;
    let k = random(curve, rng);
    let t = schnorr_hash::<C>(alg, &k, digest)?;
    let s = commit + C::Scalar::reduce(&t) * d;
    d.zeroize();
    commit.zeroize();
    if s.is_zero().into() {
        return Err(CryptoError::Fault);
    }
    signature::<C>(&k, &s)
}

/// H(x ∥ digest), cut at its end to the length of the order.
fn schnorr_hash<C: CurveArithmetic>(alg: HashAlg, x: &[u8], of: &[u8]) -> Result<FieldBytes<C>> {
    leftmost::<C>(&digest(alg, &[x, of]))
}

/// The leftmost bits of a digest as a number modulo the order (FIPS 186-5 §6.4.1); orders are of whole bytes.
fn from_digest<C: CurveArithmetic>(digest: &[u8]) -> Result<C::Scalar> {
    Ok(C::Scalar::reduce(&leftmost::<C>(digest)?))
}

fn leftmost<C: CurveArithmetic>(digest: &[u8]) -> Result<FieldBytes<C>> {
    let mut out = FieldBytes::<C>::default();
    let len = digest.len().min(out.len());
    pad(&mut out, digest.get(..len).ok_or(CryptoError::Size)?);
    Ok(out)
}

fn signature<C: CurveArithmetic>(r: &[u8], s: &C::Scalar) -> Result<Signature> {
    Ok(Signature {
        r: Buf::from_slice(r)?,
        s: Buf::from_slice(&s.to_repr())?,
    })
}
