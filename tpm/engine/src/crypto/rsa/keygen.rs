//! Key generation: version 1, never to change. What follows from a random stream follows from it for ever, because
//! primary keys are not kept but generated anew from their seed.
//!
//! A prime of k bits: k/8 bytes are drawn from the stream, as a big-endian number; its two highest bits and its lowest
//! bit are set; this and the 8191 odd numbers behind it are the candidates. The prime is the first candidate that is
//! prime and whose predecessor has no factor in common with e. Where there is none among them, or they leave the k
//! bits, it is done again with fresh bytes. The key: p as above, then q as above, again and again until |p − q| is
//! above 2^(k−100). Nothing else is drawn; a sieve and more or fewer tests of primality change nothing.
//!
//! This is FIPS 186-5 A.1.3, but for one thing: it would draw each candidate anew, which makes every prime equally
//! likely and needs ten times as long. The incremental search (as in FIPS 186-5's own construction of provable primes)
//! favours primes behind wide gaps, by less than a bit of their thousand. That d exceeds 2^(nlen/2) needs no test: with
//! an e of 32 bits it fails only if p−1 and q−1 share a factor of nearly all their bits.
//!
//! Time: the search is not constant time, and how many candidates fell depends on the stream; an observer sees the same
//! search each time a primary key is generated anew. What is done with the candidate that is kept is constant time.

use crypto_bigint::Uint;
use zeroize::Zeroize;

use super::montgomery::Modulus;
use super::number::{Limbs, from_bytes, multiply, sub, to_bytes};
use super::sieve::{LENGTH, Sieve, remainder};
use super::{MAX_MODULUS_SIZE, MAX_PRIME_SIZE};
use crate::buf::{Buf, Secret};
use crate::crypto::drbg::{Drbg, Rng};
use crate::crypto::{CryptoError, Result};

/// Rounds of Miller-Rabin beside that with base 2: as many as FIPS 186-5 Table B.1 asks for at 1024 bits; 1536 need 4.
const ROUNDS: usize = 5;

/// A key of `bits` bits from the stream: the modulus and its first prime.
///
/// # Errors
/// `Size`: `bits` is not 2048 or 3072. `Value`: `e` is even or not above 2^16.
pub fn generate(
    bits: u32,
    e: u32,
    rng: &mut dyn Rng,
) -> Result<(Buf<MAX_MODULUS_SIZE>, Secret<MAX_PRIME_SIZE>)> {
    if e & 1 == 0 || e <= 1 << 16 {
        return Err(CryptoError::Value);
    }
    match bits {
        2048 => Ok(generate_of::<16, 32>(e, rng)),
        3072 => Ok(generate_of::<24, 48>(e, rng)),
        _ => Err(CryptoError::Size),
    }
}

fn generate_of<const H: usize, const F: usize>(
    e: u32,
    rng: &mut dyn Rng,
) -> (Buf<MAX_MODULUS_SIZE>, Secret<MAX_PRIME_SIZE>) {
    let mut p = prime::<H>(e, rng);
    let mut q = prime::<H>(e, rng);
    while near(&p, &q) {
        q = prime(e, rng);
    }
    let mut product = [0; F];
    multiply(&p, &q, &mut product);
    let mut n = Buf::zeroed(F.saturating_mul(8));
    to_bytes(&product, n.as_mut_slice());
    let mut secret = Secret::zeroed(H.saturating_mul(8));
    to_bytes(&p, secret.as_mut_slice());
    p.zeroize();
    q.zeroize();
    (n, secret)
}

/// Whether |p − q| is not above 2^(64·H − 100).
fn near<const H: usize>(p: &Limbs<H>, q: &Limbs<H>) -> bool {
    let (low, high) = if sub(p, q).1 == 0 { (q, p) } else { (p, q) };
    let difference = Uint::from_words(sub(high, low).0);
    difference <= Uint::ONE.shl(Uint::<H>::BITS.saturating_sub(100))
}

fn prime<const H: usize>(e: u32, rng: &mut dyn Rng) -> Limbs<H> {
    let mut bytes = [[0u8; 8]; H];
    loop {
        rng.fill(bytes.as_flattened_mut());
        let mut start = from_bytes::<H>(bytes.as_flattened());
        bytes.as_flattened_mut().zeroize();
        if let Some(low) = start.first_mut() {
            *low |= 1;
        }
        if let Some(high) = start.last_mut() {
            *high |= 3 << 62;
        }
        let found = search(&start, e);
        start.zeroize();
        if let Some(prime) = found {
            return prime;
        }
    }
}

fn search<const H: usize>(start: &Limbs<H>, e: u32) -> Option<Limbs<H>> {
    let sieve = Sieve::new(start);
    let rest = u64::from(remainder(start, e));
    for index in sieve.survivors().take_while(|index| *index < LENGTH) {
        let distance = (index as u64).wrapping_mul(2);
        // As much as candidate − 1, modulo e.
        let before = rest
            .wrapping_add(distance)
            .wrapping_add(u64::from(e.wrapping_sub(1)));
        if !coprime(before, e) {
            continue;
        }
        let mut candidate = *start;
        let mut carry = distance;
        for limb in &mut candidate {
            let over;
            (*limb, over) = limb.overflowing_add(carry);
            carry = over.into();
        }
        if carry != 0 {
            return None;
        }
        if is_prime(&candidate) {
            return Some(candidate);
        }
        candidate.zeroize();
    }
    None
}

/// Whether two numbers have no common factor.
fn coprime(a: u64, b: u32) -> bool {
    let (mut a, mut b) = (a, u64::from(b));
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a == 1
}

/// Miller-Rabin: base 2, which is quick, first; then bases that follow from the candidate.
fn is_prime<const H: usize>(candidate: &Limbs<H>) -> bool {
    let mut modulus = Modulus::without_rr(candidate);
    // candidate − 1 = odd·2^twos.
    let mut order = *candidate;
    if let Some(low) = order.first_mut() {
        *low &= !1;
    }
    let order = Uint::from_words(order);
    let twos = order.trailing_zeros();
    let mut odd = order.shr(twos).to_words();
    let passes = |modulus: &Modulus<H>, power: Limbs<H>| {
        let mut power = power;
        if power == modulus.one() {
            return true;
        }
        for _ in 1..twos {
            if power == modulus.minus_one() {
                return true;
            }
            power = modulus.square(&power);
        }
        power == modulus.minus_one()
    };
    let power = modulus.pow_of_two(&odd);
    let mut prime = passes(&modulus, power);
    if prime {
        modulus.find_rr();
        let mut bytes = [[0u8; 8]; H];
        to_bytes(candidate, bytes.as_flattened_mut());
        let mut drbg = Drbg::instantiate(bytes.as_flattened(), b"Miller-Rabin");
        for _ in 0..ROUNDS {
            drbg.generate(bytes.as_flattened_mut());
            let base = modulus.enter(&from_bytes(bytes.as_flattened()));
            // A multiple of the candidate says nothing.
            prime &= base == [0; H] || passes(&modulus, modulus.pow(&base, &odd));
        }
        bytes.as_flattened_mut().zeroize();
    }
    odd.zeroize();
    modulus.zeroize();
    prime
}
