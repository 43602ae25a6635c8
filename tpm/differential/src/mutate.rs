//! Commands that are nearly valid, and commands that are not at all.

use crate::commands::{COMMANDS, command};
use crate::rng::Rng;
use crate::step::{Auth, Edit, Handle, HandleValue, Name, Part, Piece, Slot, Step, b2, raw};

/// Handles of every kind, most of them of nothing.
pub const HANDLES: &[u32] = &[
    0x4000_0001,
    0x4000_0007,
    0x4000_0009,
    0x4000_000A,
    0x4000_000B,
    0x4000_000C,
    0x4000_0000,
    0x4000_000D,
    0x4000_0010,
    0x4000_0110,
    0x8000_0003,
    0x80FF_FFFF,
    0x8100_0001,
    0x8100_0002,
    0x81FF_FFFF,
    0x8180_0000,
    0x0150_0000,
    0x0150_0001,
    0x01FF_FFFF,
    0x0180_0000,
    0,
    7,
    16,
    23,
    24,
    0x0200_0000,
    0x0200_0001,
    0x0300_0000,
    0x0300_0001,
    0x0200_0040,
    0x9000_0000,
    0xFFFF_FFFF,
];

const ALGS: &[u16] = &[
    0x0000, 0x0001, 0x0004, 0x0005, 0x0006, 0x0008, 0x000A, 0x000B, 0x000C, 0x000D, 0x0010, 0x0014,
    0x0015, 0x0016, 0x0017, 0x0018, 0x0019, 0x001A, 0x001C, 0x0020, 0x0021, 0x0022, 0x0023, 0x0025,
    0x003F, 0x0040, 0x0041, 0x0042, 0x0043, 0x0044, 0xFFFF,
];

const CONTEXT_LOAD: u32 = 0x161;
const FLUSH_CONTEXT: u32 = 0x165;

/// A copy of a valid command with one thing wrong. What it saves goes to `scratch`.
pub fn near_valid(rng: &mut Rng, valid: &Step, scratch: Slot) -> Step {
    let mut step = valid.clone();
    step.saves = match command(step.code) {
        Some(command) if command.returns_handle => vec![(Part::Handle, scratch)],
        _ => Vec::new(),
    };
    if let Some(start) = &mut step.start {
        start.slot = scratch;
    }
    if step.code == CONTEXT_LOAD {
        // The blobs of two TPMs differ in length: what is changed must stand before.
        let bit = 8 * 16;
        let bit = rng.below(bit) as u32;
        step.params = step
            .params
            .into_iter()
            .map(|it| Piece::Flip(Box::new(it), bit))
            .collect();
        step.label = format!("bit {bit} flipped");
        return step;
    }
    if step.code == FLUSH_CONTEXT {
        // Which object a transient handle means is a TPM's own affair.
        let handle = rng.pick(HANDLES);
        step.params = vec![Piece::Int(handle.to_be_bytes().to_vec())];
        step.label = format!("handle {handle:#x}");
        return step;
    }
    let label = match rng.below(10) {
        0..=4 if !step.params.is_empty() => {
            let at = rng.below(step.params.len());
            format!("parameter {}: {}", at + 1, piece(rng, &mut step.params[at]))
        }
        5 | 6 if !step.handles.is_empty() => {
            let at = rng.below(step.handles.len());
            step.handles[at] = if rng.chance(30) {
                // Something else that was made lately, if it is a handle.
                let slot = scratch.saturating_sub(rng.below(20) as Slot);
                Handle {
                    value: HandleValue::Slot(slot),
                    name: Name::Handle,
                }
            } else {
                rng.pick(HANDLES).into()
            };
            format!("handle {} is {:x?}", at + 1, step.handles[at].value)
        }
        7 | 8 if !step.auths.is_empty() => auth(rng, &mut step.auths),
        9 if rng.chance(40) => {
            step.locality = rng.below(5) as u8;
            format!("locality {}", step.locality)
        }
        _ => edit(rng, &mut step),
    };
    // A known key may no longer be one.
    step.exact = false;
    step.label = label;
    step
}

