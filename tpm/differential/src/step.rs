//! One command, written so that either TPM can be given it.

/// Where a TPM keeps a value that is its own: a blob, a handle, a ticket.
pub type Slot = u32;

/// Bytes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// An integer of 1, 2, 4 or 8 bytes: mutations know it as one.
    Int(Vec<u8>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// What was saved; nothing where nothing was.
    Slot(Slot),
    /// A TPM2B, and how far its size is off.
    Sized(Vec<Piece>, i32),
    /// A digest.
    Hash(u16, Vec<Piece>),
    /// A piece with one bit (modulo its length) flipped.
    Flip(Box<Piece>, u32),
    /// A piece with bytes cut off its end.
    Cut(Box<Piece>, usize),
    /// The point of [`crate::crypto::ecc_salt`] for the TPM2B_PUBLIC in a slot.
    Salt {
        /// The public area.
        public: Slot,
        /// Its name algorithm.
        name_alg: u16,
        /// The ephemeral private key.
        scalar: [u8; 32],
    },
}

/// One byte.
pub fn u8(value: u8) -> Piece {
    Piece::Int(vec![value])
}

/// Two bytes.
pub fn u16(value: u16) -> Piece {
    Piece::Int(value.to_be_bytes().to_vec())
}

/// Four bytes.
pub fn u32(value: u32) -> Piece {
    Piece::Int(value.to_be_bytes().to_vec())
}

/// Eight bytes.
pub fn u64(value: u64) -> Piece {
    Piece::Int(value.to_be_bytes().to_vec())
}

/// Bytes as they are.
pub fn raw(bytes: &[u8]) -> Piece {
    Piece::Bytes(bytes.to_vec())
}

/// A TPM2B of bytes.
pub fn b2(bytes: &[u8]) -> Piece {
    Piece::Sized(vec![raw(bytes)], 0)
}

/// A TPM2B of pieces.
pub fn sized(pieces: Vec<Piece>) -> Piece {
    Piece::Sized(pieces, 0)
}

/// A handle, and where the entity's name comes from.
#[derive(Clone, Debug)]
pub struct Handle {
    /// The handle.
    pub value: HandleValue,
    /// Its name.
    pub name: Name,
}

/// A handle.
#[derive(Clone, Debug)]
pub enum HandleValue {
    /// The same on both TPMs.
    Const(u32),
    /// A TPM's own.
    Slot(Slot),
}

/// Where a name comes from.
#[derive(Clone, Debug)]
pub enum Name {
    /// The handle is the name.
    Handle,
    /// It was saved.
    Slot(Slot),
    /// NV_ReadPublic tells it.
    Nv,
}

impl From<u32> for Handle {
    fn from(value: u32) -> Handle {
        Handle {
            value: HandleValue::Const(value),
            name: if value >> 24 == 1 {
                Name::Nv
            } else {
                Name::Handle
            },
        }
    }
}

/// An entry of the authorization area.
#[derive(Clone, Debug)]
pub struct Auth {
    /// TPM_RS_PW, or a session.
    pub session: Option<Handle>,
    /// The slot of the session.
    pub slot: Slot,
    /// TPMA_SESSION.
    pub attributes: u8,
    /// The authorization value of the entity, or the empty string where the session is not for one.
    pub value: Vec<u8>,
    /// Whether the value is part of the HMAC's key.
    pub in_key: bool,
    /// Whether the field holds the value in plain (a password, or PolicyPassword).
    pub plain: bool,
    /// No HMAC (a policy session that needs none).
    pub no_hmac: bool,
    /// nonceCaller.
    pub nonce: Vec<u8>,
    /// Spoils the HMAC or password.
    pub wrong: bool,
}

impl Auth {
    /// A password.
    pub fn password(value: &[u8]) -> Auth {
        Auth {
            session: None,
            slot: 0,
            attributes: 0,
            value: value.to_vec(),
            in_key: false,
            plain: true,
            no_hmac: false,
            nonce: Vec::new(),
            wrong: false,
        }
    }
}

/// What StartAuthSession began.
#[derive(Clone, Debug)]
pub struct Start {
    /// Where the session is kept.
    pub slot: Slot,
    /// Its hash algorithm.
    pub hash: u16,
    /// Its parameter encryption.
    pub cipher: crate::crypto::Cipher,
    /// The authorization value of the bind entity.
    pub bind: Option<Vec<u8>>,
    /// Its salt.
    pub salt: Option<Salt>,
    /// nonceCaller.
    pub nonce: Vec<u8>,
}

/// A session's salt.
#[derive(Clone, Debug)]
pub enum Salt {
    /// Known to the caller.
    Plain(Vec<u8>),
    /// Of a [`Piece::Salt`].
    Ecc(Piece),
}

/// What part of a response to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The handle.
    Handle,
    /// A response parameter, by number from 0.
    Field(usize),
    /// A TPM2B without its size.
    Body(usize),
}

/// One command.
#[derive(Clone, Debug)]
pub struct Step {
    /// The command code.
    pub code: u32,
    /// The handles.
    pub handles: Vec<Handle>,
    /// The authorization area; none where there is none.
    pub auths: Vec<Auth>,
    /// The parameters.
    pub params: Vec<Piece>,
    /// The locality.
    pub locality: u8,
    /// What to save of the response.
    pub saves: Vec<(Part, Slot)>,
    /// Whether values that are random by nature must be equal here because the keys are known ones.
    pub exact: bool,
    /// A session began.
    pub start: Option<Start>,
    /// Edits of the finished command.
    pub edits: Vec<Edit>,
    /// What was mutated, for the reader.
    pub label: String,
}

impl Step {
    /// A command without anything.
    pub fn new(code: u32) -> Step {
        Step {
            code,
            handles: Vec::new(),
            auths: Vec::new(),
            params: Vec::new(),
            locality: 0,
            saves: Vec::new(),
            exact: false,
            start: None,
            edits: Vec::new(),
            label: String::new(),
        }
    }
}

/// A change to the bytes of a finished command.
#[derive(Clone, Copy, Debug)]
pub enum Edit {
    /// The tag.
    Tag(u16),
    /// The size in the header is off.
    HeaderSize(i32),
    /// The authorization area's size is off.
    AuthSize(i32),
    /// A byte replaced, its place modulo the length.
    Byte(u32, u8),
    /// Bytes cut off the end; the header says so.
    Truncate(usize),
    /// Bytes appended; the header says so.
    Append(usize, u8),
}

/// What the two TPMs are given.
#[derive(Clone, Debug)]
pub enum Action {
    /// A command.
    Command(Box<Step>),
    /// Power off and on.
    PowerCycle,
    /// Flushes all objects and sessions that GetCapability shows.
    FlushAll,
    /// _TPM_Hash_Start, _TPM_Hash_Data for each, _TPM_Hash_End.
    HashSequence(Vec<Vec<u8>>),
}
