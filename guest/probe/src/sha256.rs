//! SHA-256 (FIPS 180-4), for what a PCR must hold. The crate that others use brings `alloc` along, which the probe lacks.

/// The first 32 bits of the fractional parts of the `n`th root of the first primes, as FIPS 180-4 §4.2.2 and §5.3.3 define
/// the constants: found by bisection in integers.
const fn root_fraction(prime: u128, cube: bool) -> u32 {
    // Largest x with x^2 <= p 2^64, or x^3 <= p 2^96: the root with 32 bits behind the point.
    let (mut low, mut high) = (0u128, 1u128 << 37);
    while high - low > 1 {
        let middle = (low + high) / 2;
        let fits = if cube {
            middle * middle * middle <= prime << 96
        } else {
            middle * middle <= prime << 64
        };
        if fits {
            low = middle;
        } else {
            high = middle;
        }
    }
    low as u32
}

const fn constants<const N: usize>(cube: bool) -> [u32; N] {
    let mut constants = [0; N];
    let (mut found, mut candidate) = (0, 2u128);
    while found < N {
        let mut divisor = 2;
        while candidate % divisor != 0 {
            divisor += 1;
        }
        if divisor == candidate {
            constants[found] = root_fraction(candidate, cube);
            found += 1;
        }
        candidate += 1;
    }
    constants
}

const K: [u32; 64] = constants(true);
const INITIAL: [u32; 8] = constants(false);

fn block(state: &mut [u32; 8], block: &[u8]) {
    let mut w = [0u32; 64];
    for (word, bytes) in w.iter_mut().zip(block.chunks(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for t in 16..64 {
        let (a, b) = (w[t - 15], w[t - 2]);
        let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ a >> 3;
        let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ b >> 10;
        w[t] = w[t - 16]
            .wrapping_add(s0)
            .wrapping_add(w[t - 7])
            .wrapping_add(s1);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (k, w) in K.iter().zip(w) {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let t1 = h
            .wrapping_add(s1)
            .wrapping_add(e & f ^ !e & g)
            .wrapping_add(*k)
            .wrapping_add(w);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t2 = s0.wrapping_add(a & b ^ a & c ^ b & c);
        (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
        (d, c, b, a) = (c, b, a, t1.wrapping_add(t2));
    }
    for (word, value) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(value);
    }
}

/// The digest of `parts`, one after the other.
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = INITIAL;
    let (mut pending, mut used, mut length) = ([0; 64], 0, 0u64);
    for byte in parts.iter().copied().flatten() {
        pending[used] = *byte;
        used += 1;
        length += 8;
        if used == 64 {
            block(&mut state, &pending);
            used = 0;
        }
    }
    pending[used] = 0x80;
    pending[used + 1..].fill(0);
    if used >= 56 {
        block(&mut state, &pending);
        pending.fill(0);
    }
    pending[56..].copy_from_slice(&length.to_be_bytes());
    block(&mut state, &pending);
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}
