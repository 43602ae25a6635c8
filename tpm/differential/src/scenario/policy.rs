//! Policies: every assertion in trial and real sessions, and their use.

use crate::crypto::SHA256;
use crate::scenario::builder::{Builder, ENDORSEMENT, OWNER, PLATFORM, Session};
use crate::scenario::template::{Kind, NULL, Template, USER, pcrs};
use crate::step::{Part, Piece, Slot, b2, raw, sized, u8, u16, u32};

/// PolicyGetDigest.
fn digest(b: &mut Builder<'_>, session: &Session, exact: bool) -> Slot {
    let slot = b.slot();
    let step = b.plain(0x189, vec![session.handle()], vec![]);
    step.saves = vec![(Part::Field(0), slot)];
    step.exact = exact;
    slot
}

/// Assertions in any order, with the digest after each.
pub fn assertions(b: &mut Builder<'_>) {
    b.maybe_hmac(15);
    let kind = b.rng.pick(&[1, 3]);
    let session = b.start_session(kind);
    let handle = session.handle();
    let mut exact = true;
    for _ in 0..3 + b.rng.below(6) {
        match b.rng.below(18) {
            0 => {
                let select = b.rng.word().to_be_bytes();
                let value = b.rng.pick(&[vec![], vec![1; 32]]);
                let mut params = vec![b2(&value)];
                params.extend(pcrs(SHA256, [select[0], 0, select[1]]));
                b.plain(0x17F, vec![handle.clone()], params);
            }
            1 => {
                b.plain(0x16B, vec![handle.clone()], vec![]);
            }
            2 => {
                b.plain(0x18C, vec![handle.clone()], vec![]);
            }
            3 => {
                let code = b.rng.pick(&[0x15E, 0x15E, 0x17E, 0x12F, 0x148, 0x999]);
                b.plain(0x16C, vec![handle.clone()], vec![u32(code)]);
            }
            4 => {
                let locality = b.rng.pick(&[1, 3, 31, 0, 32, 255]);
                b.plain(0x16F, vec![handle.clone()], vec![u8(locality)]);
            }
            5 => {
                let len = crate::crypto::digest_len(session.hash);
                let value = b.rng.bytes(len);
                let code = b.rng.pick(&[0x16E, 0x170, 0x190]);
                b.plain(code, vec![handle.clone()], vec![b2(&value)]);
            }
            6 => {
                let written = b.rng.pick(&[0, 1, 2]);
                b.plain(0x18F, vec![handle.clone()], vec![u8(written)]);
            }
            7 => {
                b.plain(0x187, vec![handle.clone()], vec![]);
            }
            8 => {
                b.plain(0x180, vec![handle.clone()], vec![]);
                exact = true;
            }
            9 => {
                let (one, two) = (b.rng.some_bytes(34), b.rng.some_bytes(34));
                let include = b.rng.pick(&[0, 1]);
                b.plain(
                    0x188,
                    vec![handle.clone()],
                    vec![b2(&one), b2(&two), u8(include)],
                );
            }
            10 => {
                let now = digest(b, &session, exact);
                let len = crate::crypto::digest_len(session.hash);
                let other = b.rng.bytes(len);
                let list = match b.rng.below(3) {
                    0 => vec![u32(2), Piece::Slot(now), b2(&other)],
                    1 => vec![u32(1), Piece::Slot(now)],
                    _ => vec![u32(3), b2(&other), b2(&other), Piece::Slot(now)],
                };
                b.plain(0x171, vec![handle.clone()], list);
            }
            11 | 12 => {
                // Counter and timer against values that are the same on both: resetCount, restartCount, safe.
                let (operand, offset, operation) = b.rng.pick(&[
                    (vec![0, 0, 0, 0], 16, 3),
                    (vec![0xFF; 4], 16, 8),
                    (vec![1], 24, 1),
                    (vec![1], 24, 0),
                    (vec![0, 0, 0, 0], 20, 9),
                    (vec![0; 8], 0, 7),
                    (vec![0; 8], 8, 0x0C),
                    (vec![0], 25, 0),
                ]);
                b.plain(
                    0x16D,
                    vec![handle.clone()],
                    vec![b2(&operand), u16(offset), u16(operation)],
                );
            }
            13 | 14 => {
                let by = b.rng.pick(&[OWNER, ENDORSEMENT, PLATFORM]);
                let auth = b.hierarchy_auth(by);
                secret(b, &session, by, &auth);
            }
            15 => signed(b, &session, false),
            _ => {
                digest(b, &session, exact);
            }
        }
    }
    digest(b, &session, exact);
    b.flush_slot(session.slot);
}

