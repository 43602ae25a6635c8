//! Response codes: TPM Part 2 §6.6.
//!
//! A format-one code says which handle, session or parameter it is about; [`Rc::handle`], [`Rc::session`] and
//! [`Rc::param`] add that to a code that does not say it yet.

/// A response code other than success, or success.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rc(u32);

/// What nearly every function of the engine returns.
pub type Result<T, E = Rc> = core::result::Result<T, E>;

const FMT1: u32 = 0x080;
const PARAMETER: u32 = 0x040;
const SESSION: u32 = 0x800;
const NUMBER: u32 = 0xF00;

macro_rules! codes {
    ($base:expr; $($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        $($(#[$doc])* pub const $name: Rc = Rc($base + $value);)*
    };
}

#[allow(missing_docs, reason = "the names are the specification's")]
impl Rc {
    pub const SUCCESS: Rc = Rc(0);
    /// The only code of TPM 1.2 that a TPM 2.0 answers with: the tag is unknown.
    pub const BAD_TAG: Rc = Rc(0x1E);

    codes! { 0x100;
        INITIALIZE = 0x00; FAILURE = 0x01; SEQUENCE = 0x03; PRIVATE = 0x0B; HMAC = 0x19; DISABLED = 0x20;
        EXCLUSIVE = 0x21; AUTH_TYPE = 0x24; AUTH_MISSING = 0x25; POLICY = 0x26; PCR = 0x27; PCR_CHANGED = 0x28;
        UPGRADE = 0x2D; TOO_MANY_CONTEXTS = 0x2E; AUTH_UNAVAILABLE = 0x2F; REBOOT = 0x30; UNBALANCED = 0x31;
        COMMAND_SIZE = 0x42; COMMAND_CODE = 0x43; AUTHSIZE = 0x44; AUTH_CONTEXT = 0x45; NV_RANGE = 0x46;
        NV_SIZE = 0x47; NV_LOCKED = 0x48; NV_AUTHORIZATION = 0x49; NV_UNINITIALIZED = 0x4A; NV_SPACE = 0x4B;
        NV_DEFINED = 0x4C; BAD_CONTEXT = 0x50; CPHASH = 0x51; PARENT = 0x52; NEEDS_TEST = 0x53; NO_RESULT = 0x54;
        SENSITIVE = 0x55; READ_ONLY = 0x56;
    }
    codes! { FMT1;
        ASYMMETRIC = 0x01; ATTRIBUTES = 0x02; HASH = 0x03; VALUE = 0x04; HIERARCHY = 0x05; KEY_SIZE = 0x07;
        MGF = 0x08; MODE = 0x09; TYPE = 0x0A; HANDLE = 0x0B; KDF = 0x0C; RANGE = 0x0D; AUTH_FAIL = 0x0E;
        NONCE = 0x0F; PP = 0x10; SCHEME = 0x12; SIZE = 0x15; SYMMETRIC = 0x16; TAG = 0x17; SELECTOR = 0x18;
        INSUFFICIENT = 0x1A; SIGNATURE = 0x1B; KEY = 0x1C; POLICY_FAIL = 0x1D; INTEGRITY = 0x1F; TICKET = 0x20;
        RESERVED_BITS = 0x21; BAD_AUTH = 0x22; EXPIRED = 0x23; POLICY_CC = 0x24; BINDING = 0x25; CURVE = 0x26;
        ECC_POINT = 0x27; FW_LIMITED = 0x28; SVN_LIMITED = 0x29; PARMS = 0x2A; CHANNEL = 0x30; CHANNEL_KEY = 0x31;
    }
    codes! { 0x900;
        CONTEXT_GAP = 0x01; OBJECT_MEMORY = 0x02; SESSION_MEMORY = 0x03; MEMORY = 0x04; SESSION_HANDLES = 0x05;
        OBJECT_HANDLES = 0x06; LOCALITY = 0x07; YIELDED = 0x08; CANCELED = 0x09; TESTING = 0x0A;
        REFERENCE_H0 = 0x10; REFERENCE_H1 = 0x11; REFERENCE_H2 = 0x12; REFERENCE_H3 = 0x13;
        REFERENCE_S0 = 0x18; REFERENCE_S1 = 0x19; REFERENCE_S2 = 0x1A; NV_RATE = 0x20; LOCKOUT = 0x21;
        RETRY = 0x22; NV_UNAVAILABLE = 0x23;
    }

    /// The code as it stands in a response.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// A code of the warnings that number something: `self` is the first of them.
    pub const fn nth(self, n: usize) -> Rc {
        // At most 7 handles and sessions exist.
        Rc(self.0.wrapping_add((n & 7) as u32))
    }

    /// About parameter `number`, from 1.
    pub const fn param(self, number: usize) -> Rc {
        self.about(PARAMETER | number_bits(number, 15))
    }

    /// About handle `number`, from 1.
    pub const fn handle(self, number: usize) -> Rc {
        self.about(number_bits(number, 7))
    }

    /// About session `number`, from 1.
    pub const fn session(self, number: usize) -> Rc {
        self.about(SESSION | number_bits(number, 7))
    }

    /// Whether the code has room for, and does not yet say, what it is about.
    pub const fn is_bare(self) -> bool {
        self.0 & FMT1 != 0 && self.0 & (PARAMETER | NUMBER) == 0
    }

    const fn about(self, bits: u32) -> Rc {
        if self.is_bare() {
            Rc(self.0 | bits)
        } else {
            self
        }
    }
}

const fn number_bits(number: usize, most: usize) -> u32 {
    ((number & most) as u32).wrapping_shl(8)
}

impl core::fmt::Debug for Rc {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Rc({:#05x})", self.0)
    }
}

/// Bytes that do not fit where the specification sets the bound: TPM_RC_SIZE.
impl From<crate::buf::TooLong> for Rc {
    fn from(_: crate::buf::TooLong) -> Rc {
        Rc::SIZE
    }
}
