//! A minimal instruction decoder: QEMU gives neither the next RIP nor decode assists, so an exit that is skipped or
//! must be told from another needs the instruction's bytes (APM vol. 3 chapter 1, appendix A).
//!
//! Only instructions that can cause an exit this machine takes are known; anything else is an error, never a guess.

/// Default operand and address size: from CS.L and CS.D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mode {
    Bits16,
    Bits32,
    Bits64,
}

impl Mode {
    /// The mode of a vCPU.
    pub fn of(vmsa: &snp_abi::vmsa::Vmsa) -> Mode {
        let _ = vmsa;
        todo!()
    }
}

/// An instruction and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Instruction {
    pub kind: Kind,
    /// 1 to 15 bytes, prefixes included.
    pub length: u8,
}

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

/// Why bytes are not an instruction known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DecodeError {
    #[error("the instruction needs more than the {available} bytes at hand")]
    Truncated { available: usize },
    #[error("the instruction is longer than 15 bytes")]
    TooLong,
    #[error("opcode {opcode:#x} (map {map}) is not one that this machine decodes")]
    Unknown { map: u8, opcode: u8 },
}

/// Decodes the instruction at the start of `bytes`.
pub fn decode(bytes: &[u8], mode: Mode) -> Result<Instruction, DecodeError> {
    let _ = (bytes, mode);
    todo!()
}
