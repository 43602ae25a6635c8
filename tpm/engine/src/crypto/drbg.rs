//! The random bit generator: Hash_DRBG of NIST SP 800-90A Rev. 1 §10.1.1 with SHA-256.
//!
//! Of the three mechanisms it needs the fewest block functions for a short output: three for 32 bytes.

use zeroize::Zeroize;

use super::hash::{self, HashAlg, Hasher};

const ALG: HashAlg = HashAlg::Sha256;
/// seedlen: 440 bits, in bytes.
const SEED: usize = 55;
/// The same in words, of which the highest has 56 bits.
const WORDS: usize = 7;
/// The longest output of one call of the standard's generate function.
const MAX_REQUEST: usize = 1 << 16;
/// The standard allows 2^48 requests between two seeds; an earlier one costs nothing.
const RESEED_INTERVAL: u64 = 1 << 20;

/// A source of random bytes, as key generation and signing take it.
pub trait Rng {
    /// Fills `out`.
    fn fill(&mut self, out: &mut [u8]);
}

/// A number below 2^440, in words from the lowest: the generator does more adding than hashing if it adds bytes.
#[derive(Clone)]
struct Seed([u64; WORDS]);

/// The generator. Overwritten when dropped.
#[derive(Clone)]
pub struct Drbg {
    v: Seed,
    c: Seed,
    /// The number of requests since the seed, from 1.
    counter: u64,
}

impl Drbg {
    /// One that [`Drbg::needs_reseed`] before it is used.
    pub const fn unseeded() -> Drbg {
        Drbg {
            v: Seed::small(0),
            c: Seed::small(0),
            counter: u64::MAX,
        }
    }

    /// From `entropy`, nonce included where there is one.
    pub fn instantiate(entropy: &[u8], personalization: &[u8]) -> Drbg {
        Self::seeded(&[entropy, personalization])
    }

    /// Takes fresh entropy in.
    pub fn reseed(&mut self, entropy: &[u8]) {
        let mut v = self.v.bytes();
        *self = Self::seeded(&[&[1], &v, entropy]);
        v.zeroize();
    }

    /// Takes in what may or may not be entropy: a request for no bytes with additional input.
    pub fn stir(&mut self, data: &[u8]) {
        let w = hash::digest(ALG, &[&[2], &self.v.bytes(), data]);
        self.v.add(&Seed::from_bytes(&w));
        self.step();
    }

    /// Fills `out`.
    pub fn generate(&mut self, out: &mut [u8]) {
        for request in out.chunks_mut(MAX_REQUEST) {
            let mut data = self.v.clone();
            for chunk in request.chunks_mut(ALG.size()) {
                let mut bytes = data.bytes();
                let mut w = hash::digest(ALG, &[&bytes]);
                for (to, from) in chunk.iter_mut().zip(w.as_slice()) {
                    *to = *from;
                }
                w.zeroize();
                bytes.as_mut_slice().zeroize();
                data.add(&Seed::small(1));
            }
            data.0.as_mut_slice().zeroize();
            self.step();
        }
    }

    /// Whether it has given so much that it should be reseeded soon.
    pub const fn needs_reseed(&self) -> bool {
        self.counter > RESEED_INTERVAL
    }

    fn seeded(material: &[&[u8]]) -> Drbg {
        let mut v = derive(material);
        let mut c = derive(&[&[0], &v]);
        let drbg = Drbg {
            v: Seed::from_bytes(&v),
            c: Seed::from_bytes(&c),
            counter: 1,
        };
        v.zeroize();
        c.zeroize();
        drbg
    }

    /// The end of a request: what was is not to be found from what is.
    fn step(&mut self) {
        let mut bytes = self.v.bytes();
        let mut h = hash::digest(ALG, &[&[3], &bytes]);
        self.v.add(&Seed::from_bytes(&h));
        self.v.add(&self.c);
        self.v.add(&Seed::small(self.counter));
        self.counter = self.counter.saturating_add(1);
        h.zeroize();
        bytes.as_mut_slice().zeroize();
    }
}

impl Seed {
    const fn small(value: u64) -> Seed {
        Seed([value, 0, 0, 0, 0, 0, 0])
    }

    /// A big-endian number of at most [`SEED`] bytes.
    fn from_bytes(bytes: &[u8]) -> Seed {
        let (high, words) = bytes.as_rchunks();
        let mut top = [0; 8];
        for (to, from) in top.iter_mut().rev().zip(high.iter().rev()) {
            *to = *from;
        }
        let mut seed = Seed::small(0);
        let chunks = words.iter().rev().chain([&top]);
        for (word, chunk) in seed.0.iter_mut().zip(chunks) {
            *word = u64::from_be_bytes(*chunk);
        }
        seed
    }

    fn bytes(&self) -> [u8; SEED] {
        let mut bytes = [0; SEED];
        for (chunk, word) in bytes.rchunks_mut(8).zip(&self.0) {
            for (to, from) in chunk.iter_mut().rev().zip(word.to_le_bytes()) {
                *to = from;
            }
        }
        bytes
    }

    /// Adds modulo 2^440.
    fn add(&mut self, more: &Seed) {
        let mut carry = false;
        for (word, more) in self.0.iter_mut().zip(&more.0) {
            (*word, carry) = word.carrying_add(*more, carry);
        }
        if let Some(top) = self.0.last_mut() {
            *top &= u64::MAX >> 8;
        }
    }
}

impl Rng for Drbg {
    fn fill(&mut self, out: &mut [u8]) {
        self.generate(out);
    }
}

impl Drop for Drbg {
    fn drop(&mut self) {
        self.v.0.as_mut_slice().zeroize();
        self.c.0.as_mut_slice().zeroize();
    }
}

impl zeroize::ZeroizeOnDrop for Drbg {}

/// Hash_df (§10.3.1) to the length of a seed.
fn derive(material: &[&[u8]]) -> [u8; SEED] {
    let mut out = [0; SEED];
    let mut counter = 0u8;
    for chunk in out.chunks_mut(ALG.size()) {
        counter = counter.wrapping_add(1);
        let mut hasher = Hasher::new(ALG);
        hasher.update(&[counter]);
        hasher.update(&(SEED as u32).wrapping_mul(8).to_be_bytes());
        for part in material {
            hasher.update(part);
        }
        for (to, from) in chunk.iter_mut().zip(hasher.finish().as_slice()) {
            *to = *from;
        }
    }
    out
}