/// PolicySecret, with its ticket if it has one.
fn secret(b: &mut Builder<'_>, session: &Session, by: u32, auth: &[u8]) {
    let expiration = b.rng.pick(&[0, 0, -100_000, 100_000]);
    let reference = b.rng.some_bytes(20);
    let (timeout, ticket) = (b.slot(), b.slot());
    let nonce = if b.rng.chance(30) {
        b2(&[1; 16])
    } else {
        b2(&[])
    };
    let params = vec![nonce, b2(&[]), b2(&reference), u32(expiration as u32)];
    b.cmd(0x151, vec![by.into(), session.handle()], &[auth], params)
        .saves = vec![(Part::Field(0), timeout), (Part::Field(1), ticket)];
    if expiration < 0 {
        by_ticket(
            b,
            session,
            timeout,
            &reference,
            raw(&by.to_be_bytes()),
            ticket,
        );
    }
}

/// PolicyRestart, and PolicyTicket with what PolicySecret or PolicySigned of `by` has given.
fn by_ticket(
    b: &mut Builder<'_>,
    session: &Session,
    timeout: Slot,
    reference: &[u8],
    by: Piece,
    ticket: Slot,
) {
    b.plain(0x180, vec![session.handle()], vec![]);
    let params = vec![
        Piece::Slot(timeout),
        b2(&[]),
        b2(reference),
        sized(vec![by]),
        Piece::Slot(ticket),
    ];
    b.plain(0x172, vec![session.handle()], params);
}

/// PolicySigned by a key of the TPM, whose ticket PolicyTicket takes.
fn signed(b: &mut Builder<'_>, session: &Session, ticketed: bool) {
    let kind = b.rng.pick(&[
        Kind::SignEcc(3, 0x18, SHA256),
        Kind::Hmac(SHA256),
        Kind::SignRsa(0x14, SHA256),
    ]);
    let key = b.external(&Template::known(kind), b"sig");
    let expiration: i32 = if ticketed {
        -50_000
    } else {
        b.rng.pick(&[0, 0, 100_000, -100_000])
    };
    let reference = b.rng.some_bytes(10);
    let body = vec![raw(&expiration.to_be_bytes()), raw(&reference)];
    let to_sign = sized(vec![Piece::Hash(SHA256, body)]);
    let signature = b.slot();
    let mut params = vec![to_sign, u16(NULL)];
    params.extend(super::attest::null_ticket(super::attest::HASHCHECK));
    b.cmd(0x15D, vec![key.handle.clone()], &[b"sig"], params)
        .saves = vec![(Part::Field(0), signature)];
    let (timeout, ticket) = (b.slot(), b.slot());
    let params = vec![
        b2(&[]),
        b2(&[]),
        b2(&reference),
        u32(expiration as u32),
        Piece::Slot(signature),
    ];
    b.plain(0x160, vec![key.handle.clone(), session.handle()], params)
        .saves = vec![(Part::Field(0), timeout), (Part::Field(1), ticket)];
    if expiration < 0 {
        by_ticket(
            b,
            session,
            timeout,
            &reference,
            Piece::Slot(key.name),
            ticket,
        );
    }
    b.flush(&key);
}

/// PolicyAuthorize and PolicySigned with tickets.
pub fn authorized(b: &mut Builder<'_>) {
    let session = b.start_session_with(1, SHA256);
    if b.rng.chance(50) {
        signed(b, &session, true);
    }
    b.plain(0x16B, vec![session.handle()], vec![]);
    let approved = digest(b, &session, true);
    let reference = b.rng.some_bytes(10);
    let kind = b.rng.pick(&[
        Kind::SignEcc(3, 0x18, SHA256),
        Kind::SignRsa(0x14, SHA256),
        Kind::Hmac(SHA256),
    ]);
    let key = if b.rng.chance(50) {
        b.primary(
            OWNER,
            &Template::new(Kind::SignEcc(3, 0x18, SHA256)),
            b"app",
            &[],
        )
    } else {
        b.external(&Template::known(kind), b"app")
    };
    // aHash = H(approvedPolicy || policyRef); the slot holds a TPM2B, whose size must go.
    let plain = b.slot();
    b.plain(0x189, vec![session.handle()], vec![]).saves = vec![(Part::Body(0), plain)];
    let hash = sized(vec![Piece::Hash(
        SHA256,
        vec![Piece::Slot(plain), raw(&reference)],
    )]);
    let signature = b.slot();
    let mut params = vec![hash.clone(), u16(NULL)];
    params.extend(super::attest::null_ticket(super::attest::HASHCHECK));
    b.cmd(0x15D, vec![key.handle.clone()], &[b"app"], params)
        .saves = vec![(Part::Field(0), signature)];
    let ticket = b.slot();
    b.plain(
        0x177,
        vec![key.handle.clone()],
        vec![hash, Piece::Slot(signature)],
    )
    .saves = vec![(Part::Field(0), ticket)];
    let params = vec![
        Piece::Slot(approved),
        b2(&reference),
        sized(vec![Piece::Slot(key.name)]),
        Piece::Slot(ticket),
    ];
    b.plain(0x16A, vec![session.handle()], params);
    digest(b, &session, false);
    b.flush(&key);
    b.flush_slot(session.slot);
}

