//! Objects: their life, derivation, duplication, import, credentials.

use crate::crypto::{SHA1, SHA256, digest_len};
use crate::scenario::Object;
use crate::scenario::builder::{Builder, NULL_HANDLE, OWNER, PLATFORM, Session};
use crate::scenario::template::{
    ADMIN, DECRYPT, ENCRYPTED, FIXED_PARENT, FIXED_TPM, Kind, NULL, RESTRICTED, ST_CLEAR, Template,
    USER, sensitive_create,
};
use crate::step::{Handle, HandleValue, Name, Part, Piece, b2, raw, sized, u16, u32};

/// CreatePrimary, Create, Load, ReadPublic, Unseal, ObjectChangeAuth, EvictControl, LoadExternal.
pub fn lifecycle(b: &mut Builder<'_>) {
    b.maybe_hmac(35);
    let kind = Kind::any(b.rng);
    let auth = b.secret();
    let mut template = Template::new(kind);
    template.name_alg = b.alg();
    if b.rng.chance(10) {
        template.attributes ^= b.rng.pick(&[
            ST_CLEAR,
            ADMIN,
            USER,
            FIXED_TPM,
            FIXED_PARENT,
            ENCRYPTED,
            RESTRICTED,
            DECRYPT,
        ]);
    }
    let data = if kind == Kind::Seal {
        b.rng.some_bytes(128)
    } else {
        Vec::new()
    };
    let storage = b.world.storage.clone();
    let mut object = if b.rng.chance(40) {
        let hierarchy = b.hierarchy();
        b.primary(hierarchy, &template, &auth, &data)
    } else if b.rng.chance(20) && !matches!(kind, Kind::Derive(_)) {
        b.known(kind, &auth)
    } else {
        let blob = b.create(&storage, &template, &auth, &data);
        let object = b.load(&storage, &blob);
        if b.rng.chance(40) {
            let private = b.slot();
            let handles = vec![object.handle.clone(), storage.handle.clone()];
            b.cmd(0x150, handles, &[&auth], vec![b2(b"changed")]).saves =
                vec![(Part::Field(0), private)];
            let changed = crate::scenario::builder::Blob {
                private,
                auth: b"changed".to_vec(),
                ..blob
            };
            let again = b.load(&storage, &changed);
            use_object(b, &again);
            b.flush(&again);
        }
        object
    };
    object.known |= kind == Kind::Seal; // the data is
    b.plain(0x173, vec![object.handle.clone()], vec![]);
    use_object(b, &object);
    if b.rng.chance(35) {
        let persistent = 0x8100_0010 + b.rng.below(6) as u32;
        let (by, at) = b
            .rng
            .pick(&[(OWNER, persistent), (PLATFORM, persistent | 0x0080_0000)]);
        let authority = b.hierarchy_auth(by);
        b.cmd(
            0x120,
            vec![by.into(), object.handle.clone()],
            &[&authority],
            vec![u32(at)],
        );
        let kept = Object {
            handle: Handle {
                value: HandleValue::Const(at),
                name: Name::Slot(object.name),
            },
            ..object.clone()
        };
        use_object(b, &kept);
        b.cmd(
            0x120,
            vec![by.into(), at.into()],
            &[&authority],
            vec![u32(at)],
        )
        .handles[1] = kept.handle.clone();
    }
    b.flush(&object);
    b.plain(0x173, vec![object.handle], vec![]);
}

fn use_object(b: &mut Builder<'_>, object: &Object) {
    match object.kind {
        Kind::Seal => {
            let step = b.cmd(0x15E, vec![object.handle.clone()], &[&object.auth], vec![]);
            step.exact = object.known;
        }
        Kind::Sym(..) => {
            let data = b.rng.bytes(32);
            let params = vec![b2(&data), Piece::Int(vec![0]), u16(NULL), b2(&[0; 16])];
            b.cmd(0x193, vec![object.handle.clone()], &[&object.auth], params);
        }
        Kind::Storage(_) | Kind::StorageRsa => {
            let blob = b.create(object, &Template::new(Kind::Seal), b"in", b"sealed");
            let inner = b.load(object, &blob);
            b.cmd(0x15E, vec![inner.handle.clone()], &[b"in"], vec![]);
            b.flush(&inner);
        }
        _ => b.sign_with(object, SHA256),
    }
}

