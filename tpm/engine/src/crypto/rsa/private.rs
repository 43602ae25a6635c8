//! The private key and its operation.

use crypto_bigint::{NonZero, Odd, Uint};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::montgomery::Modulus;
use super::number::{Limbs, divide_exact, from_bytes, multiply, sub, to_bytes};
use super::{below, check_public, raise};
use crate::crypto::drbg::Rng;
use crate::crypto::{CryptoError, Result};

/// A private key with everything that is worth computing once. Overwritten when dropped.
#[derive(Clone)]
pub struct PrivateKey(Key);

#[derive(Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "keys live in slots of fixed size, which fit the larger"
)]
enum Key {
    Rsa1024(Crt<8, 16>),
    Rsa2048(Crt<16, 32>),
    Rsa3072(Crt<24, 48>),
}

impl PrivateKey {
    /// From what a TPM's sensitive area holds: one prime of half the modulus's size.
    ///
    /// # Errors
    /// `Key`: `p` does not divide `n`, the sizes are wrong, or `e` has no inverse.
    pub fn from_prime(n: &[u8], e: u32, p: &[u8]) -> Result<PrivateKey> {
        check_public(n, e)?;
        match (n.len(), p.len()) {
            (128, 64) => Crt::new(n, e, p).map(|key| PrivateKey(Key::Rsa1024(key))),
            (256, 128) => Crt::new(n, e, p).map(|key| PrivateKey(Key::Rsa2048(key))),
            (384, 192) => Crt::new(n, e, p).map(|key| PrivateKey(Key::Rsa3072(key))),
            _ => Err(CryptoError::Key),
        }
    }

    /// Bytes of the modulus.
    pub const fn size(&self) -> usize {
        match self.0 {
            Key::Rsa1024(_) => 128,
            Key::Rsa2048(_) => 256,
            Key::Rsa3072(_) => 384,
        }
    }

    /// `input`^d modulo n, to `out`, which is as long as n.
    ///
    /// # Errors
    /// `Value`: `input` is not below n. `Size`: `out` is not as long as n. `Fault`: the result failed its check.
    pub fn private_op(&self, rng: &mut dyn Rng, input: &[u8], out: &mut [u8]) -> Result<()> {
        if out.len() != self.size() {
            return Err(CryptoError::Size);
        }
        match &self.0 {
            Key::Rsa1024(key) => key.private_op(rng, input, out),
            Key::Rsa2048(key) => key.private_op(rng, input, out),
            Key::Rsa3072(key) => key.private_op(rng, input, out),
        }
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        match &mut self.0 {
            Key::Rsa1024(key) => key.zeroize(),
            Key::Rsa2048(key) => key.zeroize(),
            Key::Rsa3072(key) => key.zeroize(),
        }
    }
}

impl ZeroizeOnDrop for PrivateKey {}

/// One prime and the exponent that belongs to it: −d modulo p−1, see [`Half::power`].
#[derive(Clone)]
struct Half<const H: usize> {
    p: Modulus<H>,
    minus_d: Limbs<H>,
}

/// A key of `F` limbs whose primes have `H`.
#[derive(Clone)]
struct Crt<const H: usize, const F: usize> {
    n: Modulus<F>,
    e: u32,
    first: Half<H>,
    second: Half<H>,
    /// The inverse of the second prime modulo the first, in Montgomery's form.
    inverse: Limbs<H>,
}

impl<const H: usize, const F: usize> Crt<H, F> {
    fn new(n: &[u8], e: u32, p: &[u8]) -> Result<Self> {
        let n = from_bytes::<F>(n);
        let mut p = from_bytes::<H>(p);
        let mut q = cofactor(&n, &p)?;
        let first = Half::new(&p, e)?;
        let second = Half::new(&q, e)?;
        // Neither prime is more than twice the other: both have their top bit set.
        let odd = Odd::new(Uint::from_words(p)).into_option();
        let inverse = odd.and_then(|p| {
            let q = Uint::from_words(first.p.reduce(&q));
            q.invert_odd_mod(&p).into_option()
        });
        p.zeroize();
        q.zeroize();
        Ok(Crt {
            n: Modulus::new(&n),
            e,
            inverse: first.p.enter(&inverse.ok_or(CryptoError::Key)?.to_words()),
            first,
            second,
        })
    }

