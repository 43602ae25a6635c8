//! Elliptic curves: P-256 and P-384, with the arithmetic of `p256` and `p384`.
//!
//! Private values are multiplied in constant time. Verification, which knows nothing secret, is not constant time.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "the operators are those of points and of numbers modulo the order, which cannot overflow"
)]

mod parameters;
mod schemes;

pub use parameters::{Curve, Parameters};
pub use schemes::{
    Signature, ecdaa_sign, ecdsa_sign, ecdsa_verify, ecschnorr_sign, ecschnorr_verify,
};

use crypto_bigint::{NonZero, Uint};
use p256::NistP256;
use p256::elliptic_curve::ff::{Field, PrimeField};
use p256::elliptic_curve::group::{Curve as _, Group};
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::{CurveArithmetic, FieldBytes};
use p384::NistP384;
use zeroize::Zeroize;

use super::drbg::Rng;
use super::{CryptoError, Result};
use crate::buf::{Buf, Secret};

/// Bytes of the longest coordinate and of the longest number modulo the order.
pub const MAX_SIZE: usize = 48;

/// A private key, or another secret number modulo the order, as long as the order.
pub type Private = Secret<MAX_SIZE>;

/// A point: its coordinates as big-endian numbers. Those that come from here are as long as the field's prime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// x.
    pub x: Buf<MAX_SIZE>,
    /// y.
    pub y: Buf<MAX_SIZE>,
}

/// Calls a function that is generic in the curve.
macro_rules! on {
    ($curve:expr, $function:ident($($argument:expr),*)) => {
        match $curve {
            $crate::crypto::ecc::Curve::P256 => $function::<p256::NistP256>($($argument),*),
            $crate::crypto::ecc::Curve::P384 => $function::<p384::NistP384>($($argument),*),
        }
    };
}
use on;

/// Whether the point is on the curve; the point at infinity has no coordinates and so is not.
pub fn on_curve(curve: Curve, point: &Point) -> bool {
    match curve {
        Curve::P256 => affine::<NistP256>(point).is_ok(),
        Curve::P384 => affine::<NistP384>(point).is_ok(),
    }
}

/// A key pair: FIPS 186-5 A.2.1, with 64 extra random bits (TPM Part 1 §44.6).
///
/// Version 1, never to change, because primary keys are generated anew from their seed: 40 (P-256) or 56 (P-384) bytes
/// are drawn from `rng` as a big-endian number c; the private key is (c mod (n − 1)) + 1. Nothing else is drawn.
pub fn keygen(curve: Curve, rng: &mut dyn Rng) -> (Private, Point) {
    let d = random(curve, rng);
    let q = public_of(curve, &d).unwrap_or_default();
    (d, q)
}

/// A random number from 1 to n − 1, as in [`keygen`].
pub fn random(curve: Curve, rng: &mut dyn Rng) -> Private {
    let mut bytes = Secret::<{ MAX_SIZE + 8 }>::zeroed(curve.size().saturating_add(8));
    rng.fill(bytes.as_mut_slice());
    private_from_extra(curve, &bytes)
}

/// (c mod (n − 1)) + 1 of the big-endian number c of at most 64 bytes; what is before its last 64 bytes is ignored.
pub fn private_from_extra(curve: Curve, bytes: &[u8]) -> Private {
    let most = wide(curve.parameters().n).wrapping_sub(&Uint::ONE);
    let mut c = reduced(bytes, most).wrapping_add(&Uint::ONE);
    let mut private = Private::zeroed(curve.size());
    put_wide(private.as_mut_slice(), &c);
    c.zeroize();
    private
}

/// The big-endian number of at most 64 bytes; what is before its last 64 bytes is ignored.
fn wide(bytes: &[u8]) -> Uint<8> {
    let mut padded = [0u8; 64];
    pad(
        &mut padded,
        bytes.get(bytes.len().saturating_sub(64)..).unwrap_or(&[]),
    );
    let number = Uint::from_be_slice(&padded);
    padded.zeroize();
    number
}

/// [`wide`] modulo a number that is not 0.
fn reduced(bytes: &[u8], modulus: Uint<8>) -> Uint<8> {
    let mut number = wide(bytes);
    // No modulus here is 0.
    if let Some(modulus) = NonZero::new(modulus).into_option() {
        let rest = number.rem(&modulus);
        number.zeroize();
        number = rest;
    }
    number
}

/// The last bytes of a number whose others are zero.
fn put_wide(out: &mut [u8], number: &Uint<8>) {
    let words = number.to_words();
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    for (to, from) in out.iter_mut().rev().zip(bytes) {
        *to = from;
    }
}

/// The big-endian number of at most 64 bytes modulo the field's prime: a coordinate from a digest.
pub fn field_element(curve: Curve, bytes: &[u8]) -> Buf<MAX_SIZE> {
    let mut out = Buf::zeroed(curve.size());
    put_wide(
        out.as_mut_slice(),
        &reduced(bytes, wide(curve.parameters().p)),
    );
    out
}

