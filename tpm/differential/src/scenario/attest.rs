//! Signatures and attestation.

use crate::crypto::{SHA1, SHA256, SHA384, SHA512, digest_len};
use crate::scenario::Object;
use crate::scenario::builder::{Builder, ENDORSEMENT, NULL_HANDLE, OWNER};
use crate::scenario::nv::Index;
use crate::scenario::object::imported;
use crate::scenario::template::{Kind, NULL, Template, pcrs};
use crate::step::{Handle, Part, Piece, b2, sized, u16, u32};

/// A ticket that says nothing.
pub fn null_ticket(tag: u16) -> Vec<Piece> {
    vec![u16(tag), u32(NULL_HANDLE), b2(&[])]
}

/// TPM_ST_HASHCHECK.
pub const HASHCHECK: u16 = 0x8024;

impl Builder<'_> {
    /// A scheme that `kind` takes, and the hash algorithm of it.
    pub fn scheme(&mut self, kind: Kind) -> (Vec<Piece>, u16) {
        let alg = self.rng.pick(&[SHA256, SHA256, SHA1, SHA384, SHA512]);
        let none = self.rng.chance(50);
        match kind {
            Kind::Ak(_) => (vec![u16(NULL)], SHA256),
            Kind::SignEcc(_, NULL, _) => {
                let by = self.rng.pick(&[0x18, 0x18, 0x1C]);
                (vec![u16(by), u16(alg)], alg)
            }
            Kind::SignEcc(_, 0x1A, own) => (vec![u16(0x1A), u16(own), u16(0)], own),
            Kind::SignRsa(NULL, _) => {
                let by = self.rng.pick(&[0x14, 0x16]);
                (vec![u16(by), u16(alg)], alg)
            }
            Kind::Hmac(NULL) => (vec![u16(5), u16(alg)], alg),
            Kind::SignEcc(_, _, own)
            | Kind::SignRsa(_, own)
            | Kind::Hmac(own)
            | Kind::HmacRestricted(own)
                if none =>
            {
                (vec![u16(NULL)], own)
            }
            Kind::SignEcc(_, by, own) | Kind::SignRsa(by, own) => (vec![u16(by), u16(own)], own),
            Kind::Hmac(own) | Kind::HmacRestricted(own) => (vec![u16(5), u16(own)], own),
            _ => (vec![u16(NULL)], alg),
        }
    }

    /// Sign with a key, and VerifySignature.
    pub fn sign_with(&mut self, key: &Object, _alg: u16) {
        let (scheme, alg) = self.scheme(key.kind);
        let digest = self.rng.bytes(digest_len(alg));
        let signature = self.slot();
        let mut params = vec![b2(&digest)];
        params.extend(scheme);
        params.extend(null_ticket(HASHCHECK));
        let step = self.cmd(0x15D, vec![key.handle.clone()], &[&key.auth], params);
        step.saves = vec![(Part::Field(0), signature)];
        step.exact = key.known;
        self.plain(
            0x177,
            vec![key.handle.clone()],
            vec![b2(&digest), Piece::Slot(signature)],
        );
    }

    /// A signing key of any kind.
    pub fn signer(&mut self) -> Object {
        let curve = self.rng.pick(&[3, 4]);
        let alg = self.rng.pick(&[SHA256, SHA1, SHA384]);
        let auth = self.secret();
        let kind = match self.rng.below(8) {
            0 => Kind::SignEcc(curve, NULL, SHA256),
            1 => Kind::SignEcc(curve, 0x18, alg),
            2 => Kind::SignEcc(curve, 0x1C, alg),
            3 | 4 => Kind::SignRsa(self.rng.pick(&[NULL, 0x14, 0x16]), SHA256),
            5 => Kind::Hmac(alg),
            6 => Kind::Hmac(NULL),
            _ => {
                let hierarchy = self.rng.pick(&[OWNER, ENDORSEMENT]);
                return self.primary(hierarchy, &Template::new(Kind::Ak(curve)), &auth, &[]);
            }
        };
        match kind {
            Kind::Hmac(_) | Kind::SignEcc(..) if self.rng.chance(40) => {
                self.primary(OWNER, &Template::new(kind), &auth, &[])
            }
            _ => self.external(&Template::known(kind), &auth),
        }
    }
}

