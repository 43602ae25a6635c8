//! Numbers of many 64-bit limbs, in little-endian order. Nothing here branches on, or indexes by, a value.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "every index is bounded by the loop over limbs it stands in, and depends on N alone, which tests run \
              for each size in use"
)]

/// A number of `N` limbs.
pub type Limbs<const N: usize> = [u64; N];

/// The inverse of an odd number modulo 2^64.
pub const fn inverse(odd: u64) -> u64 {
    // Newton's iteration doubles the number of correct low bits; an odd number is its own inverse modulo 8.
    let mut inverse = odd;
    let mut bits = 3;
    while bits < 64 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

/// a·b, to twice the limbs.
pub fn multiply(a: &[u64], b: &[u64], out: &mut [u64]) {
    out.fill(0);
    for (i, a) in a.iter().enumerate() {
        let mut carry = 0;
        for (limb, b) in out[i..].iter_mut().zip(b) {
            (*limb, carry) = a.carrying_mul_add(*b, *limb, carry);
        }
        if let Some(limb) = out.get_mut(i + b.len()) {
            *limb = carry;
        }
    }
}

/// n/p where p is odd and divides n, and the quotient fits: from the low limbs up, so that the low half of n says it.
/// Anything where there is a remainder.
pub fn divide_exact<const N: usize>(n: &[u64], p: &Limbs<N>) -> Limbs<N> {
    let mut quotient = [0; N];
    let mut rest = [0; N];
    rest.copy_from_slice(&n[..N]);
    let inverse = inverse(p[0]);
    for i in 0..N {
        quotient[i] = rest[i].wrapping_mul(inverse);
        let (mut high, mut borrow) = (0, false);
        for (limb, p) in rest[i..].iter_mut().zip(p) {
            let low;
            (low, high) = quotient[i].carrying_mul(*p, high);
            (*limb, borrow) = limb.borrowing_sub(low, borrow);
        }
    }
    quotient
}

/// a − b, and 1 if that is negative.
#[inline(always)]
pub fn sub<const N: usize>(a: &Limbs<N>, b: &Limbs<N>) -> (Limbs<N>, u64) {
    let mut out = [0; N];
    let mut borrow = false;
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        (*out, borrow) = a.borrowing_sub(*b, borrow);
    }
    (out, borrow as u64)
}

/// Reads a big-endian number; bytes beyond `N` limbs are not read.
pub fn from_bytes<const N: usize>(bytes: &[u8]) -> Limbs<N> {
    let mut limbs = [0; N];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.rchunks(8)) {
        for byte in chunk {
            *limb = *limb << 8 | u64::from(*byte);
        }
    }
    limbs
}

/// Writes a big-endian number to all of `out`; limbs beyond it are not written.
pub fn to_bytes(limbs: &[u64], out: &mut [u8]) {
    out.fill(0);
    for (chunk, limb) in out.rchunks_mut(8).zip(limbs) {
        for (byte, from) in chunk.iter_mut().rev().zip(limb.to_le_bytes()) {
            *byte = from;
        }
    }
}

/// A sum of products, of three words.
#[derive(Default)]
pub struct Sum {
    low: u64,
    middle: u64,
    high: u64,
}

impl Sum {
    /// Adds a product.
    #[inline(always)]
    pub fn add(&mut self, a: u64, b: u64) {
        let (low, middle) = a.carrying_mul(b, 0);
        self.add_words(low, middle, 0);
    }

    #[inline(always)]
    fn add_words(&mut self, low: u64, middle: u64, high: u64) {
        let carry;
        (self.low, carry) = self.low.overflowing_add(low);
        let carry_on;
        (self.middle, carry_on) = self.middle.carrying_add(middle, carry);
        self.high = self.high.wrapping_add(high).wrapping_add(carry_on as u64);
    }

    /// Adds the products of a column: the first of `a` with the last of `b` and so on; both are of one length.
    #[inline(always)]
    pub fn products(&mut self, a: &[u64], b: &[u64]) {
        // Four at a time: the compiler does not unroll this by itself.
        let (fours, rest) = a.as_chunks::<4>();
        let (first, reversed) = b.as_rchunks::<4>();
        for (a, b) in fours.iter().zip(reversed.iter().rev()) {
            self.add(a[0], b[3]);
            self.add(a[1], b[2]);
            self.add(a[2], b[1]);
            self.add(a[3], b[0]);
        }
        for (a, b) in rest.iter().zip(first.iter().rev()) {
            self.add(*a, *b);
        }
    }

    /// The same for a column of a square: what stands on both sides of its middle is added once and doubled.
    #[inline(always)]
    pub fn squares(&mut self, a: &[u64]) {
        let half = a.len() / 2;
        let mut mixed = Sum::default();
        mixed.products(&a[..half], &a[a.len() - half..]);
        mixed.high = mixed.high << 1 | mixed.middle >> 63;
        mixed.middle = mixed.middle << 1 | mixed.low >> 63;
        mixed.low <<= 1;
        if a.len() % 2 == 1 {
            mixed.add(a[half], a[half]);
        }
        self.add_words(mixed.low, mixed.middle, mixed.high);
    }

    /// The lowest word.
    #[inline(always)]
    pub const fn low(&self) -> u64 {
        self.low
    }

    /// Takes the lowest word off.
    #[inline(always)]
    pub fn shift(&mut self) -> u64 {
        let word = self.low;
        (self.low, self.middle, self.high) = (self.middle, self.high, 0);
        word
    }
}
