//! Cryptography: pure functions over byte strings, with no state but that of [`drbg::Drbg`] and of hash sequences.
//!
//! The block functions and the curves are RustCrypto's; modes, paddings, key derivation and the arithmetic of RSA are
//! here. Whatever handles a secret takes time that depends on lengths only, unless its documentation says otherwise.

pub mod drbg;
pub mod ecc;
pub mod hash;
pub mod hmac;
pub mod kdf;
pub mod rsa;
mod self_test;
pub mod sym;

pub use self_test::self_test;

/// What can be wrong; the caller knows which response code that is where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptoError {
    /// An input is malformed or out of range.
    Value,
    /// A key is not one.
    Key,
    /// A point is not on its curve, or is the point at infinity.
    Point,
    /// A length is not allowed.
    Size,
    /// A padding is not what it should be.
    Padding,
    /// A signature does not belong to the digest and the key.
    Signature,
    /// A result did not pass the check that follows its computation.
    Fault,
}

/// What the functions of this module return.
pub type Result<T> = core::result::Result<T, CryptoError>;

impl From<crate::buf::TooLong> for CryptoError {
    fn from(_: crate::buf::TooLong) -> CryptoError {
        CryptoError::Size
    }
}

/// Hexadecimal digits, read while compiling.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "evaluated while compiling"
)]
pub(crate) const fn hex<const N: usize>(digits: &str) -> [u8; N] {
    let digits = digits.as_bytes();
    assert!(digits.len() == 2 * N);
    let mut bytes = [0; N];
    let mut i = 0;
    while i < digits.len() {
        let value = match digits[i] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("not a digit"),
        };
        bytes[i / 2] = bytes[i / 2] << 4 | value;
        i += 1;
    }
    bytes
}
