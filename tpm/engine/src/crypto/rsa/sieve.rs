//! Which numbers of an arithmetic progression have no small factor. A filter only: it decides how long the search for a
//! prime takes, not where it ends.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "indices are reduced modulo, or compared with, the length they index; sums are of numbers below 2^20"
)]

/// How many odd numbers are looked at.
pub const LENGTH: usize = 8192;

/// Odd primes below this are looked for as factors.
const BOUND: usize = 1 << 16;

/// The odd primes below [`BOUND`].
static PRIMES: [u16; 6541] = primes();

/// start, start + 2, …: a bit is set where there is a factor.
pub struct Sieve {
    composite: [u64; LENGTH / 64],
}

impl Sieve {
    /// `start` is odd, in limbs from the lowest.
    ///
    /// Time depends on `start` only as far as the processor's division does.
    pub fn new(start: &[u64]) -> Sieve {
        let mut sieve = Sieve {
            composite: [0; LENGTH / 64],
        };
        // Two primes at a time: their product fits the 32-bit divisor of a division that is quick everywhere.
        for pair in PRIMES.chunks(2) {
            let product = pair.iter().map(|p| u32::from(*p)).product();
            let rest = remainder(start, product);
            for p in pair {
                sieve.strike(u32::from(*p), rest % u32::from(*p));
            }
        }
        sieve
    }

    /// The numbers without small factors, as indices.
    pub fn survivors(&self) -> impl Iterator<Item = usize> {
        self.composite.iter().enumerate().flat_map(|(word, bits)| {
            let mut left = !bits;
            core::iter::from_fn(move || {
                let bit = left.checked_ilog2().map(|_| left.trailing_zeros())?;
                left &= left - 1;
                Some(word * 64 + bit as usize)
            })
        })
    }

    /// start ≡ rest modulo p: strikes every index i with start + 2·i ≡ 0.
    fn strike(&mut self, p: u32, rest: u32) {
        // i = −rest/2 modulo p.
        let distance = if rest == 0 { 0 } else { p - rest };
        let first = if distance % 2 == 0 {
            distance / 2
        } else {
            (distance + p) / 2
        };
        let mut index = first as usize;
        while index < LENGTH {
            self.composite[index / 64] |= 1 << (index % 64);
            index += p as usize;
        }
    }
}

/// `number` modulo a divisor that is not 0.
pub fn remainder(number: &[u64], divisor: u32) -> u32 {
    let divisor = u64::from(divisor);
    let mut rest = 0;
    for limb in number.iter().rev() {
        rest = (rest << 32 | limb >> 32) % divisor;
        rest = (rest << 32 | limb & 0xFFFF_FFFF) % divisor;
    }
    rest as u32
}

const fn primes<const N: usize>() -> [u16; N] {
    // Index i stands for 2·i + 1.
    let mut composite = [false; BOUND / 2];
    let mut primes = [0; N];
    let (mut found, mut i) = (0, 1);
    while i < BOUND / 2 {
        if !composite[i] {
            let p = 2 * i + 1;
            primes[found] = p as u16;
            found += 1;
            let mut multiple = p * p / 2;
            while multiple < BOUND / 2 {
                composite[multiple] = true;
                multiple += p;
            }
        }
        i += 1;
    }
    assert!(
        found == N,
        "the number of primes is the length of the table"
    );
    primes
}