/// CreateLoaded under storage keys, hierarchies and derivation parents.
pub fn derivation(b: &mut Builder<'_>) {
    b.maybe_hmac(25);
    let auth = b.secret();
    let parent = if b.rng.chance(65) {
        b.primary(OWNER, &Template::new(Kind::Derive(SHA256)), &[], &[])
    } else {
        b.world.storage.clone()
    };
    let kind = Kind::any(b.rng);
    let derived = matches!(parent.kind, Kind::Derive(_));
    let mut template = if derived {
        Template::known(kind)
    } else {
        Template::new(kind)
    };
    if derived && b.rng.chance(80) {
        template.attributes |= FIXED_PARENT | FIXED_TPM;
    }
    let mut public = template.public();
    if derived {
        // The unique field is replaced by a label and a context.
        if kind.object_type() == 0x23 {
            public.pop();
            public.pop();
        } else {
            public.pop();
        }
        public.extend([b2(b"label"), b2(b"context")]);
    }
    let (slot, name) = (b.slot(), b.slot());
    let sensitive = if derived {
        sized(vec![b2(&auth), b2(&[])])
    } else {
        sensitive_create(&auth, if kind == Kind::Seal { b"data" } else { &[] })
    };
    let step = b.cmd(
        0x191,
        vec![parent.handle.clone()],
        &[&parent.auth],
        vec![sensitive, sized(public)],
    );
    step.saves = vec![(Part::Handle, slot), (Part::Body(2), name)];
    let object = b.loaded(slot, name, &auth, kind);
    b.plain(0x173, vec![object.handle.clone()], vec![]);
    use_object(b, &object);
    b.flush(&object);
    b.flush(&parent);
}

/// A policy of one command, as a digest in a slot.
pub fn command_policy(b: &mut Builder<'_>, code: u32) -> u32 {
    let trial = b.start_session_with(3, SHA256);
    b.plain(0x16C, vec![trial.handle()], vec![u32(code)]);
    let digest = b.slot();
    b.plain(0x189, vec![trial.handle()], vec![]).saves = vec![(Part::Field(0), digest)];
    b.flush_slot(trial.slot);
    digest
}

fn command_session(b: &mut Builder<'_>, code: u32) -> Session {
    let policy = b.start_session_with(1, SHA256);
    b.plain(0x16C, vec![policy.handle()], vec![u32(code)]);
    policy
}

