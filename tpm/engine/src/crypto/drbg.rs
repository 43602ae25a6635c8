//! The random bit generator: Hash_DRBG of NIST SP 800-90A Rev. 1 §10.1.1 with SHA-256.
//!
//! Of the three mechanisms it needs the fewest block functions for a short output: three for 32 bytes.

use zeroize::Zeroize;

use super::hash::{self, HashAlg, Hasher};

const ALG: HashAlg = HashAlg::Sha256;
/// seedlen: 440 bits.
const SEED: usize = 55;
/// The longest output of one call of the standard's generate function.
const MAX_REQUEST: usize = 1 << 16;
/// The standard allows 2^48 requests between two seeds; an earlier one costs nothing.
const RESEED_INTERVAL: u64 = 1 << 20;

/// A source of random bytes, as key generation and signing take it.
pub trait Rng {
    /// Fills `out`.
    fn fill(&mut self, out: &mut [u8]);
}

/// The generator. Overwritten when dropped.
#[derive(Clone)]
pub struct Drbg {
    v: [u8; SEED],
    c: [u8; SEED],
    /// The number of requests since the seed, from 1.
    counter: u64,
}

impl Drbg {
    /// One that [`Drbg::needs_reseed`] before it is used.
    pub const fn unseeded() -> Drbg {
        Drbg {
            v: [0; SEED],
            c: [0; SEED],
            counter: u64::MAX,
        }
    }

    /// From `entropy`, nonce included where there is one.
    pub fn instantiate(entropy: &[u8], personalization: &[u8]) -> Drbg {
        Self::seeded(&[entropy, personalization])
    }

    /// Takes fresh entropy in.
    pub fn reseed(&mut self, entropy: &[u8]) {
        let mut v = self.v;
        *self = Self::seeded(&[&[1], &v, entropy]);
        v.zeroize();
    }

    /// Takes in what may or may not be entropy: a request for no bytes with additional input.
    pub fn stir(&mut self, data: &[u8]) {
        let w = hash::digest(ALG, &[&[2], &self.v, data]);
        add(&mut self.v, &w);
        self.step();
    }

    /// Fills `out`.
    pub fn generate(&mut self, out: &mut [u8]) {
        for request in out.chunks_mut(MAX_REQUEST) {
            let mut data = self.v;
            for chunk in request.chunks_mut(ALG.size()) {
                let mut w = hash::digest(ALG, &[&data]);
                for (to, from) in chunk.iter_mut().zip(w.as_slice()) {
                    *to = *from;
                }
                w.zeroize();
                add(&mut data, &[1]);
            }
            data.zeroize();
            self.step();
        }
    }

    /// Whether it has given so much that it should be reseeded soon.
    pub const fn needs_reseed(&self) -> bool {
        self.counter > RESEED_INTERVAL
    }

    fn seeded(material: &[&[u8]]) -> Drbg {
        let v = derive(material);
        let c = derive(&[&[0], &v]);
        Drbg { v, c, counter: 1 }
    }

    /// The end of a request: what was is not to be found from what is.
    fn step(&mut self) {
        let mut h = hash::digest(ALG, &[&[3], &self.v]);
        add(&mut self.v, &h);
        add(&mut self.v, &self.c);
        add(&mut self.v, &self.counter.to_be_bytes());
        self.counter = self.counter.saturating_add(1);
        h.zeroize();
    }
}

impl Rng for Drbg {
    fn fill(&mut self, out: &mut [u8]) {
        self.generate(out);
    }
}

impl Drop for Drbg {
    fn drop(&mut self) {
        self.v.zeroize();
        self.c.zeroize();
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

/// `v` + `addend` modulo 2^440, both big-endian.
fn add(v: &mut [u8; SEED], addend: &[u8]) {
    let mut carry = 0u16;
    let padded = addend.iter().rev().chain(core::iter::repeat(&0));
    for (byte, more) in v.iter_mut().rev().zip(padded) {
        carry = u16::from(*byte)
            .wrapping_add(u16::from(*more))
            .wrapping_add(carry.wrapping_shr(8));
        *byte = carry as u8;
    }
}
