//! Hashing: the algorithms of the profile, in one piece or as a sequence that can be saved and restored.
//!
//! Block functions are those of `sha1` and `sha2` (which use the processor's instructions where it has them); buffering
//! and padding (FIPS 180-4 §5) are here, so that the state of a sequence is ours to save in a context.

use zeroize::Zeroize;

use crate::buf::Buf;

/// A hash algorithm of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlg {
    /// SHA-1, for logs and banks of old.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The longest digest.
pub const MAX_DIGEST_SIZE: usize = 64;

/// The longest block.
pub const MAX_BLOCK_SIZE: usize = 128;

/// The longest saved state of a [`Hasher`].
pub const MAX_SAVED_SIZE: usize = 8 + 64 + MAX_BLOCK_SIZE;

/// A digest.
pub type Digest = Buf<MAX_DIGEST_SIZE>;

impl HashAlg {
    /// All of them, in the order of their identifiers.
    pub const ALL: [HashAlg; 4] = [
        HashAlg::Sha1,
        HashAlg::Sha256,
        HashAlg::Sha384,
        HashAlg::Sha512,
    ];

    /// The algorithm whose TPM_ALG_ID this is.
    pub const fn from_id(id: u16) -> Option<HashAlg> {
        match id {
            0x0004 => Some(HashAlg::Sha1),
            0x000B => Some(HashAlg::Sha256),
            0x000C => Some(HashAlg::Sha384),
            0x000D => Some(HashAlg::Sha512),
            _ => None,
        }
    }

    /// The TPM_ALG_ID.
    pub const fn id(self) -> u16 {
        match self {
            HashAlg::Sha1 => 0x0004,
            HashAlg::Sha256 => 0x000B,
            HashAlg::Sha384 => 0x000C,
            HashAlg::Sha512 => 0x000D,
        }
    }

    /// Bytes of a digest.
    pub const fn size(self) -> usize {
        match self {
            HashAlg::Sha1 => 20,
            HashAlg::Sha256 => 32,
            HashAlg::Sha384 => 48,
            HashAlg::Sha512 => 64,
        }
    }

    /// Bytes of a block.
    pub const fn block_size(self) -> usize {
        match self {
            HashAlg::Sha1 | HashAlg::Sha256 => 64,
            HashAlg::Sha384 | HashAlg::Sha512 => 128,
        }
    }

    /// What stands before the digest in the DigestInfo of a PKCS#1 v1.5 signature (RFC 8017 §9.2).
    pub const fn oid_der(self) -> &'static [u8] {
        match self {
            HashAlg::Sha1 => &[
                0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04,
                0x14,
            ],
            HashAlg::Sha256 => &[
                0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                0x01, 0x05, 0x00, 0x04, 0x20,
            ],
            HashAlg::Sha384 => &[
                0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                0x02, 0x05, 0x00, 0x04, 0x30,
            ],
            HashAlg::Sha512 => &[
                0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                0x03, 0x05, 0x00, 0x04, 0x40,
            ],
        }
    }
}

