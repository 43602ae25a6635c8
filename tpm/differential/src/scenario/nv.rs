//! NV indices.

use crate::crypto::{SHA256, digest_len};
use crate::scenario::builder::{Builder, OWNER, PLATFORM};
use crate::step::{Piece, b2, sized, u16, u32, u64};

const PP_WRITE: u32 = 1 << 0;
const OWNER_WRITE: u32 = 1 << 1;
const AUTH_WRITE: u32 = 1 << 2;
const POLICY_DELETE: u32 = 1 << 10;
const WRITE_ALL: u32 = 1 << 12;
const WRITE_DEFINE: u32 = 1 << 13;
const WRITE_ST_CLEAR: u32 = 1 << 14;
const GLOBAL_LOCK: u32 = 1 << 15;
const PP_READ: u32 = 1 << 16;
const OWNER_READ: u32 = 1 << 17;
const AUTH_READ: u32 = 1 << 18;
const NO_DA: u32 = 1 << 25;
const ORDERLY: u32 = 1 << 26;
const CLEAR_ST_CLEAR: u32 = 1 << 27;
const PLATFORM_CREATE: u32 = 1 << 30;
const READ_ST_CLEAR: u32 = 1 << 31;

/// An index as it was defined.
pub struct Index {
    /// The handle.
    pub handle: u32,
    /// Its authorization value.
    pub auth: Vec<u8>,
    by: u32,
}

impl Builder<'_> {
    /// NV_DefineSpace of a type, with attributes besides the usual ones.
    pub fn define(&mut self, kind: u32, size: u16, more: u32) -> Index {
        let handle = self.index();
        let by = self.rng.pick(&[OWNER, OWNER, PLATFORM]);
        let auth = self.secret();
        let mut attributes =
            kind << 4 | OWNER_WRITE | AUTH_WRITE | OWNER_READ | AUTH_READ | NO_DA | more;
        if by == PLATFORM {
            attributes |= PP_WRITE | PP_READ | PLATFORM_CREATE;
        }
        let alg = self.alg();
        self.define_as(by, &auth, handle, alg, attributes, b2(&[]), size);
        Index { handle, auth, by }
    }

    /// NV_DefineSpace.
    #[allow(
        clippy::too_many_arguments,
        reason = "they are the command's parameters"
    )]
    pub fn define_as(
        &mut self,
        by: u32,
        auth: &[u8],
        handle: u32,
        alg: u16,
        attributes: u32,
        policy: Piece,
        size: u16,
    ) {
        let authority = self.hierarchy_auth(by);
        let public = sized(vec![
            u32(handle),
            u16(alg),
            u32(attributes),
            policy,
            u16(size),
        ]);
        self.cmd(
            0x12A,
            vec![by.into()],
            &[&authority],
            vec![b2(auth), public],
        );
    }

    /// NV_UndefineSpace.
    pub fn undefine(&mut self, index: &Index) {
        let authority = self.hierarchy_auth(index.by);
        self.cmd(
            0x122,
            vec![index.by.into(), index.handle.into()],
            &[&authority],
            vec![],
        );
    }

    /// A command on an index, authorized by the index itself or by the owner.
    pub fn on(&mut self, code: u32, index: &Index, params: Vec<Piece>) {
        let (by, auth) = if self.rng.chance(50) {
            (index.handle, index.auth.clone())
        } else {
            (OWNER, self.hierarchy_auth(OWNER))
        };
        self.cmd(code, vec![by.into(), index.handle.into()], &[&auth], params);
    }

    /// NV_ReadPublic.
    pub fn nv_public(&mut self, index: &Index) {
        self.plain(0x169, vec![index.handle.into()], vec![]);
    }
}

/// Ordinary indices: define, write, read, lock, restart, undefine.
pub fn data(b: &mut Builder<'_>) {
    b.maybe_hmac(30);
    let more = b.rng.pick(&[
        0,
        0,
        WRITE_ALL,
        WRITE_DEFINE,
        WRITE_ST_CLEAR,
        READ_ST_CLEAR | WRITE_ST_CLEAR,
        GLOBAL_LOCK,
        CLEAR_ST_CLEAR,
        ORDERLY | CLEAR_ST_CLEAR,
        AUTH_READ,
    ]);
    let size = b.rng.pick(&[0, 1, 8, 32, 100, 64, 800, 2048]);
    let index = b.define(0, size, more);
    b.nv_public(&index);
    b.on(0x14E, &index, vec![u16(size.min(8)), u16(0)]);
    for _ in 0..3 {
        let offset = b.rng.below(usize::from(size).min(1000) + 1) as u16;
        let len = b.rng.below(usize::from(size - offset).min(900) + 1);
        let bytes = b.rng.bytes(if more & WRITE_ALL != 0 {
            usize::from(size.min(900))
        } else {
            len
        });
        let offset = if more & WRITE_ALL != 0 { 0 } else { offset };
        b.on(0x137, &index, vec![b2(&bytes), u16(offset)]);
        b.on(0x14E, &index, vec![u16(bytes.len() as u16), u16(offset)]);
    }
    b.nv_public(&index);
    if b.rng
        .chance(if more & (WRITE_DEFINE | WRITE_ST_CLEAR) != 0 {
            80
        } else {
            15
        })
    {
        b.on(0x138, &index, vec![]);
        b.on(0x137, &index, vec![b2(&[1]), u16(0)]);
    }
    if b.rng
        .chance(if more & READ_ST_CLEAR != 0 { 80 } else { 15 })
    {
        b.on(0x14F, &index, vec![]);
        b.on(0x14E, &index, vec![u16(1), u16(0)]);
    }
    if b.rng.chance(30) {
        let auth = b.hierarchy_auth(OWNER);
        b.cmd(0x132, vec![OWNER.into()], &[&auth], vec![]);
        b.on(0x137, &index, vec![b2(&[1]), u16(0)]);
    }
    b.nv_public(&index);
    if b.rng.chance(70) {
        b.undefine(&index);
    }
}

