//! What a guest can ask for, and how a request can be malformed.

use snp_abi::Vmpl;

/// A request that passed the general checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// SW_EXITCODE, for traces.
    pub exit_code: u64,
    /// SW_EXITINFO1, for traces.
    pub info_1: u64,
    /// SW_EXITINFO2, for traces.
    pub info_2: u64,
    /// What it asks for.
    pub event: Event,
}

/// A place in the GHCB's own shared buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// Offset in the GHCB page, 0x800 or more.
    pub offset: u16,
    /// Bytes from there to the end of the shared buffer.
    pub available: u16,
}

/// A decoded IOIO request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoRequest {
    /// Port.
    pub port: u16,
    /// IN or INS.
    pub input: bool,
    /// Bytes a transfer: 1, 2 or 4.
    pub size: u8,
    /// OUT: the value, cut to `size`. IN: the old RAX as far as valid, of which 1- and 2-byte IN keep the upper part.
    pub rax: u64,
    /// INS and OUTS: where the data is and how many transfers (all of them are to be done).
    pub string: Option<(Scratch, u32)>,
}

/// Operation of AP_CREATION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ApAction {
    CreateOnInit,
    Create,
    Destroy,
}

/// What the guest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Event {
    Cpuid {
        leaf: u32,
        subleaf: u32,
        /// Required for leaf 0xD, else `None` when not given.
        xcr0: Option<u64>,
        xss: Option<u64>,
    },
    Io(IoRequest),
    RdMsr {
        msr: u32,
    },
    WrMsr {
        msr: u32,
        value: u64,
    },
    Rdtsc,
    Rdtscp,
    Rdpmc {
        counter: u32,
    },
    Invd,
    Wbinvd,
    Monitor,
    Mwait,
    Vmmcall {
        rax: u64,
        cpl: u8,
        rbx: u64,
        rcx: u64,
        rdx: u64,
        rsi: u64,
    },
    ReadDr7,
    WriteDr7 {
        value: u64,
    },
    /// `size` is 0 to 8; 0 is a request that does nothing.
    MmioRead {
        gpa: u64,
        size: u8,
        scratch: Scratch,
    },
    MmioWrite {
        gpa: u64,
        size: u8,
        scratch: Scratch,
    },
    NmiComplete,
    ApResetHold,
    /// SEV-ES only; SNP guests get an empty answer to "get".
    ApJumpTable {
        info_1: u64,
        info_2: u64,
    },
    PageStateChange {
        scratch: Scratch,
    },
    GuestRequest {
        request: u64,
        response: u64,
    },
    ExtGuestRequest {
        request: u64,
        response: u64,
        data: u64,
        data_pages: u64,
    },
    ApCreation {
        action: ApAction,
        vmpl: Vmpl,
        apic_id: u32,
        vmsa_gpa: u64,
        /// RAX; zero when destroying.
        features: u64,
    },
    GetApicIds {
        /// RAX: pages at `list`; zero asks for the number.
        pages: u64,
        list: u64,
    },
    RunVmpl {
        vmpl: Vmpl,
    },
    HvDoorbell {
        operation: u64,
        gpa: u64,
    },
    HvIpi {
        info_1: u64,
    },
    HvFeatures,
    Terminate {
        set: u8,
        reason: u8,
        info_2: u64,
    },
    /// The guest's #VC handler could not handle this exit code.
    Unsupported {
        exit_code: u64,
    },
}

/// A request that is answered with SW_EXITINFO1 = 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Malformed {
    #[error("GHCB {gpa:#x} is not the registered one ({registered:x?})")]
    NotRegistered { gpa: u64, registered: Option<u64> },
    #[error("ghcb_usage is {usage:#x}, expected 0")]
    Usage { usage: u32 },
    #[error(
        "scratch area {scratch:#x} (+{length:#x}) is not within the shared buffer of GHCB {gpa:#x}"
    )]
    Scratch { gpa: u64, scratch: u64, length: u64 },
    #[error("exit code {exit_code:#x} needs {field}, which is not marked valid")]
    MissingInput { exit_code: u64, field: &'static str },
    #[error("exit code {exit_code:#x}: {field} is {value:#x}")]
    InvalidInput {
        exit_code: u64,
        field: &'static str,
        value: u64,
    },
    #[error("unknown exit code {exit_code:#x}")]
    InvalidEvent { exit_code: u64 },
}

impl Malformed {
    /// SW_EXITINFO2.
    pub const fn code(self) -> u64 {
        use snp_abi::ghcb::malformed;
        match self {
            Malformed::NotRegistered { .. } => malformed::NOT_REGISTERED,
            Malformed::Usage { .. } => malformed::USAGE,
            Malformed::Scratch { .. } => malformed::SCRATCH,
            Malformed::MissingInput { .. } => malformed::MISSING_INPUT,
            Malformed::InvalidInput { .. } => malformed::INVALID_INPUT,
            Malformed::InvalidEvent { .. } => malformed::INVALID_EVENT,
        }
    }
}
