//! Key derivation: KDFa (TPM Part 1 §8.4.10.2), KDFe (§8.4.10.3) and the mask generation function of PKCS#1.

use super::hash::{self, HashAlg};
use super::hmac::Hmac;

/// KDFa: counter mode with HMAC. Fills `out`, of (`bits` + 7) / 8 bytes; excess high bits of its first byte are zero.
///
/// `label` is without its final zero byte; a label that has one keeps it and gets no other.
pub fn kdfa(
    alg: HashAlg,
    key: &[u8],
    label: &[u8],
    context_u: &[u8],
    context_v: &[u8],
    bits: u32,
    out: &mut [u8],
) {
    let keyed = Hmac::new(alg, key);
    let zero: &[u8] = separator(label);
    counted(alg, out, |counter| {
        let mut hmac = keyed.clone();
        for part in [counter, label, zero, context_u, context_v] {
            hmac.update(part);
        }
        hmac.update(&bits.to_be_bytes());
        hmac.finish()
    });
    mask(bits, out);
}

/// KDFe: the one-step derivation of SP 800-56C from the x-coordinate `z`. `label` and `out` as for [`kdfa`].
pub fn kdfe(
    alg: HashAlg,
    z: &[u8],
    label: &[u8],
    party_u: &[u8],
    party_v: &[u8],
    bits: u32,
    out: &mut [u8],
) {
    let zero: &[u8] = separator(label);
    counted(alg, out, |counter| {
        hash::digest(alg, &[counter, z, label, zero, party_u, party_v])
    });
    mask(bits, out);
}

/// MGF1 (RFC 8017 §B.2.1): XORs the mask of `seed` onto `out`.
pub fn mgf1(alg: HashAlg, seed: &[u8], out: &mut [u8]) {
    for (index, chunk) in out.chunks_mut(alg.size()).enumerate() {
        let mask = hash::digest(alg, &[seed, &(index as u32).to_be_bytes()]);
        for (byte, mask) in chunk.iter_mut().zip(mask.as_slice()) {
            *byte ^= mask;
        }
    }
}

/// The zero byte between label and context, where the label does not bring it.
fn separator(label: &[u8]) -> &'static [u8] {
    if label.last() == Some(&0) { &[] } else { &[0] }
}

fn counted(alg: HashAlg, out: &mut [u8], mut block: impl FnMut(&[u8]) -> hash::Digest) {
    let mut counter = 0u32;
    for chunk in out.chunks_mut(alg.size()) {
        counter = counter.wrapping_add(1);
        let mut key = block(&counter.to_be_bytes());
        for (to, from) in chunk.iter_mut().zip(key.as_slice()) {
            *to = *from;
        }
        key.clear();
    }
}

fn mask(bits: u32, out: &mut [u8]) {
    if let (rest @ 1..8, Some(first)) = (bits % 8, out.first_mut()) {
        *first &= 0xFFu8.wrapping_shr(8u32.wrapping_sub(rest));
    }
}
