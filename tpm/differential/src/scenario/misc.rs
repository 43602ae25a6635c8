//! Capabilities, parameters, tests, contexts, restarts.

use crate::crypto::{SHA256, SHA384};
use crate::mutate::hostile;
use crate::scenario::builder::{Builder, NULL_HANDLE, OWNER};
use crate::scenario::template::{Kind, NULL, Template};
use crate::step::{Part, Piece, b2, raw, sized, u8, u16, u32, u64};

/// GetCapability of everything, GetRandom, StirRandom.
pub fn capabilities(b: &mut Builder<'_>) {
    b.maybe_hmac(15);
    for _ in 0..4 {
        let (capability, property, count) = b.rng.pick(&[
            (0, 0, 1000),
            (1, 0, 64),
            (1, 0x0100_0000, 64),
            (1, 0x0200_0000, 64),
            (1, 0x0300_0000, 64),
            (1, 0x4000_0000, 64),
            (1, 0x8000_0000, 64),
            (1, 0x8100_0000, 64),
            (1, 0x8180_0000, 2),
            (1, 0x0500_0000, 1),
            (2, 0x11F, 1000),
            (3, 0x11F, 1000),
            (4, 0x11F, 1000),
            (5, 0, 100),
            (5, 0, 1),
            (6, 0x100, 100),
            (6, 0x200, 100),
            (6, 0, 0),
            (7, 0, 100),
            (8, 0, 100),
            (9, 0, 100),
            (10, 0, 100),
            (11, 0, 10),
            (0x100, 0, 10),
        ]);
        b.plain(
            0x17A,
            vec![],
            vec![u32(capability), u32(property), u32(count)],
        );
    }
    let bytes = b.rng.pick(&[0, 1, 16, 32, 48, 64, 65, 2000]);
    b.plain(0x17B, vec![], vec![u16(bytes)]);
    let data = b.data(128);
    b.plain(0x146, vec![], vec![data]);
}

/// TestParms.
pub fn parameters(b: &mut Builder<'_>) {
    let aes = [u16(6), u16(128), u16(0x43)];
    let null = [u16(NULL)];
    let curve = b.rng.pick(&[3, 4, 3, 0, 0xFF]);
    let bits = b.rng.pick(&[2048, 3072, 2047, 0]);
    let alg = b.alg();
    let mode = b.rng.pick(&[0x40, 0x41, 0x42, 0x43, 0x44, NULL, 0x45]);
    let lists = [
        [
            vec![u16(1)],
            aes.to_vec(),
            null.to_vec(),
            vec![u16(bits), u32(0)],
        ]
        .concat(),
        [
            vec![u16(1)],
            null.to_vec(),
            vec![u16(0x14), u16(alg)],
            vec![u16(bits), u32(65537)],
        ]
        .concat(),
        [
            vec![u16(1)],
            null.to_vec(),
            vec![u16(0x15)],
            vec![u16(bits), u32(3)],
        ]
        .concat(),
        [
            vec![u16(0x23)],
            aes.to_vec(),
            null.to_vec(),
            vec![u16(curve)],
            null.to_vec(),
        ]
        .concat(),
        [
            vec![u16(0x23)],
            null.to_vec(),
            vec![u16(0x18), u16(alg)],
            vec![u16(curve)],
            null.to_vec(),
        ]
        .concat(),
        [
            vec![u16(0x23)],
            null.to_vec(),
            vec![u16(0x1A), u16(alg), u16(0)],
            vec![u16(curve)],
            null.to_vec(),
        ]
        .concat(),
        [
            vec![u16(0x25)],
            vec![u16(6), u16(b.rng.pick(&[128, 256, 64])), u16(mode)],
        ]
        .concat(),
        [vec![u16(8)], vec![u16(5), u16(alg)]].concat(),
        [
            vec![u16(8)],
            vec![u16(0x0A), u16(alg), u16(b.rng.pick(&[0x22, 0x20, NULL]))],
        ]
        .concat(),
        [vec![u16(8)], null.to_vec()].concat(),
    ];
    for _ in 0..4 {
        let params = b.rng.pick(&lists);
        b.plain(0x18A, vec![], params);
    }
}

/// SelfTest, IncrementalSelfTest, GetTestResult.
pub fn tests(b: &mut Builder<'_>) {
    let full = b.rng.pick(&[0, 1]);
    b.plain(0x143, vec![], vec![u8(full)]);
    b.plain(0x142, vec![], vec![u32(2), u16(SHA256), u16(6)]);
    b.plain(0x142, vec![], vec![u32(0)]);
    b.plain(0x17C, vec![], vec![]);
    b.plain(0x144, vec![], vec![u16(0)]);
}