/// Duplicate to another parent, Import there, Rewrap.
pub fn duplicate(b: &mut Builder<'_>) {
    let digest = command_policy(b, 0x14B);
    let storage = b.world.storage.clone();
    let kind = b.rng.pick(&[
        Kind::SignEcc(3, NULL, SHA256),
        Kind::Seal,
        Kind::Sym(128, 0x43),
        Kind::Hmac(SHA256),
    ]);
    let mut template = Template::new(kind);
    template.attributes &= !(FIXED_TPM | FIXED_PARENT);
    template.policy = Piece::Slot(digest);
    let inner = b.rng.chance(50);
    if inner {
        template.attributes |= ENCRYPTED;
    }
    let data: &[u8] = if kind == Kind::Seal { b"move me" } else { b"" };
    let blob = b.create(&storage, &template, b"dup", data);
    let object = b.load(&storage, &blob);
    let to_null = b.rng.chance(25);
    let (new_parent, public_only) = if to_null {
        (None, false)
    } else {
        let curve = b.rng.pick(&[3, 4]);
        let rsa = b.rng.chance(30);
        let mut storage = Template::known(if rsa {
            Kind::StorageRsa
        } else {
            Kind::Storage(curve)
        });
        storage.policy = b2(&[]);
        (Some(b.external_in(&storage, &[], false)), true)
    };
    let policy = command_session(b, 0x14B);
    let auth = b.policy_auth(&policy, None, false);
    let (key, dup, seed) = (b.slot(), b.slot(), b.slot());
    let target = new_parent
        .as_ref()
        .map_or(NULL_HANDLE.into(), |parent| parent.handle.clone());
    let given = inner && b.rng.chance(50);
    let params = vec![
        if given { b2(&[9; 16]) } else { b2(&[]) },
        if inner {
            sized_symmetric()
        } else {
            Piece::Bytes(vec![0, 0x10])
        },
    ];
    let step = b.plain(0x14B, vec![object.handle.clone(), target], params);
    step.auths = vec![auth];
    step.saves = vec![
        (Part::Field(0), key),
        (Part::Field(1), dup),
        (Part::Field(2), seed),
    ];
    if let (Some(parent), true) = (&new_parent, public_only) {
        b.flush(parent);
    }
    b.flush(&object);
    // Import needs the new parent's private part: only where no seed was used can it be the same TPM's storage key.
    let storage = b.world.storage.clone();
    let params = vec![
        if given {
            b2(&[9; 16])
        } else {
            Piece::Slot(key)
        },
        Piece::Slot(blob.public),
        Piece::Slot(dup),
        Piece::Slot(seed),
        if inner { sized_symmetric() } else { u16(NULL) },
    ];
    let private = b.slot();
    b.cmd(
        0x156,
        vec![storage.handle.clone()],
        &[&storage.auth],
        params,
    )
    .saves = vec![(Part::Field(0), private)];
    let imported = crate::scenario::builder::Blob { private, ..blob };
    let again = b.load(&storage, &imported);
    use_object(b, &again);
    b.flush(&again);
}

fn sized_symmetric() -> Piece {
    Piece::Bytes(vec![0, 6, 0, 128, 0, 0x43])
}

/// Import of known keys in plain, a storage key among them, and what hangs below it; Rewrap between two parents.
pub fn import(b: &mut Builder<'_>) {
    let storage = b.world.storage.clone();
    let curve = b.rng.pick(&[3, 4]);
    let parent = imported(b, &storage, &Template::known(Kind::Storage(curve)), b"par");
    let rsa = b.rng.chance(40);
    let kind = match Kind::any(b.rng) {
        _ if rsa => Kind::DecryptRsa(NULL, SHA256),
        // libtpms makes the unique field of symmetric parents another way than Part 1 §24.5.3.2.
        Kind::Derive(alg) => Kind::Hmac(alg),
        kind => kind,
    };
    let mut template = Template::known(kind);
    if b.rng.chance(20) {
        template.name_alg = SHA1;
    }
    let child = imported(b, &parent, &template, b"chi");
    b.plain(0x173, vec![child.handle.clone()], vec![]);
    use_object(b, &child);
    b.flush(&child);
    // A duplicate for the parent, whose private part both TPMs have: Rewrap takes it to the storage key.
    let digest = command_policy(b, 0x14B);
    let mut moved = Template::known(Kind::Hmac(SHA256));
    moved.policy = Piece::Slot(digest);
    moved.attributes &= !USER;
    let object = b.external(&moved, &[]);
    let policy = command_session(b, 0x14B);
    let auth = b.policy_auth(&policy, None, false);
    let (dup, seed, again, seed_again) = (b.slot(), b.slot(), b.slot(), b.slot());
    let step = b.plain(
        0x14B,
        vec![object.handle.clone(), parent.handle.clone()],
        vec![b2(&[]), u16(NULL)],
    );
    step.auths = vec![auth];
    step.saves = vec![(Part::Field(1), dup), (Part::Field(2), seed)];
    b.flush(&object);
    let params = vec![
        Piece::Slot(dup),
        sized(vec![Piece::Slot(object.name)]),
        Piece::Slot(seed),
    ];
    let handles = vec![parent.handle.clone(), storage.handle.clone()];
    b.cmd(0x152, handles, &[&parent.auth], params).saves =
        vec![(Part::Field(0), again), (Part::Field(1), seed_again)];
    let (area, _) = moved.known_areas(b.rng, &[]);
    let params = vec![
        b2(&[]),
        sized(area),
        Piece::Slot(again),
        Piece::Slot(seed_again),
        u16(NULL),
    ];
    b.cmd(
        0x156,
        vec![storage.handle.clone()],
        &[&storage.auth],
        params,
    );
    b.flush(&parent);
}