/// The digest of `parts`, one behind the other.
pub fn digest(alg: HashAlg, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new(alg);
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

#[derive(Clone)]
enum State {
    Sha1([u32; 5]),
    Sha256([u32; 8]),
    Sha512([u64; 8]),
}

/// A hash in the making. Overwritten when dropped: it may hash a secret.
#[derive(Clone)]
pub struct Hasher {
    alg: HashAlg,
    state: State,
    /// Bytes hashed so far, those in `buffer` included.
    len: u64,
    buffer: [u8; MAX_BLOCK_SIZE],
}

impl Hasher {
    /// Of nothing yet.
    pub fn new(alg: HashAlg) -> Hasher {
        let state = match alg {
            HashAlg::Sha1 => State::Sha1(SHA1_START),
            HashAlg::Sha256 => State::Sha256(SHA256_START),
            HashAlg::Sha384 => State::Sha512(SHA384_START),
            HashAlg::Sha512 => State::Sha512(SHA512_START),
        };
        Hasher {
            alg,
            state,
            len: 0,
            buffer: [0; MAX_BLOCK_SIZE],
        }
    }

    /// Which algorithm.
    pub const fn alg(&self) -> HashAlg {
        self.alg
    }

    /// Bytes in the buffer.
    const fn filled(&self) -> usize {
        // A block size is a power of two.
        self.len as usize & self.alg.block_size().wrapping_sub(1)
    }

    /// More to hash.
    pub fn update(&mut self, mut data: &[u8]) {
        let block = self.alg.block_size();
        let filled = self.filled();
        self.len = self.len.wrapping_add(data.len() as u64);
        let mut space = self.buffer.get_mut(filled..block).unwrap_or(&mut []);
        if filled != 0 {
            let Some((now, later)) = data.split_at_checked(space.len()) else {
                copy(space, data);
                return;
            };
            copy(space, now);
            data = later;
            self.state.compress(self.buffer.get(..block).unwrap_or(&[]));
            space = &mut self.buffer;
        }
        let tail = self.state.compress(data);
        copy(space, tail);
    }

    /// The digest.
    pub fn finish(mut self) -> Digest {
        let block = self.alg.block_size();
        let filled = self.filled();
        let bits = self.len.wrapping_shl(3);
        // A one bit, zeros, and the length in bits as a big-endian number of an eighth of the block.
        let length = block / 8;
        if let Some((first, rest)) = self
            .buffer
            .get_mut(filled..block)
            .and_then(<[u8]>::split_first_mut)
        {
            *first = 0x80;
            rest.fill(0);
        }
        if filled >= block.saturating_sub(length) {
            self.state.compress(self.buffer.get(..block).unwrap_or(&[]));
            self.buffer.fill(0);
        }
        if let Some(end) = self.buffer.get_mut(block.saturating_sub(8)..block) {
            copy(end, &bits.to_be_bytes());
        }
        self.state.compress(self.buffer.get(..block).unwrap_or(&[]));
        let mut out = Digest::zeroed(MAX_DIGEST_SIZE);
        self.state.write(out.as_mut_slice());
        out.truncate(self.alg.size());
        out
    }

    /// Writes the state to the start of `out` and returns how many bytes it took: at most [`MAX_SAVED_SIZE`], none
    /// where `out` is too small. The algorithm is not in it.
    pub fn save(&self, out: &mut [u8]) -> usize {
        let state = self.state.size();
        let filled = self.filled();
        let size = state.saturating_add(filled).saturating_add(8);
        let Some((len, rest)) = out.get_mut(..size).and_then(|o| o.split_at_mut_checked(8)) else {
            return 0;
        };
        copy(len, &self.len.to_be_bytes());
        self.state.write(rest);
        if let Some(tail) = rest.get_mut(state..) {
            copy(tail, &self.buffer);
        }
        size
    }

    /// The hasher whose state [`Hasher::save`] wrote; nothing where these bytes cannot be one.
    pub fn restore(alg: HashAlg, saved: &[u8]) -> Option<Hasher> {
        let mut hasher = Hasher::new(alg);
        let (len, rest) = saved.split_first_chunk()?;
        hasher.len = u64::from_be_bytes(*len);
        let (state, tail) = rest.split_at_checked(hasher.state.size())?;
        if tail.len() != hasher.filled() {
            return None;
        }
        hasher.state.read(state);
        copy(&mut hasher.buffer, tail);
        Some(hasher)
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        // As slices, all at once; an array goes element by element.
        self.buffer.as_mut_slice().zeroize();
        match &mut self.state {
            State::Sha1(words) => words.as_mut_slice().zeroize(),
            State::Sha256(words) => words.as_mut_slice().zeroize(),
            State::Sha512(words) => words.as_mut_slice().zeroize(),
        }
    }
}

impl zeroize::ZeroizeOnDrop for Hasher {}

impl State {
    const fn size(&self) -> usize {
        match self {
            State::Sha1(_) => 20,
            State::Sha256(_) => 32,
            State::Sha512(_) => 64,
        }
    }

    /// Takes the whole blocks of `data` and returns what is left.
    fn compress<'d>(&mut self, data: &'d [u8]) -> &'d [u8] {
        match self {
            State::Sha1(words) => {
                let (blocks, tail) = data.as_chunks();
                if !blocks.is_empty() {
                    sha1::block_api::compress(words, blocks);
                }
                tail
            }
            State::Sha256(words) => {
                let (blocks, tail) = data.as_chunks();
                if !blocks.is_empty() {
                    sha2::block_api::compress256(words, blocks);
                }
                tail
            }
            State::Sha512(words) => {
                let (blocks, tail) = data.as_chunks();
                if !blocks.is_empty() {
                    sha2::block_api::compress512(words, blocks);
                }
                tail
            }
        }
    }

    fn write(&self, out: &mut [u8]) {
        match self {
            State::Sha1(words) => write_words(words, u32::to_be_bytes, out),
            State::Sha256(words) => write_words(words, u32::to_be_bytes, out),
            State::Sha512(words) => write_words(words, u64::to_be_bytes, out),
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        match self {
            State::Sha1(words) => read_words(words, u32::from_be_bytes, bytes),
            State::Sha256(words) => read_words(words, u32::from_be_bytes, bytes),
            State::Sha512(words) => read_words(words, u64::from_be_bytes, bytes),
        }
    }
}

fn write_words<W: Copy, const N: usize>(words: &[W], bytes: fn(W) -> [u8; N], out: &mut [u8]) {
    for (place, word) in out.as_chunks_mut().0.iter_mut().zip(words) {
        *place = bytes(*word);
    }
}

fn read_words<W, const N: usize>(words: &mut [W], word: fn([u8; N]) -> W, bytes: &[u8]) {
    for (place, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
        *place = word(*chunk);
    }
}

/// As much of `from` as `to` has room for.
fn copy(to: &mut [u8], from: &[u8]) {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
}

// FIPS 180-4 §5.3.
const SHA1_START: [u32; 5] = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
const SHA256_START: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];
const SHA384_START: [u64; 8] = [
    0xcbbb9d5dc1059ed8,
    0x629a292a367cd507,
    0x9159015a3070dd17,
    0x152fecd8f70e5939,
    0x67332667ffc00b31,
    0x8eb44a8768581511,
    0xdb0c2e0d64f98fa7,
    0x47b5481dbefa4fa4,
];
const SHA512_START: [u64; 8] = [
    0x6a09e667f3bcc908,
    0xbb67ae8584caa73b,
    0x3c6ef372fe94f82b,
    0xa54ff53a5f1d36f1,
    0x510e527fade682d1,
    0x9b05688c2b3e6c1f,
    0x1f83d9abfb41bd6b,
    0x5be0cd19137e2179,
];