/// The private key that these bytes are, as long as the order.
///
/// # Errors
/// `Key`: the number is 0 or not below the order.
pub fn private_from_bytes(curve: Curve, bytes: &[u8]) -> Result<Private> {
    on!(curve, checked_private(bytes))
}

fn checked_private<C: CurveArithmetic>(bytes: &[u8]) -> Result<Private> {
    let mut d = nonzero::<C>(bytes).map_err(|_| CryptoError::Key)?;
    let private = Private::from_slice(&d.to_repr())?;
    d.zeroize();
    Ok(private)
}

/// d·G.
///
/// # Errors
/// `Key`: `d` is 0 or not below the order.
pub fn public_of(curve: Curve, d: &[u8]) -> Result<Point> {
    on!(curve, generator_times(d))
}

fn generator_times<C: CurveArithmetic>(d: &[u8]) -> Result<Point> {
    let mut d = nonzero::<C>(d).map_err(|_| CryptoError::Key)?;
    let point = C::ProjectivePoint::mul_by_generator(&d);
    d.zeroize();
    from_projective::<C>(point)
}

/// d·P: the Diffie-Hellman operation (the cofactor of both curves is 1).
///
/// # Errors
/// `Key`: `d` is 0 or not below the order. `Point`: `point` is not on the curve.
pub fn mul(curve: Curve, d: &[u8], point: &Point) -> Result<Point> {
    on!(curve, times(d, point))
}

fn times<C: CurveArithmetic>(d: &[u8], point: &Point) -> Result<Point> {
    let point = affine::<C>(point)?;
    let mut d = nonzero::<C>(d).map_err(|_| CryptoError::Key)?;
    let product = C::ProjectivePoint::from(point) * d;
    d.zeroize();
    from_projective::<C>(product)
}

/// a·P + b·Q.
///
/// # Errors
/// `Key`: `a` or `b` is not below the order. `Point`: `p` or `q` is not on the curve, or the sum is at infinity.
pub fn mul_add(curve: Curve, a: &[u8], p: &Point, b: &[u8], q: &Point) -> Result<Point> {
    on!(curve, sum(a, p, b, q))
}

fn sum<C: CurveArithmetic>(a: &[u8], p: &Point, b: &[u8], q: &Point) -> Result<Point> {
    let (p, q) = (affine::<C>(p)?, affine::<C>(q)?);
    let mut a = scalar::<C>(a).map_err(|_| CryptoError::Key)?;
    let mut b = scalar::<C>(b).map_err(|_| CryptoError::Key)?;
    let sum = C::ProjectivePoint::from(p) * a + C::ProjectivePoint::from(q) * b;
    a.zeroize();
    b.zeroize();
    from_projective::<C>(sum)
}

/// A number below the order.
fn scalar<C: CurveArithmetic>(bytes: &[u8]) -> Result<C::Scalar> {
    let repr = field_bytes::<C>(bytes)?;
    C::Scalar::from_repr(repr)
        .into_option()
        .ok_or(CryptoError::Value)
}

/// A number from 1 to n − 1.
fn nonzero<C: CurveArithmetic>(bytes: &[u8]) -> Result<C::Scalar> {
    let scalar = scalar::<C>(bytes)?;
    if scalar.is_zero().into() {
        Err(CryptoError::Value)
    } else {
        Ok(scalar)
    }
}

fn affine<C: CurveArithmetic>(point: &Point) -> Result<C::AffinePoint> {
    let coordinates = field_bytes::<C>(&point.x).and_then(|x| Ok((x, field_bytes::<C>(&point.y)?)));
    let (x, y) = coordinates.map_err(|_| CryptoError::Point)?;
    C::AffinePoint::from_coordinates(&x, &y)
        .into_option()
        .ok_or(CryptoError::Point)
}

fn from_projective<C: CurveArithmetic>(point: C::ProjectivePoint) -> Result<Point> {
    if point.is_identity().into() {
        return Err(CryptoError::Point);
    }
    let point = point.to_affine();
    Ok(Point {
        x: Buf::from_slice(point.x().as_ref())?,
        y: Buf::from_slice(point.y().as_ref())?,
    })
}

/// A number as long as the field's elements; it may be given with zeros in front, or without them.
fn field_bytes<C: CurveArithmetic>(bytes: &[u8]) -> Result<FieldBytes<C>> {
    let mut out = FieldBytes::<C>::default();
    if pad(&mut out, bytes) {
        Ok(out)
    } else {
        Err(CryptoError::Value)
    }
}

/// Right-aligns a big-endian number in `out`, which is zero; false where it does not fit.
fn pad(out: &mut [u8], bytes: &[u8]) -> bool {
    let excess = bytes.len().saturating_sub(out.len());
    for (to, from) in out.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    bytes.iter().take(excess).all(|byte| *byte == 0)
}
