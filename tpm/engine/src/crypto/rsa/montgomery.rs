//! Arithmetic modulo an odd number of `N` 64-bit limbs whose top bit is set, in Montgomery's form (x·R, R = 2^(64·N)).
//!
//! Limbs are in little-endian order. Nothing here branches on, or indexes by, the value of an operand, except where a
//! name says `public`. Products are summed column by column into three words, which keeps the running sum in registers;
//! squaring computes each mixed product once.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "every index is bounded by the loop over limbs it stands in, and depends on N alone, which tests run \
              for each size in use; sums of products fit their three words because N is below 2^32"
)]

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

use super::number::{Limbs, Sum, inverse, sub};

/// The modulus, and what is computed from it once.
#[derive(Clone)]
pub struct Modulus<const N: usize> {
    n: Limbs<N>,
    /// -n⁻¹ modulo 2^64.
    n0: u64,
    /// R² modulo n.
    rr: Limbs<N>,
}

impl<const N: usize> Zeroize for Modulus<N> {
    fn zeroize(&mut self) {
        self.n.zeroize();
        self.n0.zeroize();
        self.rr.zeroize();
    }
}

/// Bits of the fixed window of [`Modulus::pow`].
const WINDOW: usize = 5;

impl<const N: usize> Modulus<N> {
    /// `n` must be odd and have its top bit set.
    pub fn new(n: &Limbs<N>) -> Self {
        let mut modulus = Self::without_rr(n);
        modulus.find_rr();
        modulus
    }

    /// As [`Modulus::new`], for use without [`Modulus::enter`] and [`Modulus::pow`] until [`Modulus::find_rr`].
    pub fn without_rr(n: &Limbs<N>) -> Self {
        Modulus {
            n: *n,
            n0: inverse(n[0]).wrapping_neg(),
            rr: [0; N],
        }
    }

    /// Squaring 2^k·R gives 2^2k·R: from a few doublings of R to R·R.
    pub fn find_rr(&mut self) {
        let mut rr = self.one();
        let squarings = (64 * N).trailing_zeros();
        for _ in 0..(64 * N) >> squarings {
            rr = self.double(&rr);
        }
        for _ in 0..squarings {
            rr = self.square(&rr);
        }
        self.rr = rr;
    }

    /// The modulus.
    pub const fn limbs(&self) -> &Limbs<N> {
        &self.n
    }

    /// 1 in Montgomery's form: R − n, because n has its top bit set.
    pub fn one(&self) -> Limbs<N> {
        sub(&[0; N], &self.n).0
    }

    /// n − 1 in Montgomery's form.
    pub fn minus_one(&self) -> Limbs<N> {
        sub(&self.n, &self.one()).0
    }

    /// 2·a; `a` below n.
    pub fn double(&self, a: &Limbs<N>) -> Limbs<N> {
        let mut doubled = [0; N];
        let mut carry = 0;
        for (out, limb) in doubled.iter_mut().zip(a) {
            *out = limb << 1 | carry;
            carry = limb >> 63;
        }
        self.reduce_once(&doubled, carry)
    }

    /// a − b modulo n, both below n.
    pub fn sub(&self, a: &Limbs<N>, b: &Limbs<N>) -> Limbs<N> {
        let (mut out, borrow) = sub(a, b);
        let mask = mask(borrow);
        let mut carry = false;
        for (limb, n) in out.iter_mut().zip(&self.n) {
            (*limb, carry) = limb.carrying_add(n & mask, carry);
        }
        out
    }

    /// `a` modulo n for an `a` below 2·n.
    pub fn reduce(&self, a: &Limbs<N>) -> Limbs<N> {
        self.reduce_once(a, 0)
    }

    /// x·R for any `x` of `N` limbs.
    pub fn enter(&self, x: &Limbs<N>) -> Limbs<N> {
        self.mul(x, &self.rr)
    }

    /// x·R for an `x` of twice as many limbs and below n·R.
    pub fn enter_wide(&self, x: &[u64]) -> Limbs<N> {
        let mut wide = [[0; N]; 2];
        let wide = wide.as_flattened_mut();
        wide[..x.len()].copy_from_slice(x);
        let mut top = 0;
        for i in 0..N {
            let m = wide[i].wrapping_mul(self.n0);
            let mut carry = 0;
            for (limb, n) in wide[i..i + N].iter_mut().zip(&self.n) {
                (*limb, carry) = m.carrying_mul_add(*n, *limb, carry);
            }
            let sum = wide[i + N] as u128 + carry as u128 + top as u128;
            (wide[i + N], top) = (sum as u64, (sum >> 64) as u64);
        }
        let mut high = [0; N];
        high.copy_from_slice(&wide[N..]);
        wide.zeroize();
        // That was x/R.
        let reduced = self.reduce_once(&high, top);
        self.enter(&self.enter(&reduced))
    }

    /// a·b/R; one of them below n.
    pub fn mul(&self, a: &Limbs<N>, b: &Limbs<N>) -> Limbs<N> {
        let (mut m, mut out) = ([0; N], [0; N]);
        let mut sum = Sum::default();
        for i in 0..N {
            sum.products(&a[..=i], &b[..=i]);
            sum.products(&m[..i], &self.n[1..=i]);
            m[i] = sum.low().wrapping_mul(self.n0);
            sum.add(m[i], self.n[0]);
            sum.shift();
        }
        for i in 0..N {
            sum.products(&a[i + 1..], &b[i + 1..]);
            sum.products(&m[i + 1..], &self.n[i + 1..]);
            out[i] = sum.shift();
        }
        self.reduce_once(&out, sum.low())
    }

