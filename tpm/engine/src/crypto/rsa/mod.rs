//! RSA with keys of 2048 and 3072 bits; keys of 1024 bits from elsewhere can be used, but not made.
//!
//! The crate `rsa` is not used: its private operation is not constant time (RUSTSEC-2023-0071, "Marvin", without a
//! patched release), and an SVSM shares caches with a host it does not trust, which can ask a guest's TPM to decrypt
//! and watch the clock. Here the private operation works on blinded values, takes time that depends on the size of the
//! key and on e only, and its result is checked with the public key before anybody sees it, so that no fault in the
//! computation gives a prime away. Paddings are taken off in constant time ([`padding`]).
//!
//! Key generation ([`generate`]) is a frozen function of the random stream: an endorsement key must be the same for
//! ever.

mod keygen;
mod montgomery;
mod number;
pub mod padding;
mod private;
mod sieve;

#[cfg(test)]
mod tests;

pub use keygen::generate;
pub use padding::{
    oaep_decrypt, oaep_encrypt, pkcs1_decrypt, pkcs1_encrypt, pkcs1_sign, pkcs1_verify, pss_sign,
    pss_verify,
};
pub use private::PrivateKey;

use super::{CryptoError, Result};
use montgomery::{Modulus, enter_public};
use number::{Limbs, from_bytes, sub, to_bytes};

/// Bytes of the longest modulus.
pub const MAX_MODULUS_SIZE: usize = 384;

/// Bytes of the longest prime.
pub const MAX_PRIME_SIZE: usize = MAX_MODULUS_SIZE / 2;

/// `input`^`e` modulo `n`, all big-endian, to `out`, which is as long as `n`.
///
/// # Errors
/// `Key`: `n` is even or not of 1024, 2048 or 3072 bits, or `e` is even or 1. `Value`: `input` is not below `n`. `Size`:
/// `out` is not as long as `n`.
pub fn public_op(n: &[u8], e: u32, input: &[u8], out: &mut [u8]) -> Result<()> {
    match n.len() {
        128 => public_op_of::<16>(n, e, input, out),
        256 => public_op_of::<32>(n, e, input, out),
        384 => public_op_of::<48>(n, e, input, out),
        _ => Err(CryptoError::Key),
    }
}

fn public_op_of<const N: usize>(n: &[u8], e: u32, input: &[u8], out: &mut [u8]) -> Result<()> {
    check_public(n, e)?;
    if out.len() != n.len() {
        return Err(CryptoError::Size);
    }
    let n = from_bytes::<N>(n);
    let input = below(input, &n)?;
    let power = raise(
        &Modulus::without_rr(&n),
        &enter_public(&n, &input),
        &input,
        e,
    );
    to_bytes(&power, out);
    Ok(())
}

/// x^e of `x`, of which `entered` is Montgomery's form; `e` is odd.
fn raise<const N: usize>(
    modulus: &Modulus<N>,
    entered: &Limbs<N>,
    x: &Limbs<N>,
    e: u32,
) -> Limbs<N> {
    // The last factor is x itself and not x·R: that multiplication leaves Montgomery's form on its way.
    let even = modulus.pow_public(entered, e & !1);
    modulus.mul(&even, x)
}

/// Whether this can be a public key: `n` odd and without leading zeros, `e` odd and not 1.
fn check_public(n: &[u8], e: u32) -> Result<()> {
    let odd = n.last().is_some_and(|byte| byte & 1 == 1);
    let full = n.first().is_some_and(|byte| byte & 0x80 != 0);
    if odd && full && e & 1 == 1 && e != 1 {
        Ok(())
    } else {
        Err(CryptoError::Key)
    }
}

/// `input` as a number, if it is below `n`.
fn below<const N: usize>(input: &[u8], n: &Limbs<N>) -> Result<Limbs<N>> {
    let excess = input.len().saturating_sub(N.saturating_mul(8));
    let zero = input.iter().take(excess).all(|byte| *byte == 0);
    let limbs = from_bytes(input);
    if zero && sub(&limbs, n).1 == 1 {
        Ok(limbs)
    } else {
        Err(CryptoError::Value)
    }
}
