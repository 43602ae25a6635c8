//! Memory for tests: 64 KiB from address 0.

extern crate std;

use std::vec;
use std::vec::Vec;

use crate::Memory;

#[derive(Clone)]
pub struct Ram(Vec<u8>);

impl Ram {
    pub fn new() -> Ram {
        Ram(vec![0; 0x1_0000])
    }

    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        self.0[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub fn words(&mut self, at: u64, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            self.put(at + 8 * index as u64, &word.to_le_bytes());
        }
    }

    /// Makes the byte at `checksum` such that `bytes` bytes from `at` add up to zero.
    pub fn seal(&mut self, at: u64, bytes: u64, checksum: u64) {
        self.0[checksum as usize] = 0;
        let range = at as usize..(at + bytes) as usize;
        let sum = self.0[range]
            .iter()
            .fold(0u8, |sum, &byte| sum.wrapping_add(byte));
        self.0[checksum as usize] = sum.wrapping_neg();
    }
}

/// Calls `read` with `good` after changes that look random, 20,000 times: any panic or loop without end fails the test.
pub fn mutate(good: &Ram, places: &[core::ops::Range<u64>], mut read: impl FnMut(&Ram)) {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let mut ram = good.clone();
        for _ in 0..1 + next() % 4 {
            let place = &places[next() as usize % places.len()];
            let at = place.start + next() % (place.end - place.start);
            let value = [0, 1, 0x7F, 0x80, 0xFF, next() as u8][next() as usize % 6];
            ram.put(at, &[value]);
        }
        read(&ram);
    }
}

impl Memory for Ram {
    fn read(&self, at: u64, to: &mut [u8]) -> Option<()> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.0.get(at..at.checked_add(to.len())?)?;
        to.copy_from_slice(bytes);
        Some(())
    }
}
