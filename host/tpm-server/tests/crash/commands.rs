//! Commands that change the state, in an order that makes most of them succeed: a model of the TPM chooses them.

use std::collections::{BTreeMap, BTreeSet};

pub const OWNER: u32 = 0x4000_0001;
pub const LOCKOUT: u32 = 0x4000_000A;
pub const ENDORSEMENT: u32 = 0x4000_000B;
pub const PLATFORM: u32 = 0x4000_000C;
const PASSWORD: u32 = 0x4000_0009;
const SHA256: u16 = 0x000B;

/// Every authorization value that is ever set.
pub const AUTHS: [&[u8]; 4] = [b"", b"a", b"bb", b"ccc"];
/// TPM_RC_AUTH_FAIL of the first session.
pub const AUTH_FAIL: u32 = 0x98E;

/// A command with password authorizations `auths` for its first handles.
pub fn command(code: u32, handles: &[u32], auths: &[&[u8]], parameters: &[u8]) -> Vec<u8> {
    let tag: u16 = if auths.is_empty() { 0x8001 } else { 0x8002 };
    let mut body: Vec<u8> = handles
        .iter()
        .flat_map(|handle| handle.to_be_bytes())
        .collect();
    if !auths.is_empty() {
        let area: Vec<u8> = auths
            .iter()
            .flat_map(|auth| [&PASSWORD.to_be_bytes()[..], &[0, 0, 1], &sized(auth)].concat())
            .collect();
        body.extend((area.len() as u32).to_be_bytes());
        body.extend(area);
    }
    body.extend(parameters);
    let size = 10 + body.len() as u32;
    [
        &tag.to_be_bytes()[..],
        &size.to_be_bytes(),
        &code.to_be_bytes(),
        &body,
    ]
    .concat()
}

/// A TPM2B.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

pub fn startup() -> Vec<u8> {
    command(0x144, &[], &[], &[0, 0])
}

/// A P-256 storage key, of which `unique` makes many.
pub fn create_primary(hierarchy: u32, auth: &[u8], unique: u8) -> Vec<u8> {
    let mut public = Vec::new();
    public.extend(0x0023u16.to_be_bytes());
    public.extend(SHA256.to_be_bytes());
    public.extend(0x0003_0472u32.to_be_bytes());
    public.extend(sized(&[]));
    for word in [0x0006u16, 128, 0x0043, 0x0010, 0x0003, 0x0010] {
        public.extend(word.to_be_bytes());
    }
    public.extend(sized(&[unique]));
    public.extend(sized(&[]));
    let sensitive = [sized(&[]), sized(&[])].concat();
    let parameters = [sized(&sensitive), sized(&public), sized(&[]), vec![0; 4]].concat();
    command(0x131, &[hierarchy], &[auth], &parameters)
}

/// A command that changes the state, and what it needs.
pub struct Op {
    pub name: &'static str,
    /// Runs first, and does not change the state.
    pub before: Option<Vec<u8>>,
    pub command: Vec<u8>,
    pub expected: u32,
    /// The TPM has power and nothing more.
    pub unstarted: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Ordinary,
    Counter,
    Bits,
    Extend,
}

/// What the TPM should look like.
pub struct Model {
    indices: BTreeMap<u32, (Kind, usize)>,
    persistent: BTreeSet<u32>,
    auths: BTreeMap<u32, usize>,
    clear_disabled: bool,
    clock: u64,
    random: u64,
}

impl Model {
    pub fn new() -> Model {
        Model {
            indices: BTreeMap::new(),
            persistent: BTreeSet::new(),
            auths: BTreeMap::new(),
            clear_disabled: false,
            clock: 1_000_000,
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    pub fn random(&mut self, below: u64) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }

    fn auth(&self, hierarchy: u32) -> &'static [u8] {
        AUTHS[self.auths.get(&hierarchy).copied().unwrap_or(0)]
    }