/// ContextSave and ContextLoad of objects, sequences and sessions.
pub fn contexts(b: &mut Builder<'_>) {
    let context = b.slot();
    match b.rng.below(3) {
        0 => {
            let object = if b.rng.chance(50) {
                b.external(&Template::known(Kind::Hmac(SHA256)), b"ctx")
            } else {
                b.primary(OWNER, &Template::new(Kind::Hmac(SHA256)), b"ctx", &[])
            };
            b.plain(0x162, vec![object.handle.clone()], vec![]).saves =
                vec![(Part::Field(0), context)];
            b.flush(&object);
            let slot = b.slot();
            b.plain(0x161, vec![], vec![Piece::Slot(context)]).saves = vec![(Part::Handle, slot)];
            let again = b.loaded(slot, object.name, b"ctx", object.kind);
            b.sign_with(&again, SHA256);
            b.flush(&again);
        }
        1 => {
            let slot = b.slot();
            b.plain(0x186, vec![], vec![b2(b"seq"), u16(SHA384)]).saves =
                vec![(Part::Handle, slot)];
            let handle = super::pcr::sequence(slot);
            let data = b.data(100);
            b.cmd(0x15C, vec![handle.clone()], &[b"seq"], vec![data]);
            b.plain(0x162, vec![handle.clone()], vec![]).saves = vec![(Part::Field(0), context)];
            b.flush_slot(slot);
            b.plain(0x161, vec![], vec![Piece::Slot(context)]).saves = vec![(Part::Handle, slot)];
            let last = b.data(10);
            b.cmd(0x13E, vec![handle], &[b"seq"], vec![last, u32(NULL_HANDLE)]);
        }
        _ => {
            let policy = b.start_session_with(1, SHA256);
            b.plain(0x16B, vec![policy.handle()], vec![]);
            b.plain(0x162, vec![policy.handle()], vec![]).saves = vec![(Part::Field(0), context)];
            b.plain(0x189, vec![policy.handle()], vec![]);
            for _ in 0..2 {
                b.plain(0x161, vec![], vec![Piece::Slot(context)]);
            }
            b.plain(0x189, vec![policy.handle()], vec![]).exact = true;
            if b.rng.chance(50) {
                b.plain(0x162, vec![policy.handle()], vec![]).saves =
                    vec![(Part::Field(0), context)];
            }
            b.flush_slot(policy.slot);
            b.plain(0x161, vec![], vec![Piece::Slot(context)]);
        }
    }
}

/// More sessions than there is room for; contexts of them.
pub fn sessions(b: &mut Builder<'_>) {
    let mut all = Vec::new();
    for _ in 0..4 {
        let kind = b.rng.pick(&[0, 1, 3]);
        all.push(b.start_session(kind));
    }
    for session in all.iter().take(2) {
        let context = b.slot();
        b.plain(0x162, vec![session.handle()], vec![]).saves = vec![(Part::Field(0), context)];
    }
    let more = b.start_session(1);
    b.plain(0x17A, vec![], vec![u32(1), u32(0x0200_0000), u32(64)]);
    b.plain(0x17A, vec![], vec![u32(1), u32(0x0300_0000), u32(64)]);
    b.plain(0x17A, vec![], vec![u32(6), u32(0x204), u32(6)]);
    for session in all {
        b.flush_slot(session.slot);
    }
    b.flush_slot(more.slot);
}

/// Shutdown, power, Startup, and what lasts.
pub fn restart(b: &mut Builder<'_>) {
    let index = b.define(0, 16, 1 << 14 | 1 << 31);
    b.on(0x137, &index, vec![b2(&[1; 16]), u16(0)]);
    b.on(0x138, &index, vec![]);
    let orderly = b.define(1, 8, 1 << 26);
    b.on(0x134, &orderly, vec![]);
    let object = b.external(&Template::known(Kind::Hmac(SHA256)), b"");
    b.without_session();
    b.cmd(
        0x182,
        vec![0.into()],
        &[&[]],
        vec![u32(1), u16(SHA256), raw(&[3; 32])],
    );
    b.cmd(
        0x182,
        vec![16.into()],
        &[&[]],
        vec![u32(1), u16(SHA256), raw(&[3; 32])],
    );
    super::hierarchy::restart(b);
    b.plain(
        0x17E,
        vec![],
        vec![u32(1), u16(SHA256), u8(3), raw(&[1, 0, 1])],
    );
    b.plain(0x173, vec![object.handle], vec![]);
    b.plain(0x17A, vec![], vec![u32(6), u32(0x200), u32(2)]);
    b.on(0x137, &index, vec![b2(&[2; 16]), u16(0)]);
    b.nv_public(&index);
    b.nv_public(&orderly);
    b.on(0x14E, &orderly, vec![u16(8), u16(0)]);
    b.on(0x134, &orderly, vec![]);
    b.undefine(&index);
    b.undefine(&orderly);
    let _ = (sized(vec![]), u64(0));
}

/// Random bytes.
pub fn noise(b: &mut Builder<'_>) {
    for _ in 0..12 {
        let step = hostile(b.rng);
        b.push(step);
    }
}
