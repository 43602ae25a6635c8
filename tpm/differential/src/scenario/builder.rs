//! Writes steps: authorizations, sessions, the common commands.

use crate::commands::command;
use crate::crypto::{Cipher, SHA1, SHA256, SHA384, SHA512, digest_len};
use crate::rng::Rng;
use crate::scenario::template::{Kind, NULL, Template, no_pcrs, sensitive_create};
use crate::scenario::{Object, World};
use crate::step::{
    Action, Auth, Handle, HandleValue, Name, Part, Piece, Salt, Slot, Start, Step, b2, raw, sized,
    u8, u16, u32,
};

/// TPM_RH_OWNER.
pub const OWNER: u32 = 0x4000_0001;
/// TPM_RH_NULL.
pub const NULL_HANDLE: u32 = 0x4000_0007;
/// TPM_RH_LOCKOUT.
pub const LOCKOUT: u32 = 0x4000_000A;
/// TPM_RH_ENDORSEMENT.
pub const ENDORSEMENT: u32 = 0x4000_000B;
/// TPM_RH_PLATFORM.
pub const PLATFORM: u32 = 0x4000_000C;

/// An HMAC or policy session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its handle, which is its slot too.
    pub slot: Slot,
    /// Its hash algorithm.
    pub hash: u16,
    cipher: Cipher,
    bound_to: Option<u32>,
    salted: bool,
}

impl Session {
    /// The handle.
    pub fn handle(&self) -> Handle {
        Handle {
            value: HandleValue::Slot(self.slot),
            name: Name::Slot(self.slot), // unused: where a session has a name it is its handle
        }
    }
}

/// A private and a public part.
#[derive(Clone, Debug)]
pub struct Blob {
    /// TPM2B_PRIVATE.
    pub private: Slot,
    /// TPM2B_PUBLIC.
    pub public: Slot,
    /// The authorization value.
    pub auth: Vec<u8>,
    /// What for.
    pub kind: Kind,
    /// creationHash and creationTicket.
    pub creation: (Slot, Slot),
}

/// Writes the steps of a scenario.
pub struct Builder<'a> {
    /// Random choices.
    pub rng: &'a mut Rng,
    /// What lasts.
    pub world: &'a mut World,
    out: &'a mut Vec<Action>,
    session: Option<Session>,
}

impl<'a> Builder<'a> {
    /// For one scenario.
    pub fn new(rng: &'a mut Rng, world: &'a mut World, out: &'a mut Vec<Action>) -> Self {
        Builder {
            rng,
            world,
            out,
            session: None,
        }
    }

    /// A new slot.
    pub fn slot(&mut self) -> Slot {
        self.world.next_slot += 1;
        self.world.next_slot
    }

    /// A new NV index.
    pub fn index(&mut self) -> u32 {
        self.world.next_index += 1;
        self.world.next_index
    }

    /// Anything but a command.
    pub fn action(&mut self, action: Action) {
        self.out.push(action);
    }

    /// A hash algorithm.
    pub fn alg(&mut self) -> u16 {
        self.rng.pick(&[SHA1, SHA256, SHA256, SHA384, SHA512])
    }

    /// A command without authorization.
    pub fn plain(&mut self, code: u32, handles: Vec<Handle>, params: Vec<Piece>) -> &mut Step {
        self.cmd(code, handles, &[], params)
    }

    /// A command; `auths` are the authorization values of its first handles.
    pub fn cmd(
        &mut self,
        code: u32,
        handles: Vec<Handle>,
        auths: &[&[u8]],
        params: Vec<Piece>,
    ) -> &mut Step {
        let mut step = Step::new(code);
        let mut free = self.session.clone();
        for (at, value) in auths.iter().enumerate() {
            let used = match &free {
                Some(session) if self.rng.chance(60) => Some(self.session_auth(
                    session.clone(),
                    code,
                    &params,
                    Some((&handles[at], value)),
                )),
                _ => None,
            };
            if used.is_some() {
                free = None;
            }
            step.auths
                .push(used.unwrap_or_else(|| Auth::password(value)));
        }
        let sessions_allowed = !matches!(code, 0x144 | 0x161 | 0x162 | 0x165);
        if let Some(session) = free
            && sessions_allowed
            && self.rng.chance(20)
        {
            let auth = self.session_auth(session, code, &params, None);
            step.auths.push(auth);
        }
        step.handles = handles;
        step.params = params;
        self.push(step)
    }