/// Counters, bit fields, extended indices, PINs.
pub fn counters(b: &mut Builder<'_>) {
    b.maybe_hmac(30);
    let orderly = if b.rng.chance(30) { ORDERLY } else { 0 };
    match b.rng.below(4) {
        0 => {
            let index = b.define(1, 8, orderly);
            b.on(0x14E, &index, vec![u16(8), u16(0)]);
            for _ in 0..3 {
                b.on(0x134, &index, vec![]);
                b.on(0x14E, &index, vec![u16(8), u16(0)]);
            }
            b.on(0x137, &index, vec![b2(&[0; 8]), u16(0)]);
            b.nv_public(&index);
            b.undefine(&index);
        }
        1 => {
            let index = b.define(2, 8, orderly);
            for _ in 0..3 {
                let bits = b.rng.word() & b.rng.word();
                b.on(0x135, &index, vec![u64(bits)]);
                b.on(0x14E, &index, vec![u16(8), u16(0)]);
            }
            b.on(0x134, &index, vec![]);
            b.undefine(&index);
        }
        2 => {
            let handle = b.index();
            let mut auth = b.secret();
            auth.truncate(20);
            let alg = b.alg();
            let attributes =
                4 << 4 | OWNER_WRITE | AUTH_WRITE | OWNER_READ | AUTH_READ | NO_DA | orderly;
            let size = digest_len(alg) as u16;
            b.define_as(OWNER, &auth, handle, alg, attributes, b2(&[]), size);
            let index = Index {
                handle,
                auth,
                by: OWNER,
            };
            for _ in 0..3 {
                let data = b.data(100);
                b.on(0x136, &index, vec![data]);
                b.on(0x14E, &index, vec![u16(size), u16(0)]);
            }
            b.undefine(&index);
        }
        _ => {
            // PIN fail (8) and PIN pass (9) indices: written by the owner, counted by their own authorization.
            let kind = b.rng.pick(&[8, 9]);
            let handle = b.index();
            let auth = b"pin".to_vec();
            let attributes = kind << 4 | OWNER_WRITE | OWNER_READ | AUTH_READ | NO_DA;
            b.define_as(OWNER, &auth, handle, SHA256, attributes, b2(&[]), 8);
            let index = Index {
                handle,
                auth,
                by: OWNER,
            };
            let authority = b.hierarchy_auth(OWNER);
            let limits = [[0, 0, 0, 0, 0, 0, 0, 2], [0, 0, 0, 1, 0, 0, 0, 3]];
            let limit = b.rng.pick(&limits);
            b.cmd(
                0x137,
                vec![OWNER.into(), handle.into()],
                &[&authority],
                vec![b2(&limit), u16(0)],
            );
            for _ in 0..4 {
                let value: &[u8] = if b.rng.chance(50) { b"pin" } else { b"nip" };
                b.cmd(
                    0x14E,
                    vec![handle.into(), handle.into()],
                    &[value],
                    vec![u16(8), u16(0)],
                );
            }
            b.cmd(
                0x14E,
                vec![OWNER.into(), handle.into()],
                &[&authority],
                vec![u16(8), u16(0)],
            );
            b.undefine(&index);
        }
    }
}

/// Indices with policies: NV_ChangeAuth and NV_UndefineSpaceSpecial.
pub fn special(b: &mut Builder<'_>) {
    let change = b.rng.chance(50);
    let code = if change { 0x13B } else { 0x11F };
    let hash = b.alg();
    let trial = b.start_session_with(3, hash);
    b.plain(0x16C, vec![trial.handle()], vec![u32(code)]);
    let digest = b.slot();
    b.plain(0x189, vec![trial.handle()], vec![]).saves =
        vec![(crate::step::Part::Field(0), digest)];
    b.flush_slot(trial.slot);
    let handle = b.index();
    let common = AUTH_WRITE | AUTH_READ | NO_DA;
    let (by, attributes) = if change {
        (OWNER, common)
    } else {
        (PLATFORM, common | PLATFORM_CREATE | POLICY_DELETE)
    };
    b.define_as(
        by,
        b"old",
        handle,
        hash,
        attributes,
        Piece::Slot(digest),
        16,
    );
    let index = Index {
        handle,
        auth: b"old".to_vec(),
        by,
    };
    b.nv_public(&index);
    b.undefine(&index); // refused where the policy must delete it
    let policy = b.start_session_with(1, hash);
    b.plain(0x16C, vec![policy.handle()], vec![u32(code)]);
    let auth = b.policy_auth(&policy, None, false);
    if change {
        b.define_as(
            by,
            b"old",
            handle,
            hash,
            attributes,
            Piece::Slot(digest),
            16,
        );
        let step = b.plain(0x13B, vec![handle.into()], vec![b2(b"new")]);
        step.auths = vec![auth];
        b.cmd(
            0x137,
            vec![handle.into(), handle.into()],
            &[b"new"],
            vec![b2(&[7; 16]), u16(0)],
        );
        b.cmd(
            0x14E,
            vec![handle.into(), handle.into()],
            &[b"new"],
            vec![u16(16), u16(0)],
        );
        b.undefine(&index);
    } else {
        let platform = b.hierarchy_auth(PLATFORM);
        let step = b.plain(0x11F, vec![handle.into(), PLATFORM.into()], vec![]);
        step.auths = vec![auth, crate::step::Auth::password(&platform)];
        b.nv_public(&index);
    }
}