/// Sign and VerifySignature, with digests of the TPM's own making too; HMAC and HMAC sequences.
pub fn sign(b: &mut Builder<'_>) {
    b.maybe_hmac(30);
    let key = b.signer();
    b.sign_with(&key, SHA256);
    // What the TPM hashed itself, for restricted keys.
    let (scheme, alg) = b.scheme(key.kind);
    let data = b.rng.some_bytes(200);
    let ticket = b.slot();
    let hierarchy = b.rng.pick(&[OWNER, ENDORSEMENT]);
    b.plain(0x17D, vec![], vec![b2(&data), u16(alg), u32(hierarchy)])
        .saves = vec![(Part::Field(1), ticket)];
    let mut params = vec![sized(vec![Piece::Hash(alg, vec![Piece::Bytes(data)])])];
    params.extend(scheme);
    params.push(Piece::Slot(ticket));
    let signature = b.slot();
    let digest = params[0].clone();
    b.cmd(0x15D, vec![key.handle.clone()], &[&key.auth], params)
        .saves = vec![(Part::Field(0), signature)];
    b.plain(
        0x177,
        vec![key.handle.clone()],
        vec![digest, Piece::Slot(signature)],
    );
    if let Kind::Hmac(own) = key.kind {
        let alg = if own == NULL { b.alg() } else { own };
        let data = b.data(300);
        let given = b.rng.pick(&[NULL, alg]);
        let step = b.cmd(
            0x155,
            vec![key.handle.clone()],
            &[&key.auth],
            vec![data, u16(given)],
        );
        step.exact = key.known;
        let slot = b.slot();
        let step = b.cmd(
            0x15B,
            vec![key.handle.clone()],
            &[&key.auth],
            vec![b2(b"seq"), u16(given)],
        );
        step.saves = vec![(Part::Handle, slot)];
        let handle = super::pcr::sequence(slot);
        let data = b.data(300);
        b.cmd(0x15C, vec![handle.clone()], &[b"seq"], vec![data]);
        let last = b.data(100);
        let step = b.cmd(0x13E, vec![handle], &[b"seq"], vec![last, u32(OWNER)]);
        step.exact = key.known;
    }
    b.flush(&key);
}