    /// a·a/R; `a` below n.
    pub fn square(&self, a: &Limbs<N>) -> Limbs<N> {
        let (mut m, mut out) = ([0; N], [0; N]);
        let mut sum = Sum::default();
        for i in 0..N {
            sum.squares(&a[..=i]);
            sum.products(&m[..i], &self.n[1..=i]);
            m[i] = sum.low().wrapping_mul(self.n0);
            sum.add(m[i], self.n[0]);
            sum.shift();
        }
        for i in 0..N {
            sum.squares(&a[i + 1..]);
            sum.products(&m[i + 1..], &self.n[i + 1..]);
            out[i] = sum.shift();
        }
        self.reduce_once(&out, sum.low())
    }

    /// a^e for a public `e` that is not 0; `a` in Montgomery's form and below n.
    pub fn pow_public(&self, a: &Limbs<N>, e: u32) -> Limbs<N> {
        let mut power = *a;
        for bit in (0..e.ilog2()).rev() {
            power = self.square(&power);
            if e >> bit & 1 == 1 {
                power = self.mul(&power, a);
            }
        }
        power
    }

    /// a^e for a secret `e`; `a` in Montgomery's form and below n.
    pub fn pow(&self, a: &Limbs<N>, e: &Limbs<N>) -> Limbs<N> {
        let mut table = [[0; N]; 1 << WINDOW];
        table[0] = self.one();
        for i in 1..table.len() {
            table[i] = if i % 2 == 0 {
                self.square(&table[i / 2])
            } else {
                self.mul(&table[i - 1], a)
            };
        }
        let mut power = self.one();
        for window in (0..(64 * N).div_ceil(WINDOW)).rev() {
            for _ in 0..WINDOW {
                power = self.square(&power);
            }
            let factor = select(&table, bits(e, window * WINDOW));
            power = self.mul(&power, &factor);
        }
        table.as_flattened_mut().zeroize();
        power
    }

    /// 2^e in Montgomery's form for a secret `e`: no multiplications, only doublings.
    pub fn pow_of_two(&self, e: &Limbs<N>) -> Limbs<N> {
        let mut power = self.one();
        for limb in e.iter().rev() {
            for bit in (0..64).rev() {
                power = self.square(&power);
                let doubled = self.double(&power);
                let mask = mask(limb >> bit & 1);
                for (out, doubled) in power.iter_mut().zip(&doubled) {
                    *out ^= (*out ^ doubled) & mask;
                }
            }
        }
        power
    }

    /// (top, a) − n if that is not negative, else `a`.
    #[inline(always)]
    fn reduce_once(&self, a: &Limbs<N>, top: u64) -> Limbs<N> {
        let (mut out, borrow) = sub(a, &self.n);
        let keep = mask(borrow & !top);
        for (out, a) in out.iter_mut().zip(a) {
            *out ^= (*out ^ a) & keep;
        }
        out
    }
}

/// a·R modulo n in time that depends on the values: both are public. `n` has its top bit set, `a` is below it.
pub fn enter_public<const N: usize>(n: &Limbs<N>, a: &Limbs<N>) -> Limbs<N> {
    let mut rest = *a;
    let first = n[N - 1];
    for _ in 0..N {
        // One digit of a long division (Knuth, TAOCP volume 2, 4.3.1 D): the estimate is at most two too large.
        let high = rest[N - 1];
        let estimate = ((high as u128) << 64 | rest[N - 2] as u128) / first as u128;
        let digit = u64::try_from(estimate).unwrap_or(u64::MAX);
        let (mut low, mut carry) = (0, 0i128);
        for (limb, n) in rest.iter_mut().zip(n) {
            let product = digit as u128 * *n as u128;
            carry += low as i128 - (product as u64) as i128;
            low = core::mem::replace(limb, carry as u64);
            carry = (carry >> 64) - (product >> 64) as i128;
        }
        carry += low as i128;
        while carry < 0 {
            let mut more = false;
            for (limb, n) in rest.iter_mut().zip(n) {
                (*limb, more) = limb.carrying_add(*n, more);
            }
            carry += more as i128;
        }
    }
    rest
}

/// Five bits from bit `at`; beyond the end they are zero.
fn bits<const N: usize>(e: &Limbs<N>, at: usize) -> u64 {
    let (limb, shift) = (at / 64, at % 64);
    let mut bits = e[limb] >> shift;
    if shift > 64 - WINDOW && limb + 1 < N {
        bits |= e[limb + 1] << (64 - shift);
    }
    bits & ((1 << WINDOW) - 1)
}

/// The entry at the secret `index`; reads all of them.
fn select<const N: usize>(table: &[Limbs<N>], index: u64) -> Limbs<N> {
    let mut out = [0; N];
    for (i, entry) in table.iter().enumerate() {
        let mask = mask((i as u64).ct_eq(&index).unwrap_u8().into());
        for (out, limb) in out.iter_mut().zip(entry) {
            *out |= limb & mask;
        }
    }
    out
}

/// All ones for 1, nothing for 0; the compiler cannot see which, so it makes no branch of what follows.
#[inline(always)]
fn mask(bit: u64) -> u64 {
    0u64.wrapping_sub(u64::from(Choice::from((bit & 1) as u8).unwrap_u8()))
}
