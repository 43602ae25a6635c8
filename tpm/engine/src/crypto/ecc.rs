//! Placeholder until the arithmetic lands.
use crate::buf::Buf;

/// A curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

impl Curve {
    /// From TPM_ECC_CURVE.
    pub const fn from_id(id: u16) -> Option<Curve> {
        match id {
            3 => Some(Curve::P256),
            4 => Some(Curve::P384),
            _ => None,
        }
    }

    /// TPM_ECC_CURVE.
    pub const fn id(self) -> u16 {
        match self {
            Curve::P256 => 3,
            Curve::P384 => 4,
        }
    }
}

/// A point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// x.
    pub x: Buf<48>,
    /// y.
    pub y: Buf<48>,
}