/// Quote, Certify, CertifyCreation, GetTime, NV_Certify.
pub fn quote(b: &mut Builder<'_>) {
    b.maybe_hmac(30);
    let key = if b.rng.chance(10) {
        None
    } else {
        Some(b.signer())
    };
    let (handle, auth, kind) = match &key {
        Some(key) => (key.handle.clone(), key.auth.clone(), key.kind),
        None => (Handle::from(NULL_HANDLE), Vec::new(), Kind::Seal),
    };
    let exact = false;
    for _ in 0..2 {
        let data = b.data(32);
        let (scheme, _) = b.scheme(kind);
        match b.rng.below(5) {
            0 => {
                let bank = b.rng.pick(&[SHA256, SHA384, SHA1]);
                let select = b.rng.word().to_be_bytes();
                let mut params = vec![data];
                params.extend(scheme);
                params.extend(pcrs(bank, [select[0], select[1], 0]));
                b.cmd(0x158, vec![handle.clone()], &[&auth], params).exact = exact;
            }
            1 => {
                let storage = b.world.storage.clone();
                let object = if b.rng.chance(50) {
                    storage
                } else {
                    imported(b, &storage, &Template::known(Kind::Hmac(SHA256)), b"obj")
                };
                let mut params = vec![data];
                params.extend(scheme);
                b.cmd(
                    0x148,
                    vec![object.handle.clone(), handle.clone()],
                    &[&object.auth, &auth],
                    params,
                );
                b.flush(&object);
            }
            2 => {
                let storage = b.world.storage.clone();
                let blob = b.create(&storage, &Template::new(Kind::Seal), b"", b"x");
                let object = b.load(&storage, &blob);
                let mut params = vec![data, Piece::Slot(blob.creation.0)];
                params.extend(scheme);
                params.push(Piece::Slot(blob.creation.1));
                b.cmd(
                    0x14A,
                    vec![handle.clone(), object.handle.clone()],
                    &[&auth],
                    params,
                );
                b.flush(&object);
            }
            3 => {
                let endorsement = b.hierarchy_auth(ENDORSEMENT);
                let mut params = vec![data];
                params.extend(scheme);
                b.cmd(
                    0x14C,
                    vec![ENDORSEMENT.into(), handle.clone()],
                    &[&endorsement, &auth],
                    params,
                );
            }
            _ => {
                let index: Index = b.define(0, 32, 0);
                let bytes = b.rng.bytes(32);
                b.on(0x137, &index, vec![b2(&bytes), u16(0)]);
                let owner = b.hierarchy_auth(OWNER);
                let mut params = vec![data];
                params.extend(scheme);
                let (size, offset) = b.rng.pick(&[(32, 0), (8, 8), (0, 0)]);
                params.extend([u16(size), u16(offset)]);
                let handles = vec![handle.clone(), OWNER.into(), index.handle.into()];
                b.cmd(0x184, handles, &[&auth, &owner], params);
                b.undefine(&index);
            }
        }
    }
    if let Some(key) = key {
        b.flush(&key);
    }
}

/// SetCommandCodeAuditStatus, GetCommandAuditDigest, GetSessionAuditDigest.
pub fn audit(b: &mut Builder<'_>) {
    let owner = b.hierarchy_auth(OWNER);
    let set = |b: &mut Builder<'_>, alg: u16, on: &[u32], off: &[u32]| {
        let list = |codes: &[u32]| {
            let mut pieces = vec![u32(codes.len() as u32)];
            pieces.extend(codes.iter().map(|code| u32(*code)));
            pieces
        };
        let mut params = vec![u16(alg)];
        params.extend(list(on));
        params.extend(list(off));
        b.cmd(0x140, vec![OWNER.into()], &[&owner], params);
    };
    set(b, NULL, &[0x17B, 0x17E, 0x182], &[]);
    let alg = b.rng.pick(&[SHA256, SHA384]);
    if b.rng.chance(50) {
        set(b, alg, &[], &[]);
    }
    b.plain(0x17E, vec![], pcrs(SHA256, [1, 0, 0]));
    b.cmd(0x182, vec![16.into()], &[&[]], vec![u32(0)]);
    let key = b.signer();
    let endorsement = b.hierarchy_auth(ENDORSEMENT);
    let data = b.data(16);
    let (scheme, _) = b.scheme(key.kind);
    let mut params = vec![data];
    params.extend(scheme.clone());
    let handles = vec![ENDORSEMENT.into(), key.handle.clone()];
    b.cmd(0x133, handles, &[&endorsement, &key.auth], params);
    let session = b.start_session(0);
    let nonce = b.rng.bytes(16);
    for _ in 0..2 {
        let step = b.plain(0x17E, vec![], pcrs(SHA256, [1, 0, 1]));
        step.auths = vec![crate::step::Auth {
            session: Some(session.handle()),
            slot: session.slot,
            attributes: 0x81,
            value: Vec::new(),
            in_key: false,
            plain: false,
            no_hmac: false,
            nonce: nonce.clone(),
            wrong: false,
        }];
    }
    let data = b.data(16);
    let mut params = vec![data];
    params.extend(scheme);
    let handles = vec![ENDORSEMENT.into(), key.handle.clone(), session.handle()];
    b.cmd(0x14D, handles, &[&endorsement, &key.auth], params);
    set(b, NULL, &[], &[0x17B, 0x17E, 0x182]);
    if b.rng.chance(30) {
        set(b, SHA256, &[], &[]);
    }
    b.flush(&key);
}
