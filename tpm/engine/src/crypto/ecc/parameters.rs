//! The curves and their numbers (SP 800-186 §3.2.1).

use crate::crypto::hex;

/// A curve of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

/// What TPM2_ECC_Parameters tells: big-endian, as long as the field's prime.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    /// The field's prime.
    pub p: &'static [u8],
    /// The coefficient of x.
    pub a: &'static [u8],
    /// The constant coefficient.
    pub b: &'static [u8],
    /// The generator's x.
    pub gx: &'static [u8],
    /// The generator's y.
    pub gy: &'static [u8],
    /// The order of the generator.
    pub n: &'static [u8],
    /// The cofactor.
    pub h: &'static [u8],
}

impl Curve {
    /// All of them.
    pub const ALL: [Curve; 2] = [Curve::P256, Curve::P384];

    /// The curve whose TPM_ECC_CURVE this is.
    pub const fn from_id(id: u16) -> Option<Curve> {
        match id {
            0x0003 => Some(Curve::P256),
            0x0004 => Some(Curve::P384),
            _ => None,
        }
    }

    /// The TPM_ECC_CURVE.
    pub const fn id(self) -> u16 {
        match self {
            Curve::P256 => 0x0003,
            Curve::P384 => 0x0004,
        }
    }

    /// Bytes of a coordinate, and of a number modulo the order.
    pub const fn size(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }

    /// Its numbers.
    pub const fn parameters(self) -> &'static Parameters {
        match self {
            Curve::P256 => &P256,
            Curve::P384 => &P384,
        }
    }
}

static P256: Parameters = Parameters {
    p: &hex::<32>("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"),
    a: &hex::<32>("ffffffff00000001000000000000000000000000fffffffffffffffffffffffc"),
    b: &hex::<32>("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"),
    gx: &hex::<32>("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
    gy: &hex::<32>("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
    n: &hex::<32>("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    h: &[1],
};

static P384: Parameters = Parameters {
    p: &hex::<48>(
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
    ),
    a: &hex::<48>(
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000fffffffc",
    ),
    b: &hex::<48>(
        "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
    ),
    gx: &hex::<48>(
        "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
    ),
    gy: &hex::<48>(
        "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
    ),
    n: &hex::<48>(
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    ),
    h: &[1],
};
