//! Changes to an input: of bits, bytes, numbers, pieces and records, and such as comparisons suggest.

use std::ops::Range;

use coverage_hooks::Pair;
use seeded_rng::Rng;

use crate::target::Target;

/// Numbers at which programs change their minds.
const NUMBERS: [u64; 32] = [
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    63,
    64,
    127,
    128,
    255,
    256,
    511,
    512,
    4095,
    4096,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x1_0000,
    0x20_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    0x80_0000_0000,
    0xF_FFFF_FFFF_F000,
    0x7FFF_FFFF_FFFF_FFFF,
    0x8000_0000_0000_0000,
    0xFFFF_FFFF_FFFF_F000,
    u64::MAX,
];

/// Most inputs are tables behind a header: what lies far behind is changed less often.
const FRONT: usize = 1024;

/// Changes `input` a few times. `others` is the corpus, `pairs` what was compared when one of it was run.
pub fn mutate(
    target: &Target,
    rng: &mut Rng,
    input: &mut Vec<u8>,
    others: &[Vec<u8>],
    pairs: &[Pair],
) {
    let changes = 1 << rng.below(4);
    for _ in 0..changes {
        match target.change {
            Some(change) if rng.chance(40) => change(rng, input),
            _ => change(target, rng, input, others, pairs),
        }
    }
    input.truncate(target.most);
    if let Some(mend) = target.mend
        && rng.chance(85)
    {
        mend(input);
    }
    input.truncate(target.most);
}

/// One change that knows nothing of the format.
fn change(target: &Target, rng: &mut Rng, input: &mut Vec<u8>, others: &[Vec<u8>], pairs: &[Pair]) {
    if input.is_empty() {
        input.extend(rng.some_bytes(target.most.min(64)));
        return;
    }
    match rng.below(16) {
        0 | 1 => {
            let at = place(rng, input.len());
            input[at] ^= 1 << rng.below(8);
        }
        2 => {
            let at = place(rng, input.len());
            input[at] = rng.word() as u8;
        }
        3 => number(rng, input, |rng, _| rng.pick(&NUMBERS)),
        4 => number(rng, input, |rng, old| {
            let most = rng.pick(&[4, 0x1001]);
            let step = 1 + rng.below(most) as u64;
            if rng.chance(50) {
                old.wrapping_add(step)
            } else {
                old.wrapping_sub(step)
            }
        }),
        5 | 6 | 14 | 15 => suggested(rng, input, pairs),
        7 if !target.words.is_empty() => {
            let word = rng.pick(target.words);
            let at = place(rng, input.len());
            overwrite(input, at, word);
        }
        8 => {
            let from = piece(rng, input.len());
            let to = place(rng, input.len());
            let bytes = input[from].to_vec();
            overwrite(input, to, &bytes);
        }
        9 => {
            let piece = piece(rng, input.len());
            input.drain(piece);
        }
        10 => {
            let bytes = input[piece(rng, input.len())].to_vec();
            let at = place(rng, input.len());
            input.splice(at..at, bytes);
        }
        11 if !others.is_empty() => {
            let other = &others[rng.below(others.len())];
            if other.is_empty() {
                return;
            }
            let bytes = other[piece(rng, other.len())].to_vec();
            let at = place(rng, input.len());
            if rng.chance(50) {
                overwrite(input, at, &bytes);
            } else {
                input.splice(at..at, bytes);
            }
        }
        12 => records(target.record, rng, input),
        _ => match rng.below(3) {
            0 => input.truncate(rng.below(input.len())),
            1 => {
                let more = rng.some_bytes(2 * target.record);
                input.extend(more);
            }
            _ => {
                let value = rng.pick(&[0, 0xFF]);
                let piece = piece(rng, input.len());
                input[piece].fill(value);
            }
        },
    }
}

fn place(rng: &mut Rng, len: usize) -> usize {
    if len > FRONT && rng.chance(70) {
        rng.below(FRONT)
    } else {
        rng.below(len)
    }
}

/// A piece of `len` bytes, which are some.
fn piece(rng: &mut Rng, len: usize) -> Range<usize> {
    let start = place(rng, len);
    let most = rng.pick(&[4, 16, 64, 256]).min(len - start);
    start..start + 1 + rng.below(most)
}

fn overwrite(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in input.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// Changes a number of 1, 2, 4 or 8 bytes, mostly little-endian and where a field could be.
fn number(rng: &mut Rng, input: &mut [u8], new: impl FnOnce(&mut Rng, u64) -> u64) {
    let width = rng.pick(&[1, 2, 4, 8]);
    let mut at = place(rng, input.len());
    if rng.chance(80) {
        at -= at % width;
    }
    let Some(field) = input.get_mut(at..at + width) else {
        return;
    };
    let big = rng.chance(10);
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(field);
    if big {
        bytes[..width].reverse();
    }
    bytes = new(rng, u64::from_le_bytes(bytes)).to_le_bytes();
    if big {
        bytes[..width].reverse();
    }
    field.copy_from_slice(&bytes[..width]);
}

/// Makes two numbers equal that were not: where one of them is in the input, the other one is put.
fn suggested(rng: &mut Rng, input: &mut [u8], pairs: &[Pair]) {
    let Some(pair) = pairs.get(rng.below(pairs.len().max(1))) else {
        return;
    };
    let (from, to) = if rng.chance(50) {
        (pair.a, pair.b)
    } else {
        (pair.b, pair.a)
    };
    let mut width = pair.width;
    // What is compared as a large number is often read from a small field.
    while width > 1 && rng.chance(40) && (from | to) >> (width * 4) == 0 {
        width /= 2;
    }
    let (mut from, mut to) = (from.to_le_bytes(), to.to_le_bytes());
    if rng.chance(15) {
        from[..width].reverse();
        to[..width].reverse();
    }
    let found: Vec<usize> = input
        .windows(width)
        .enumerate()
        .filter(|(_, bytes)| *bytes == &from[..width])
        .map(|(at, _)| at)
        .take(64)
        .collect();
    if !found.is_empty() {
        overwrite(input, rng.pick(&found), &to[..width]);
    }
}

/// Doubles, drops, swaps or clears a record.
fn records(record: usize, rng: &mut Rng, input: &mut Vec<u8>) {
    let count = input.len() / record;
    if count == 0 {
        return;
    }
    let (at, other) = (rng.below(count) * record, rng.below(count) * record);
    match rng.below(4) {
        0 => {
            let copy = input[at..at + record].to_vec();
            input.splice(other..other, copy);
        }
        1 => {
            input.drain(at..at + record);
        }
        2 => (0..record).for_each(|byte| input.swap(at + byte, other + byte)),
        _ => input[at..at + record].fill(0),
    }
}
