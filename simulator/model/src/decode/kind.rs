//! The instructions that the decoder knows.

/// What the instruction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Pvalidate,
    RmpAdjust,
    RmpQuery,
    RmpUpdate,
    RmpRead,
    Psmash,
    /// F3 or F2 before VMMCALL.
    Vmgexit,
    Vmmcall,
    Rdtsc,
    Rdtscp,
    Rdpmc,
    Rdpru,
    Cpuid,
    Hlt,
    Pause,
    /// CRn := GPR (0 RAX .. 15 R15).
    MovToCr {
        cr: u8,
        gpr: u8,
    },
    MovFromCr {
        cr: u8,
        gpr: u8,
    },
    MovToDr {
        dr: u8,
        gpr: u8,
    },
    MovFromDr {
        dr: u8,
        gpr: u8,
    },
    Clts,
    /// From a register (`Some`, 16 bits count) or memory.
    Lmsw {
        gpr: Option<u8>,
    },
    Smsw {
        gpr: Option<u8>,
    },
    Rdmsr,
    Wrmsr,
    Io(Io),
    Xsetbv,
    Xgetbv,
    Invd,
    Wbinvd,
    Wbnoinvd,
    Monitor,
    Monitorx,
    Mwait,
    Mwaitx,
    Invlpg,
    Invlpga,
    Invlpgb,
    Tlbsync,
    Vmrun,
    Vmload,
    Vmsave,
    Stgi,
    Clgi,
    Skinit,
    Int3,
    Int {
        vector: u8,
    },
    Into,
    Icebp,
    Iret,
    Pushf,
    Popf,
}

/// A port instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// IN or INS.
    pub input: bool,
    /// INS or OUTS.
    pub string: bool,
    /// REP or REPNE.
    pub rep: bool,
    /// 1, 2 or 4 bytes.
    pub size: u8,
    /// 2, 4 or 8 bytes: which of CX, ECX, RCX counts.
    pub address_size: u8,
    /// The port in the instruction; `None` means DX.
    pub port: Option<u8>,
}