    /// A finished step.
    pub fn push(&mut self, step: Step) -> &mut Step {
        self.out.push(Action::Command(Box::new(step)));
        match self.out.last_mut() {
            Some(Action::Command(step)) => step,
            _ => unreachable!("it was pushed"),
        }
    }

    fn session_auth(
        &mut self,
        session: Session,
        code: u32,
        params: &[Piece],
        entity: Option<(&Handle, &[u8])>,
    ) -> Auth {
        let mut attributes = 1;
        if session.cipher != Cipher::None {
            if matches!(params.first(), Some(Piece::Sized(..))) && self.rng.chance(50) {
                attributes |= 0x20;
            }
            let shape = command(code).map_or("", |command| command.shape);
            if shape.starts_with(['B', 'b', 'P', 'A', 'p', '~']) && self.rng.chance(50) {
                attributes |= 0x40;
            }
        }
        if session.bound_to.is_none()
            && self.rng.chance(if attributes == 1 && entity.is_none() {
                90
            } else {
                15
            })
        {
            attributes |= 0x80;
        }
        let bound = entity.is_some_and(|(handle, _)| match handle.value {
            HandleValue::Const(value) => session.bound_to == Some(value),
            HandleValue::Slot(_) => false,
        });
        let len = self.rng.pick(&[16, 20, 32]);
        Auth {
            session: Some(session.handle()),
            slot: session.slot,
            attributes,
            value: entity.map_or(Vec::new(), |(_, value)| value.to_vec()),
            in_key: entity.is_some() && !bound,
            plain: false,
            no_hmac: false,
            nonce: self.rng.bytes(len),
            wrong: false,
        }
    }

    /// From now on some authorizations are by an HMAC session.
    pub fn maybe_hmac(&mut self, percent: usize) {
        if self.rng.chance(percent) {
            let session = self.start_session(0);
            self.session = Some(session);
        }
    }

    /// No HMAC session from now on.
    pub fn without_session(&mut self) {
        if let Some(session) = self.session.take() {
            self.flush_slot(session.slot);
        }
    }

    /// StartAuthSession: 0 HMAC, 1 policy, 3 trial.
    pub fn start_session(&mut self, kind: u8) -> Session {
        let hash = self.alg();
        self.start_session_with(kind, hash)
    }

    /// StartAuthSession with a given hash algorithm.
    pub fn start_session_with(&mut self, kind: u8, hash: u16) -> Session {
        let slot = self.slot();
        let cipher = match self.rng.below(5) {
            0 => Cipher::None,
            1 => Cipher::Xor(hash),
            2 => Cipher::Aes(256),
            _ => Cipher::Aes(128),
        };
        let symmetric = match cipher {
            Cipher::None => vec![u16(NULL)],
            Cipher::Xor(alg) => vec![u16(0x0A), u16(alg)],
            Cipher::Aes(bits) => vec![u16(6), u16(bits), u16(0x43)],
        };
        let len = self.rng.pick(&[16, 20, digest_len(hash)]);
        let nonce = self.rng.bytes(len);
        let bind = (kind == 0 && self.rng.chance(25)).then_some(OWNER);
        let (key, secret, salt) = if self.rng.chance(if kind == 3 { 0 } else { 20 }) {
            let mut scalar: [u8; 32] = self.rng.bytes(32).try_into().unwrap_or([1; 32]);
            scalar[0] &= 0x7F; // below the order
            let point = Piece::Salt {
                public: self.world.storage.public,
                name_alg: SHA256,
                scalar,
            };
            (
                self.world.storage.handle.clone(),
                sized(vec![point.clone()]),
                Some(Salt::Ecc(point)),
            )
        } else {
            (NULL_HANDLE.into(), b2(&[]), None)
        };
        let salted = salt.is_some();
        let mut step = Step::new(0x176);
        step.handles = vec![key, bind.unwrap_or(NULL_HANDLE).into()];
        step.params = vec![b2(&nonce), secret, u8(kind)];
        step.params.extend(symmetric);
        step.params.push(u16(hash));
        step.saves = vec![(Part::Handle, slot)];
        step.start = Some(Start {
            slot,
            hash,
            cipher,
            bind: bind.map(|_| self.world.auths[0].clone()),
            salt,
            nonce,
        });
        self.push(step);
        Session {
            slot,
            hash,
            cipher,
            bound_to: bind,
            salted,
        }
    }

