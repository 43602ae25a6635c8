//! Hierarchies, clear, dictionary attack protection, clock.

use crate::crypto::SHA256;
use crate::scenario::builder::{Builder, ENDORSEMENT, LOCKOUT, NULL_HANDLE, OWNER, PLATFORM};
use crate::scenario::template::{Kind, NO_DA, Template};
use crate::step::{Action, b2, u8, u16, u32, u64};

/// HierarchyChangeAuth there and back, SetPrimaryPolicy.
pub fn auths(b: &mut Builder<'_>) {
    b.maybe_hmac(30);
    let hierarchy = b.rng.pick(&[OWNER, ENDORSEMENT, PLATFORM, LOCKOUT]);
    let old = b.hierarchy_auth(hierarchy);
    let new = b.secret();
    b.cmd(0x129, vec![hierarchy.into()], &[&old], vec![b2(&new)]);
    let alg = b.rng.pick(&[SHA256, 0x10]);
    let policy = if alg == SHA256 {
        b.rng.bytes(32)
    } else {
        vec![]
    };
    b.cmd(
        0x12E,
        vec![hierarchy.into()],
        &[&new],
        vec![b2(&policy), u16(alg)],
    );
    if hierarchy == OWNER {
        b.cmd(0x129, vec![OWNER.into()], &[b"not it"], vec![b2(&[])]);
    }
    b.cmd(0x129, vec![hierarchy.into()], &[&new], vec![b2(&old)]);
    b.cmd(
        0x12E,
        vec![hierarchy.into()],
        &[&old],
        vec![b2(&[]), u16(0x10)],
    );
}

/// Clear, ClearControl.
pub fn clear(b: &mut Builder<'_>) {
    let by = b.rng.pick(&[LOCKOUT, PLATFORM]);
    let auth = b.hierarchy_auth(by);
    let platform = b.hierarchy_auth(PLATFORM);
    if b.rng.chance(50) {
        b.cmd(0x127, vec![by.into()], &[&auth], vec![u8(1)]);
        b.cmd(0x126, vec![by.into()], &[&auth], vec![]);
        b.cmd(0x127, vec![PLATFORM.into()], &[&platform], vec![u8(0)]);
    }
    b.define(0, 8, 0);
    b.maybe_hmac(20);
    b.cmd(0x126, vec![by.into()], &[&auth], vec![]);
    b.without_session();
    b.world.auths[0].clear();
    b.world.auths[1].clear();
    b.world.auths[3].clear();
    b.storage();
    b.plain(0x17A, vec![], vec![u32(1), u32(0x0100_0000), u32(100)]);
}

/// HierarchyControl, ChangeEPS, ChangePPS, PP_Commands, SetAlgorithmSet.
pub fn platform(b: &mut Builder<'_>) {
    let platform = b.hierarchy_auth(PLATFORM);
    match b.rng.below(5) {
        0 | 1 => {
            let hierarchy = b.rng.pick(&[OWNER, ENDORSEMENT, 0x4000_000D, PLATFORM]);
            let by = b.rng.pick(&[hierarchy, PLATFORM]);
            let auth = b.hierarchy_auth(by);
            b.cmd(
                0x121,
                vec![by.into()],
                &[&auth],
                vec![u32(hierarchy), u8(0)],
            );
            b.primary(hierarchy, &Template::new(Kind::Storage(3)), &[], &[]);
            b.plain(0x173, vec![0x8100_0001.into()], vec![]);
            b.cmd(
                0x121,
                vec![PLATFORM.into()],
                &[&platform],
                vec![u32(hierarchy), u8(1)],
            );
            if hierarchy == PLATFORM {
                restart(b);
            }
        }
        2 => {
            let code = b.rng.pick(&[0x124, 0x125]);
            b.cmd(code, vec![PLATFORM.into()], &[&platform], vec![]);
            b.primary(ENDORSEMENT, &Template::new(Kind::Ak(3)), &[], &[]);
        }
        3 => {
            b.cmd(
                0x12D,
                vec![PLATFORM.into()],
                &[&platform],
                vec![u32(1), u32(0x126), u32(0)],
            );
        }
        _ => {
            b.cmd(0x13F, vec![PLATFORM.into()], &[&platform], vec![u32(0)]);
        }
    }
}

/// Shutdown, power cycle, Startup.
pub fn restart(b: &mut Builder<'_>) {
    let state = b.rng.chance(50);
    if b.rng.chance(80) {
        b.plain(0x145, vec![], vec![u16(u16::from(state))]);
    }
    b.action(Action::PowerCycle);
    let again = b.rng.chance(50) && state;
    b.plain(0x144, vec![], vec![u16(u16::from(again))]);
    if again {
        b.plain(0x144, vec![], vec![u16(0)]); // where there was nothing to resume
    }
    b.world.auths[2].clear(); // platformAuth does not outlast a reset; after a resume it was empty as well
}

/// Failures, lockout, reset of it.
pub fn dictionary(b: &mut Builder<'_>) {
    let mut template = Template::new(Kind::Seal);
    template.attributes &= !NO_DA;
    let storage = b.world.storage.clone();
    let blob = b.create(&storage, &template, b"right", b"data");
    let object = b.load(&storage, &blob);
    let lockout = b.hierarchy_auth(LOCKOUT);
    b.cmd(
        0x13A,
        vec![LOCKOUT.into()],
        &[&lockout],
        vec![u32(3), u32(100_000), u32(100_000)],
    );
    for _ in 0..2 + b.rng.below(4) {
        let value: &[u8] = if b.rng.chance(70) { b"wrong" } else { b"right" };
        b.cmd(0x15E, vec![object.handle.clone()], &[value], vec![]);
    }
    b.plain(0x17A, vec![], vec![u32(6), u32(0x200), u32(0x20)]);
    b.cmd(0x139, vec![LOCKOUT.into()], &[&lockout], vec![]);
    b.cmd(0x15E, vec![object.handle.clone()], &[b"right"], vec![]);
    b.cmd(
        0x13A,
        vec![LOCKOUT.into()],
        &[&lockout],
        vec![u32(10), u32(100_000), u32(100_000)],
    );
    b.flush(&object);
}

/// ClockSet, ClockRateAdjust, ReadClock.
pub fn clock(b: &mut Builder<'_>) {
    b.maybe_hmac(20);
    let by = b.rng.pick(&[OWNER, PLATFORM]);
    let auth = b.hierarchy_auth(by);
    b.plain(0x181, vec![], vec![]);
    let time = b
        .rng
        .pick(&[0, 1, 10_000_000, 20_000_000, 0xFFFF_0000_0000_0000]);
    b.cmd(0x128, vec![by.into()], &[&auth], vec![u64(time)]);
    let rate = b.rng.pick(&[0, 1, 0xFF, 3, 0xFD, 4, 0x80]);
    b.cmd(0x130, vec![by.into()], &[&auth], vec![u8(rate)]);
    b.cmd(0x130, vec![by.into()], &[&auth], vec![u8(0)]);
    b.plain(0x181, vec![], vec![]);
    let _ = NULL_HANDLE;
}