    fn private_op(&self, rng: &mut dyn Rng, input: &[u8], out: &mut [u8]) -> Result<()> {
        let c = below(input, self.n.limbs())?;
        let mut a = self.first.power(rng, self.e, &c);
        let mut b = self.second.power(rng, self.e, &c);
        // Garner: b + q·((a − b)/q modulo p).
        let difference = self.first.p.sub(&a, &self.first.p.reduce(&b));
        let mut quotient = self.first.p.mul(&difference, &self.inverse);
        let mut m = [0; F];
        multiply(&quotient, self.second.p.limbs(), &mut m);
        let mut carry = false;
        let addend = b.iter().chain(core::iter::repeat(&0));
        for (limb, more) in m.iter_mut().zip(addend) {
            (*limb, carry) = limb.carrying_add(*more, carry);
        }
        a.zeroize();
        b.zeroize();
        quotient.zeroize();
        let check = raise(&self.n, &self.n.enter(&m), &m, self.e);
        let good: bool = check.ct_eq(&c).into();
        if good {
            to_bytes(&m, out);
        }
        m.zeroize();
        if good {
            Ok(())
        } else {
            Err(CryptoError::Fault)
        }
    }
}

impl<const H: usize, const F: usize> Zeroize for Crt<H, F> {
    fn zeroize(&mut self) {
        for half in [&mut self.first, &mut self.second] {
            half.p.zeroize();
            half.minus_d.zeroize();
        }
        self.inverse.zeroize();
    }
}

impl<const H: usize> Half<H> {
    fn new(p: &Limbs<H>, e: u32) -> Result<Self> {
        // p − 1: p is odd.
        let mut order = *p;
        if let Some(low) = order.first_mut() {
            *low &= !1;
        }
        let d = NonZero::new(Uint::from_words(order))
            .into_option()
            .and_then(|order| Uint::from(e).invert_mod(&order).into_option());
        let mut d = d.ok_or(CryptoError::Key)?.to_words();
        let half = Half {
            p: Modulus::new(p),
            minus_d: sub(&order, &d).0,
        };
        d.zeroize();
        order.zeroize();
        Ok(half)
    }

    /// c^d modulo p.
    ///
    /// What is raised to the secret power is x = (c·s)^(e−1)·s with a random s, of which an observer knows nothing
    /// even if he chose c. Because x = c^(e−1)·s^e, x^(−d) is c^(d−1)·s^(−1), and that times c·s is c^d: the blinding
    /// comes off without an inversion.
    fn power(&self, rng: &mut dyn Rng, e: u32, c: &[u64]) -> Limbs<H> {
        let p = &self.p;
        let mut random = [[0u8; 8]; H];
        rng.fill(random.as_flattened_mut());
        let mut s = p.enter(&random.map(u64::from_be_bytes));
        let mut blinded = p.mul(&p.enter_wide(c), &s);
        let x = p.mul(&p.pow_public(&blinded, e.wrapping_sub(1)), &s);
        let power = p.mul(&p.pow(&x, &self.minus_d), &blinded);
        random.as_flattened_mut().zeroize();
        s.zeroize();
        blinded.zeroize();
        let mut one = [0; H];
        if let Some(low) = one.first_mut() {
            *low = 1;
        }
        p.mul(&power, &one)
    }
}

/// n/p, if there is no remainder and both factors have their top bit set.
fn cofactor<const H: usize, const F: usize>(n: &Limbs<F>, p: &Limbs<H>) -> Result<Limbs<H>> {
    let q = divide_exact(n, p);
    let mut product = [0; F];
    multiply(p, &q, &mut product);
    let full = |x: &Limbs<H>| x.last().is_some_and(|top| top >> 63 == 1);
    if product == *n && full(p) && full(&q) {
        Ok(q)
    } else {
        Err(CryptoError::Key)
    }
}