/// A sealed object whose policy is met, or nearly.
pub fn used(b: &mut Builder<'_>) {
    let hash = b.alg();
    let mut steps: Vec<(u32, Vec<Piece>)> = vec![(0x16C, vec![u32(0x15E)])];
    let value = b.rng.pick(&[0_u32, 0x16B, 0x18C]);
    if value != 0 {
        steps.push((value, vec![]));
    }
    match b.rng.below(4) {
        0 => {
            let mut params = vec![b2(&[])];
            params.extend(pcrs(SHA256, [0xFF, 0, 1]));
            steps.push((0x17F, params));
        }
        1 => steps.push((0x16F, vec![u8(1)])),
        2 => steps.push((0x16D, vec![b2(&[0; 4]), u16(16), u16(3)])),
        _ => {}
    }
    let trial = b.start_session_with(3, hash);
    for (code, params) in &steps {
        b.plain(*code, vec![trial.handle()], params.clone());
    }
    let policy = digest(b, &trial, true);
    b.flush_slot(trial.slot);
    let mut template = Template::new(Kind::Seal);
    template.name_alg = hash;
    template.policy = Piece::Slot(policy);
    if b.rng.chance(70) {
        template.attributes &= !USER;
    }
    let storage = b.world.storage.clone();
    let blob = b.create(&storage, &template, b"pass", b"the secret");
    let object = b.load(&storage, &blob);
    b.cmd(0x15E, vec![object.handle.clone()], &[b"pass"], vec![]);
    let session = b.start_session_with(1, hash);
    for _ in 0..2 {
        for (at, (code, params)) in steps.iter().enumerate() {
            if at == 0 || b.rng.chance(95) {
                b.plain(*code, vec![session.handle()], params.clone());
            }
        }
        if b.rng.chance(10) {
            b.cmd(
                0x182,
                vec![16.into()],
                &[&[]],
                vec![u32(1), u16(SHA256), raw(&[1; 32])],
            );
        }
        let auth_value: Option<&[u8]> = if value == 0 { None } else { Some(b"pass") };
        let auth = b.policy_auth(&session, auth_value, value == 0x18C);
        let locality = b.rng.pick(&[0, 0, 0, 1]);
        let step = b.plain(0x15E, vec![object.handle.clone()], vec![]);
        step.auths = vec![auth];
        step.locality = locality;
    }
    b.flush(&object);
    b.flush_slot(session.slot);
}

/// PolicyNV and PolicyAuthorizeNV.
pub fn nv(b: &mut Builder<'_>) {
    b.maybe_hmac(20);
    let session = b.start_session_with(1, SHA256);
    let index = b.define(0, 40, 0);
    let operand = b.rng.bytes(8);
    let nv = |b: &mut Builder<'_>, operand: &[u8], offset: u16, operation: u16| {
        let owner = b.hierarchy_auth(OWNER);
        let handles = vec![OWNER.into(), index.handle.into(), session.handle()];
        b.cmd(
            0x149,
            handles,
            &[&owner],
            vec![b2(operand), u16(offset), u16(operation)],
        );
    };
    nv(b, &operand, 0, 0);
    b.on(0x137, &index, vec![b2(&operand), u16(0)]);
    for operation in 0..13 {
        if b.rng.chance(40) {
            let other = if b.rng.chance(50) {
                operand.clone()
            } else {
                b.rng.bytes(8)
            };
            nv(b, &other, b.rng.clone().pick(&[0, 0, 1]), operation);
        }
    }
    let now = b.slot();
    b.plain(0x180, vec![session.handle()], vec![]);
    b.plain(0x16B, vec![session.handle()], vec![]);
    b.plain(0x189, vec![session.handle()], vec![]).saves = vec![(Part::Body(0), now)];
    // A TPMT_HA of the policy.
    let all = b.define(0, 34, 0);
    b.on(
        0x137,
        &all,
        vec![sized(vec![u16(SHA256), Piece::Slot(now)]), u16(0)],
    );
    let owner = b.hierarchy_auth(OWNER);
    let handles = vec![OWNER.into(), all.handle.into(), session.handle()];
    b.cmd(0x192, handles, &[&owner], vec![]);
    digest(b, &session, true);
    b.undefine(&all);
    b.undefine(&index);
    b.flush_slot(session.slot);
}