fn piece(rng: &mut Rng, target: &mut Piece) -> String {
    match target {
        Piece::Int(bytes) => {
            let old = bytes.clone();
            match (bytes.len(), rng.below(4)) {
                (2, 0 | 1) => *bytes = rng.pick(ALGS).to_be_bytes().to_vec(),
                (4, 0) => *bytes = rng.pick(HANDLES).to_be_bytes().to_vec(),
                (len, 2) => {
                    let value = rng.pick(&[0_u64, 1, u64::MAX, 0x7FFF_FFFF, 0x8000, 17]);
                    *bytes = value.to_be_bytes()[8 - len..].to_vec();
                }
                (len, _) => {
                    let bit = rng.below(len * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
            format!("{old:02x?} is {bytes:02x?}")
        }
        Piece::Sized(inner, off) => match rng.below(8) {
            0 => {
                *off = rng.pick(&[1, -1, 2, 100, -100, 0x7000]);
                format!("the size is off by {off}")
            }
            1 => {
                *inner = Vec::new();
                "empty".into()
            }
            2 => {
                let bytes = rng.some_bytes(150);
                *inner = vec![raw(&bytes)];
                format!("{} random bytes", bytes.len())
            }
            3 => {
                inner.push(raw(&rng.some_bytes(3)));
                "more bytes".into()
            }
            _ if inner.is_empty() => {
                inner.push(raw(&[0]));
                "a zero byte".into()
            }
            _ => {
                let at = rng.below(inner.len());
                format!("[{at}] {}", piece(rng, &mut inner[at]))
            }
        },
        other => {
            let old = std::mem::replace(other, raw(&[]));
            if rng.chance(70) {
                let bit = rng.word() as u32;
                *other = Piece::Flip(Box::new(old), bit);
                format!("bit {bit} flipped")
            } else {
                let by = 1 + rng.below(4);
                *other = Piece::Cut(Box::new(old), by);
                format!("{by} bytes shorter")
            }
        }
    }
}

fn auth(rng: &mut Rng, auths: &mut Vec<Auth>) -> String {
    let at = rng.below(auths.len());
    match rng.below(8) {
        0 | 1 => {
            auths[at].wrong = true;
            format!("authorization {} is wrong", at + 1)
        }
        2 | 3 => {
            let bit = 1 << rng.below(8);
            auths[at].attributes ^= bit;
            format!("session attribute {bit:#x} of {}", at + 1)
        }
        4 => {
            auths.remove(at);
            format!("no authorization {}", at + 1)
        }
        5 => {
            auths.push(Auth::password(&[]));
            "an authorization more".into()
        }
        6 => {
            let copy = auths[at].clone();
            auths.push(copy);
            "an authorization twice".into()
        }
        _ => {
            let handle = rng.pick(HANDLES);
            auths[at].session = Some(Handle::from(handle));
            format!("session {} is {handle:#010x}", at + 1)
        }
    }
}

fn edit(rng: &mut Rng, step: &mut Step) -> String {
    let edit = match rng.below(8) {
        0 => Edit::Tag(rng.pick(&[0x8001, 0x8002, 0x8000, 0x00C1, 0x8003, 0])),
        1 => Edit::HeaderSize(rng.pick(&[1, -1, -2, 100, 4096, -1000])),
        2 => Edit::AuthSize(rng.pick(&[1, -1, 4, -4, 0x1000, -9])),
        3 | 4 => Edit::Truncate(1 + rng.below(12)),
        5 => Edit::Append(rng.pick(&[1, 2, 4, 64, 3000]), rng.word() as u8),
        _ => Edit::Byte(10 + rng.word() as u32 % 0x1000, rng.word() as u8),
    };
    step.edits.push(edit);
    format!("{edit:x?}")
}

/// Random bytes behind a header that is right.
pub fn hostile(rng: &mut Rng) -> Step {
    let known = &COMMANDS[rng.below(COMMANDS.len())];
    let mut step = Step::new(known.code);
    step.label = "hostile".into();
    if rng.chance(8) {
        step.code = rng.pick(&[
            0,
            0x11E,
            0x123,
            0x12F,
            0x141,
            0x15A,
            0x166,
            0x179,
            0x194,
            0x198,
            0x1FF,
            0x2000_0000,
            0xFFFF_FFFF,
        ]);
    }
    if matches!(step.code, 0x124..=0x126) {
        step.code = 0x17E; // random bytes must not clear a TPM all the time
    }
    if rng.chance(90) {
        for _ in 0..known.handles {
            step.handles.push(rng.pick(HANDLES).into());
        }
        for _ in 0..known.auths {
            step.auths.push(Auth::password(&[]));
        }
    }
    for _ in 0..rng.below(6) {
        step.params.push(match rng.below(6) {
            0 => b2(&rng.some_bytes(64)),
            1 => Piece::Int(rng.pick(ALGS).to_be_bytes().to_vec()),
            2 => Piece::Int(rng.pick(HANDLES).to_be_bytes().to_vec()),
            3 => raw(&rng.pick(&[[0xFF; 4], [0; 4], [0, 0, 0, 1], [0, 0xFF, 0xFF, 0]])),
            4 => raw(&[0; 16]),
            _ => raw(&rng.some_bytes(40)),
        });
    }
    if rng.chance(4) {
        let len = rng.pick(&[1000, 2000, 3900]);
        step.params.push(raw(&rng.bytes(len)));
    }
    if rng.chance(15) {
        edit(rng, &mut step);
    }
    step
}