    /// An authorization by a policy session; `value` where PolicyAuthValue or PolicyPassword was called.
    pub fn policy_auth(&mut self, session: &Session, value: Option<&[u8]>, plain: bool) -> Auth {
        Auth {
            session: Some(session.handle()),
            slot: session.slot,
            attributes: u8::from(self.rng.chance(50)),
            value: value.unwrap_or(&[]).to_vec(),
            in_key: value.is_some() && !plain,
            plain,
            // Where the HMAC's key is empty, there need not be one.
            no_hmac: value.is_none() && !session.salted && self.rng.chance(60),
            nonce: self.rng.bytes(16),
            wrong: false,
        }
    }

    /// The authorization value of a hierarchy.
    pub fn hierarchy_auth(&self, hierarchy: u32) -> Vec<u8> {
        match hierarchy {
            OWNER => self.world.auths[0].clone(),
            ENDORSEMENT => self.world.auths[1].clone(),
            PLATFORM => self.world.auths[2].clone(),
            LOCKOUT => self.world.auths[3].clone(),
            _ => Vec::new(),
        }
    }

    /// A hierarchy.
    pub fn hierarchy(&mut self) -> u32 {
        self.rng
            .pick(&[OWNER, OWNER, ENDORSEMENT, PLATFORM, NULL_HANDLE])
    }

    /// An authorization value.
    pub fn secret(&mut self) -> Vec<u8> {
        let len = self.rng.pick(&[0, 0, 4, 16, 32]);
        let mut secret = self.rng.bytes(len);
        if self.rng.chance(10) {
            secret.extend([0, 0]);
        }
        secret.truncate(32);
        secret
    }

    /// What the TPM gets first: power, Startup, a persistent storage key.
    pub fn begin(&mut self) {
        self.plain(0x144, vec![], vec![u16(0)]);
        // Ten failures rather than few, and no recovery within a run.
        let auth = self.hierarchy_auth(LOCKOUT);
        self.cmd(
            0x13A,
            vec![LOCKOUT.into()],
            &[&auth],
            vec![u32(10), u32(100_000), u32(100_000)],
        );
        // The hash algorithm of the command audit is the implementation's choice.
        let owner = self.hierarchy_auth(OWNER);
        for alg in [SHA384, SHA256] {
            let params = vec![u16(alg), u32(0), u32(0)];
            self.cmd(0x140, vec![OWNER.into()], &[&owner], params);
        }
        self.storage();
    }

    /// Makes the persistent storage key.
    pub fn storage(&mut self) {
        let object = self.primary(OWNER, &Template::new(Kind::Storage(3)), &[], &[]);
        let auth = self.hierarchy_auth(OWNER);
        self.cmd(
            0x120,
            vec![OWNER.into(), object.handle.clone()],
            &[&auth],
            vec![u32(0x8100_0001)],
        );
        self.flush(&object);
        let (public, name) = (self.world.storage.public, self.world.storage.name);
        self.world.storage.handle.name = Name::Slot(name);
        self.plain(0x173, vec![0x8100_0001.into()], vec![]).saves =
            vec![(Part::Body(0), public), (Part::Body(1), name)];
    }