    fn any_index(&mut self, kind: Option<Kind>) -> Option<(u32, Kind, &'static [u8])> {
        let fitting: Vec<_> = self
            .indices
            .iter()
            .filter(|(_, (is, _))| kind.is_none_or(|kind| kind == *is))
            .map(|(index, (kind, auth))| (*index, *kind, AUTHS[*auth]))
            .collect();
        match fitting.len() {
            0 => None,
            count => Some(fitting[self.random(count as u64) as usize]),
        }
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.random(256) as u8).collect()
    }

    /// The next command. The model is then as if it had succeeded.
    pub fn next(&mut self) -> Op {
        loop {
            let choice = self.random(1000);
            if let Some(op) = self.choose(choice) {
                return op;
            }
        }
    }

    fn choose(&mut self, choice: u64) -> Option<Op> {
        match choice {
            0..=99 => self.define(),
            100..=319 => self.write(),
            320..=369 => self.undefine(),
            370..=469 => self.fail_authorization(),
            470..=539 => self.change_auth(),
            540..=589 => self.persist(),
            590..=629 => self.unpersist(),
            630..=689 => self.dictionary(),
            690..=739 => self.reset_lockout(),
            740..=779 => self.clear_control(),
            780..=819 => self.primary_policy(),
            820..=859 => self.allocate(),
            860..=899 => self.set_clock(),
            900..=929 => self.audit(),
            930..=959 => Some(self.shutdown()),
            960..=993 => Some(Op {
                unstarted: true,
                ..op("Startup", startup())
            }),
            994..=996 => self.clear(),
            _ => self.change_seed(choice),
        }
    }

    fn define(&mut self) -> Option<Op> {
        if self.indices.len() >= 8 {
            return None;
        }
        let index = 0x0180_0000 + self.random(30) as u32;
        if self.indices.contains_key(&index) {
            return None;
        }
        let (kind, bits, size) = match self.random(5) {
            0 => (Kind::Counter, 0x10, 8),
            1 => (Kind::Bits, 0x20, 8),
            2 => (Kind::Extend, 0x40, 32),
            _ => (Kind::Ordinary, 0, [16, 200, 900][self.random(3) as usize]),
        };
        let auth = self.random(4) as usize;
        self.indices.insert(index, (kind, auth));
        let mut public = index.to_be_bytes().to_vec();
        public.extend(SHA256.to_be_bytes());
        // OWNER and AUTH may read and write; failures of authorization count.
        public.extend((0x0006_0006u32 | bits).to_be_bytes());
        public.extend(sized(&[]));
        public.extend((size as u16).to_be_bytes());
        let parameters = [sized(AUTHS[auth]), sized(&public)].concat();
        let owner = self.auth(OWNER);
        Some(op(
            "NV_DefineSpace",
            command(0x12A, &[OWNER], &[owner], &parameters),
        ))
    }

    fn write(&mut self) -> Option<Op> {
        let (index, kind, _) = self.any_index(None)?;
        let owner = self.auth(OWNER);
        let (name, code, parameters) = match kind {
            Kind::Counter => ("NV_Increment", 0x134, vec![]),
            Kind::Bits => (
                "NV_SetBits",
                0x135,
                (1u64 << self.random(64)).to_be_bytes().to_vec(),
            ),
            Kind::Extend => ("NV_Extend", 0x136, sized(&self.bytes(20))),
            Kind::Ordinary => {
                let length = 1 + self.random(12);
                let data = sized(&self.bytes(length));
                let offset = self.random(4) as u16;
                (
                    "NV_Write",
                    0x137,
                    [&data[..], &offset.to_be_bytes()].concat(),
                )
            }
        };
        Some(op(
            name,
            command(code, &[OWNER, index], &[owner], &parameters),
        ))
    }

    fn undefine(&mut self) -> Option<Op> {
        let (index, ..) = self.any_index(None)?;
        self.indices.remove(&index);
        let owner = self.auth(OWNER);
        Some(op(
            "NV_UndefineSpace",
            command(0x122, &[OWNER, index], &[owner], &[]),
        ))
    }

    /// A failure that the dictionary attack protection counts.
    fn fail_authorization(&mut self) -> Option<Op> {
        let (index, kind, _) = self.any_index(Some(Kind::Ordinary))?;
        debug_assert!(kind == Kind::Ordinary);
        let command = command(0x14E, &[index, index], &[b"wrong"], &[0, 1, 0, 0]);
        Some(Op {
            expected: AUTH_FAIL,
            ..op("NV_Read with a wrong authorization", command)
        })
    }

    fn change_auth(&mut self) -> Option<Op> {
        let hierarchy = [OWNER, ENDORSEMENT, LOCKOUT][self.random(3) as usize];
        let new = self.random(4) as usize;
        let old = self.auth(hierarchy);
        if old == AUTHS[new] {
            return None;
        }
        self.auths.insert(hierarchy, new);
        Some(op(
            "HierarchyChangeAuth",
            command(0x129, &[hierarchy], &[old], &sized(AUTHS[new])),
        ))
    }

    fn persist(&mut self) -> Option<Op> {
        let number = self.random(12) as u8;
        let handle = 0x8100_0000 + u32::from(number);
        if self.persistent.len() >= 5 || !self.persistent.insert(handle) {
            return None;
        }
        let owner = self.auth(OWNER);
        Some(Op {
            before: Some(create_primary(OWNER, owner, number)),
            ..op(
                "EvictControl",
                command(
                    0x120,
                    &[OWNER, 0x8000_0000],
                    &[owner],
                    &handle.to_be_bytes(),
                ),
            )
        })
    }

    fn unpersist(&mut self) -> Option<Op> {
        let handle = self.persistent.pop_first()?;
        let owner = self.auth(OWNER);
        Some(op(
            "EvictControl",
            command(0x120, &[OWNER, handle], &[owner], &handle.to_be_bytes()),
        ))
    }

    pub fn dictionary(&mut self) -> Option<Op> {
        // So many tries that there is no lockout, and no failure is forgotten within the test.
        let words = [
            1_000_000 + self.random(9),
            100_000 + self.random(9),
            50_000 + self.random(9),
        ];
        let parameters: Vec<u8> = words
            .iter()
            .flat_map(|word| (*word as u32).to_be_bytes())
            .collect();
        let lockout = self.auth(LOCKOUT);
        Some(op(
            "DictionaryAttackParameters",
            command(0x13A, &[LOCKOUT], &[lockout], &parameters),
        ))
    }

    fn reset_lockout(&mut self) -> Option<Op> {
        let lockout = self.auth(LOCKOUT);
        Some(op(
            "DictionaryAttackLockReset",
            command(0x139, &[LOCKOUT], &[lockout], &[]),
        ))
    }

    fn clear_control(&mut self) -> Option<Op> {
        self.clear_disabled = !self.clear_disabled;
        let disable = u8::from(self.clear_disabled);
        Some(op(
            "ClearControl",
            command(0x127, &[PLATFORM], &[b""], &[disable]),
        ))
    }

    fn primary_policy(&mut self) -> Option<Op> {
        let hierarchy = [OWNER, ENDORSEMENT, LOCKOUT][self.random(3) as usize];
        let auth = self.auth(hierarchy);
        let parameters = [sized(&self.bytes(32)), SHA256.to_be_bytes().to_vec()].concat();
        Some(op(
            "SetPrimaryPolicy",
            command(0x12E, &[hierarchy], &[auth], &parameters),
        ))
    }

    fn allocate(&mut self) -> Option<Op> {
        // SHA-1 and SHA-384, each with all PCRs or none; SHA-256 always with all.
        let mut parameters = 3u32.to_be_bytes().to_vec();
        for bank in [0x0004u16, SHA256, 0x000C] {
            let on = bank == SHA256 || self.random(2) == 0;
            let bits = if on { 0xFF } else { 0 };
            parameters.extend(bank.to_be_bytes());
            parameters.extend([3, bits, bits, bits]);
        }
        Some(op(
            "PCR_Allocate",
            command(0x12B, &[PLATFORM], &[b""], &parameters),
        ))
    }

    fn set_clock(&mut self) -> Option<Op> {
        self.clock += 1 + self.random(1_000_000);
        let owner = self.auth(OWNER);
        Some(op(
            "ClockSet",
            command(0x128, &[OWNER], &[owner], &self.clock.to_be_bytes()),
        ))
    }

    fn audit(&mut self) -> Option<Op> {
        // TPM2_GetRandom on, or off.
        let list = [&1u32.to_be_bytes()[..], &0x17Bu32.to_be_bytes()].concat();
        let none = vec![0; 4];
        let lists = match self.random(2) {
            0 => [list, none],
            _ => [none, list],
        };
        let parameters = [&0x0010u16.to_be_bytes()[..], &lists.concat()].concat();
        let owner = self.auth(OWNER);
        Some(op(
            "SetCommandCodeAuditStatus",
            command(0x140, &[OWNER], &[owner], &parameters),
        ))
    }

    fn shutdown(&mut self) -> Op {
        let kind = self.random(2) as u8;
        op("Shutdown", command(0x145, &[], &[], &[0, kind]))
    }

    fn clear(&mut self) -> Option<Op> {
        if self.clear_disabled {
            return None;
        }
        self.indices.clear();
        self.persistent.clear();
        self.auths.clear();
        Some(op("Clear", command(0x126, &[PLATFORM], &[b""], &[])))
    }

    fn change_seed(&mut self, choice: u64) -> Option<Op> {
        let (name, code) = match choice % 2 {
            0 => ("ChangePPS", 0x125),
            _ => ("ChangeEPS", 0x124),
        };
        if code == 0x124 {
            self.auths.remove(&ENDORSEMENT);
        }
        Some(op(name, command(code, &[PLATFORM], &[b""], &[])))
    }
}

fn op(name: &'static str, command: Vec<u8>) -> Op {
    Op {
        name,
        before: None,
        command,
        expected: 0,
        unstarted: false,
    }
}