impl Builder<'_> {
    /// A known key with its private part: LoadExternal takes no restricted one.
    pub fn known(&mut self, kind: Kind, auth: &[u8]) -> Object {
        let template = Template::known(kind);
        if template.attributes & RESTRICTED == 0 {
            let object = self.external(&template, auth);
            self.plain(0x173, vec![object.handle.clone()], vec![]).exact = true;
            object
        } else {
            let storage = self.world.storage.clone();
            imported(self, &storage, &template, auth)
        }
    }
}

/// Imports a known key without protection, and loads it.
pub fn imported(b: &mut Builder<'_>, parent: &Object, template: &Template, auth: &[u8]) -> Object {
    let (area, sensitive) = template.known_areas(b.rng, auth);
    let private = b.slot();
    let params = vec![
        b2(&[]),
        sized(area.clone()),
        sized(vec![sized(sensitive)]),
        b2(&[]),
        u16(NULL),
    ];
    b.cmd(0x156, vec![parent.handle.clone()], &[&parent.auth], params)
        .saves = vec![(Part::Field(0), private)];
    let (slot, name) = (b.slot(), b.slot());
    let step = b.cmd(
        0x157,
        vec![parent.handle.clone()],
        &[&parent.auth],
        vec![Piece::Slot(private), sized(area)],
    );
    step.saves = vec![(Part::Handle, slot), (Part::Body(0), name)];
    step.exact = true;
    Object {
        known: true,
        ..b.loaded(slot, name, auth, template.kind)
    }
}

/// MakeCredential and ActivateCredential.
pub fn credential(b: &mut Builder<'_>) {
    b.maybe_hmac(25);
    let storage = b.world.storage.clone();
    let curve = b.rng.pick(&[3, 4]);
    let key = match b.rng.below(3) {
        0 => imported(b, &storage, &Template::known(Kind::StorageRsa), b"ek"),
        _ => b.primary(OWNER, &Template::new(Kind::Storage(curve)), b"ek", &[]),
    };
    let target = b.primary(
        crate::scenario::builder::ENDORSEMENT,
        &Template::new(Kind::Ak(3)),
        b"ak",
        &[],
    );
    let most = digest_len(SHA256);
    let secret = b.rng.some_bytes(most);
    let (blob, seed) = (b.slot(), b.slot());
    let params = vec![b2(&secret), sized(vec![Piece::Slot(target.name)])];
    b.plain(0x168, vec![key.handle.clone()], params).saves =
        vec![(Part::Field(0), blob), (Part::Field(1), seed)];
    let params = vec![Piece::Slot(blob), Piece::Slot(seed)];
    b.cmd(
        0x147,
        vec![target.handle.clone(), key.handle.clone()],
        &[b"ak", b"ek"],
        params,
    );
    // To another name.
    b.plain(
        0x168,
        vec![key.handle.clone()],
        vec![b2(&[1; 16]), sized(vec![raw(&[0, 11]), raw(&[5; 32])])],
    )
    .saves = vec![(Part::Field(0), blob), (Part::Field(1), seed)];
    let params = vec![Piece::Slot(blob), Piece::Slot(seed)];
    b.cmd(
        0x147,
        vec![target.handle.clone(), key.handle.clone()],
        &[b"ak", b"ek"],
        params,
    );
    b.flush(&key);
    b.flush(&target);
}