    /// CreatePrimary.
    pub fn primary(
        &mut self,
        hierarchy: u32,
        template: &Template,
        auth: &[u8],
        data: &[u8],
    ) -> Object {
        let (slot, name, public) = (self.slot(), self.slot(), self.slot());
        let authority = self.hierarchy_auth(hierarchy);
        let outside = self.rng.some_bytes(8);
        let params = vec![
            sensitive_create(auth, data),
            sized(template.public()),
            b2(&outside),
            no_pcrs(),
        ];
        self.cmd(0x131, vec![hierarchy.into()], &[&authority], params)
            .saves = vec![
            (Part::Handle, slot),
            (Part::Body(0), public),
            (Part::Body(4), name),
        ];
        self.object(slot, name, public, auth, template.kind, false)
    }

    /// Create.
    pub fn create(
        &mut self,
        parent: &Object,
        template: &Template,
        auth: &[u8],
        data: &[u8],
    ) -> Blob {
        let slots = [self.slot(), self.slot(), self.slot(), self.slot()];
        let outside = self.rng.some_bytes(8);
        let selection = match self.rng.below(4) {
            0 => crate::scenario::template::pcrs(SHA256, [0, 0x80, 1]),
            _ => vec![no_pcrs()],
        };
        let mut params = vec![
            sensitive_create(auth, data),
            sized(template.public()),
            b2(&outside),
        ];
        params.extend(selection);
        self.cmd(0x153, vec![parent.handle.clone()], &[&parent.auth], params)
            .saves = vec![
            (Part::Field(0), slots[0]),
            (Part::Field(1), slots[1]),
            (Part::Field(3), slots[2]),
            (Part::Field(4), slots[3]),
        ];
        Blob {
            private: slots[0],
            public: slots[1],
            auth: auth.to_vec(),
            kind: template.kind,
            creation: (slots[2], slots[3]),
        }
    }

    /// Load.
    pub fn load(&mut self, parent: &Object, blob: &Blob) -> Object {
        let (slot, name, public) = (self.slot(), self.slot(), blob.public);
        let params = vec![Piece::Slot(blob.private), Piece::Slot(public)];
        self.cmd(0x157, vec![parent.handle.clone()], &[&parent.auth], params)
            .saves = vec![(Part::Handle, slot), (Part::Body(0), name)];
        self.object(slot, name, public, &blob.auth, blob.kind, false)
    }

    /// LoadExternal of a known key, with its private part.
    pub fn external(&mut self, template: &Template, auth: &[u8]) -> Object {
        self.external_in(template, auth, true)
    }

    /// LoadExternal of a known key.
    pub fn external_in(&mut self, template: &Template, auth: &[u8], private: bool) -> Object {
        let (slot, name, public) = (self.slot(), self.slot(), self.slot());
        let (area, sensitive) = template.known_areas(self.rng, auth);
        let hierarchy = if private {
            NULL_HANDLE
        } else {
            self.hierarchy()
        };
        let first = if private { sized(sensitive) } else { b2(&[]) };
        let step = self.plain(0x167, vec![], vec![first, sized(area), u32(hierarchy)]);
        step.saves = vec![(Part::Handle, slot), (Part::Body(0), name)];
        step.exact = true;
        self.object(slot, name, public, auth, template.kind, true)
    }

    fn object(
        &self,
        slot: Slot,
        name: Slot,
        public: Slot,
        auth: &[u8],
        kind: Kind,
        known: bool,
    ) -> Object {
        Object {
            handle: Handle {
                value: HandleValue::Slot(slot),
                name: Name::Slot(name),
            },
            public,
            name,
            auth: auth.to_vec(),
            kind,
            known,
        }
    }

    /// An object with a slot for its handle and name.
    pub fn loaded(&self, slot: Slot, name: Slot, auth: &[u8], kind: Kind) -> Object {
        self.object(slot, name, 0, auth, kind, false)
    }

    /// FlushContext.
    pub fn flush(&mut self, object: &Object) {
        if let HandleValue::Slot(slot) = object.handle.value {
            self.flush_slot(slot);
        }
    }

    /// FlushContext of a handle in a slot.
    pub fn flush_slot(&mut self, slot: Slot) {
        self.plain(0x165, vec![], vec![Piece::Slot(slot)]);
    }

    /// Bytes as a TPM2B.
    pub fn data(&mut self, most: usize) -> Piece {
        let bytes = self.rng.some_bytes(most);
        sized(vec![raw(&bytes)])
    }
}
