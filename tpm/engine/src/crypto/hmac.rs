//! HMAC (RFC 2104), in one piece or as a sequence that can be saved and restored.

use zeroize::Zeroize;

use super::hash::{self, Digest, HashAlg, Hasher, MAX_BLOCK_SIZE};

/// The longest saved state of an [`Hmac`].
pub const MAX_SAVED_SIZE: usize = hash::MAX_SAVED_SIZE + 8 + 64;

/// The HMAC of `parts`, one behind the other.
pub fn hmac(alg: HashAlg, key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut hmac = Hmac::new(alg, key);
    for part in parts {
        hmac.update(part);
    }
    hmac.finish()
}

/// An HMAC in the making. A clone of a fresh one spares the work on the key.
#[derive(Clone)]
pub struct Hmac {
    inner: Hasher,
    /// Has hashed the key's outer block.
    outer: Hasher,
}

impl zeroize::ZeroizeOnDrop for Hmac {}

impl Hmac {
    /// Of nothing yet.
    pub fn new(alg: HashAlg, key: &[u8]) -> Hmac {
        let mut block = [0u8; MAX_BLOCK_SIZE];
        let hashed;
        let key = if key.len() > alg.block_size() {
            hashed = hash::digest(alg, &[key]);
            hashed.as_slice()
        } else {
            key
        };
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
        let mut start = |pad: u8| {
            for byte in &mut block {
                *byte ^= pad;
            }
            let mut hasher = Hasher::new(alg);
            hasher.update(block.get(..alg.block_size()).unwrap_or(&[]));
            hasher
        };
        let inner = start(0x36);
        let outer = start(0x36 ^ 0x5c);
        block.as_mut_slice().zeroize();
        Hmac { inner, outer }
    }

    /// Which algorithm.
    pub const fn alg(&self) -> HashAlg {
        self.inner.alg()
    }

    /// More to authenticate.
    pub fn update(&mut self, data: &[u8]) {
        self.inner.update(data);
    }

    /// The HMAC.
    pub fn finish(self) -> Digest {
        let Hmac { inner, mut outer } = self;
        outer.update(&inner.finish());
        outer.finish()
    }

    /// Writes the state to the start of `out` and returns how many bytes it took: at most [`MAX_SAVED_SIZE`], none
    /// where `out` is too small. It is as secret as the key.
    pub fn save(&self, out: &mut [u8]) -> usize {
        let outer = self.outer.save(out);
        match out.get_mut(outer..).map(|rest| self.inner.save(rest)) {
            Some(inner) if outer != 0 && inner != 0 => outer.saturating_add(inner),
            _ => 0,
        }
    }

    /// The HMAC whose state [`Hmac::save`] wrote; nothing where these bytes cannot be one.
    pub fn restore(alg: HashAlg, saved: &[u8]) -> Option<Hmac> {
        // The outer hasher is between two blocks: its saved state has one length.
        let fresh = Hasher::new(alg).save(&mut [0; hash::MAX_SAVED_SIZE]);
        let (outer, inner) = saved.split_at_checked(fresh)?;
        Some(Hmac {
            outer: Hasher::restore(alg, outer)?,
            inner: Hasher::restore(alg, inner)?,
        })
    }
}
