//! A minimal instruction decoder: QEMU gives neither the next RIP nor decode assists, so an exit that is skipped or
//! must be told from another needs the instruction's bytes (APM vol. 3 chapter 1, appendix A).
//!
//! Only instructions that can cause an exit this machine takes are known; anything else is an error, never a guess.

mod kind;

pub use kind::{Io, Kind};

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
        const L: u16 = 1 << 9;
        const D: u16 = 1 << 10;
        let attributes = vmsa.cs.attributes.get();
        if vmsa.efer.get() & snp_abi::msr::EFER_LMA != 0 && attributes & L != 0 {
            Mode::Bits64
        } else if attributes & D != 0 {
            Mode::Bits32
        } else {
            Mode::Bits16
        }
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
    let mut decoder = Decoder {
        bytes,
        at: 0,
        mode,
        prefixes: Prefixes::default(),
    };
    let kind = decoder.instruction()?;
    Ok(Instruction {
        kind,
        length: decoder.at as u8,
    })
}

/// Longest instruction (APM vol. 3 §1.1).
const MAX_LENGTH: usize = 15;

/// The prefixes before an opcode. Segment overrides matter to none of the known instructions.
#[derive(Clone, Copy, Default)]
struct Prefixes {
    operand_size: bool,
    address_size: bool,
    lock: bool,
    /// The last of F2 and F3.
    repeat: Option<u8>,
    /// REX's low four bits; only a REX right before the opcode counts.
    rex: u8,
}

const REX_R: u8 = 1 << 2;
const REX_B: u8 = 1 << 0;

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    mode: Mode,
    prefixes: Prefixes,
}

impl Decoder<'_> {
    fn instruction(&mut self) -> Result<Kind, DecodeError> {
        let opcode = self.opcode()?;
        if opcode == 0x0F {
            let opcode = self.next()?;
            return self.two_byte(opcode);
        }
        self.one_byte(opcode)
    }

    /// Takes the prefixes and the byte after them.
    fn opcode(&mut self) -> Result<u8, DecodeError> {
        loop {
            let byte = self.next()?;
            let mut rex = 0;
            match byte {
                0x66 => self.prefixes.operand_size = true,
                0x67 => self.prefixes.address_size = true,
                0xF0 => self.prefixes.lock = true,
                0xF2 | 0xF3 => self.prefixes.repeat = Some(byte),
                0x26 | 0x2E | 0x36 | 0x3E | 0x64 | 0x65 => {}
                0x40..=0x4F if self.mode == Mode::Bits64 => rex = byte & 0xF,
                _ => return Ok(byte),
            }
            self.prefixes.rex = rex;
        }
    }

    fn next(&mut self) -> Result<u8, DecodeError> {
        if self.at >= MAX_LENGTH {
            return Err(DecodeError::TooLong);
        }
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::Truncated {
            available: self.bytes.len(),
        })?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        for _ in 0..count {
            self.next()?;
        }
        Ok(())
    }

    fn one_byte(&mut self, opcode: u8) -> Result<Kind, DecodeError> {
        let unknown = DecodeError::Unknown { map: 0, opcode };
        if self.prefixes.lock {
            return Err(unknown);
        }
        Ok(match opcode {
            0x6C..=0x6F | 0xE4..=0xE7 | 0xEC..=0xEF => Kind::Io(self.io(opcode)?),
            0x90 if self.prefixes.repeat == Some(0xF3) && self.prefixes.rex & REX_B == 0 => {
                Kind::Pause
            }
            0x9C => Kind::Pushf,
            0x9D => Kind::Popf,
            0xCC => Kind::Int3,
            0xCD => Kind::Int {
                vector: self.next()?,
            },
            0xCE if self.mode != Mode::Bits64 => Kind::Into,
            0xCF => Kind::Iret,
            0xF1 => Kind::Icebp,
            0xF4 => Kind::Hlt,
            _ => return Err(unknown),
        })
    }

    fn io(&mut self, opcode: u8) -> Result<Io, DecodeError> {
        let string = opcode < 0x70;
        // Bit 1 of the string and of the plain opcodes: out. Bit 0: more than a byte. Bit 3 of the plain ones: port in DX.
        let port = if !string && opcode & 8 == 0 {
            Some(self.next()?)
        } else {
            None
        };
        let wide = if (self.mode == Mode::Bits16) != self.prefixes.operand_size {
            2
        } else {
            4
        };
        Ok(Io {
            input: opcode & 2 == 0,
            string,
            rep: string && self.prefixes.repeat.is_some(),
            size: if opcode & 1 == 0 { 1 } else { wide },
            address_size: self.address_size(),
            port,
        })
    }

    fn address_size(&self) -> u8 {
        match (self.mode, self.prefixes.address_size) {
            (Mode::Bits64, false) => 8,
            (Mode::Bits64, true) | (Mode::Bits32, false) | (Mode::Bits16, true) => 4,
            (Mode::Bits32, true) | (Mode::Bits16, false) => 2,
        }
    }

    fn two_byte(&mut self, opcode: u8) -> Result<Kind, DecodeError> {
        let unknown = DecodeError::Unknown { map: 1, opcode };
        // LOCK MOV CR0 means CR8 (APM vol. 3, MOV CRn); everything else here is #UD with LOCK.
        if self.prefixes.lock && !matches!(opcode, 0x20 | 0x22) {
            return Err(unknown);
        }
        Ok(match opcode {
            0x01 => return self.group_7(),
            0x06 => Kind::Clts,
            0x08 => Kind::Invd,
            0x09 if self.prefixes.repeat == Some(0xF3) => Kind::Wbnoinvd,
            0x09 => Kind::Wbinvd,
            0x20..=0x23 => return self.move_control(opcode),
            0x30 => Kind::Wrmsr,
            0x31 => Kind::Rdtsc,
            0x32 => Kind::Rdmsr,
            0x33 => Kind::Rdpmc,
            0xA2 => Kind::Cpuid,
            _ => return Err(unknown),
        })
    }

    /// MOV to and from CRn and DRn; ModRM.mod is ignored, both operands are registers.
    fn move_control(&mut self, opcode: u8) -> Result<Kind, DecodeError> {
        let modrm = self.next()?;
        let rex = self.prefixes.rex;
        let register = (modrm >> 3 & 7) | if rex & REX_R != 0 { 8 } else { 0 };
        let gpr = self.rm_register(modrm);
        let cr = match register {
            0 if self.prefixes.lock => 8,
            _ if self.prefixes.lock => return Err(DecodeError::Unknown { map: 1, opcode }),
            other => other,
        };
        Ok(match opcode {
            0x20 => Kind::MovFromCr { cr, gpr },
            0x22 => Kind::MovToCr { cr, gpr },
            0x21 => Kind::MovFromDr { dr: register, gpr },
            _ => Kind::MovToDr { dr: register, gpr },
        })
    }

    fn rm_register(&self, modrm: u8) -> u8 {
        (modrm & 7) | if self.prefixes.rex & REX_B != 0 { 8 } else { 0 }
    }

    /// 0F 01: with a memory operand by ModRM.reg, with mod 3 nearly every byte is an instruction of its own.
    fn group_7(&mut self) -> Result<Kind, DecodeError> {
        let modrm = self.next()?;
        let unknown = DecodeError::Unknown {
            map: 2,
            opcode: modrm,
        };
        let in_register = modrm >> 6 == 3;
        match modrm >> 3 & 7 {
            4 if in_register => {
                let gpr = Some(self.rm_register(modrm));
                return Ok(Kind::Smsw { gpr });
            }
            6 if in_register => {
                let gpr = Some(self.rm_register(modrm));
                return Ok(Kind::Lmsw { gpr });
            }
            _ if in_register => {}
            extension => {
                self.skip_memory_operand(modrm)?;
                return match extension {
                    4 => Ok(Kind::Smsw { gpr: None }),
                    6 => Ok(Kind::Lmsw { gpr: None }),
                    7 => Ok(Kind::Invlpg),
                    _ => Err(unknown),
                };
            }
        }
        Ok(match (modrm, self.prefixes.repeat) {
            (0xC8, None) => Kind::Monitor,
            (0xC9, None) => Kind::Mwait,
            (0xD0, None) => Kind::Xgetbv,
            (0xD1, None) => Kind::Xsetbv,
            (0xD8, _) => Kind::Vmrun,
            (0xD9, None) => Kind::Vmmcall,
            (0xD9, Some(_)) => Kind::Vmgexit,
            (0xDA, _) => Kind::Vmload,
            (0xDB, _) => Kind::Vmsave,
            (0xDC, _) => Kind::Stgi,
            (0xDD, _) => Kind::Clgi,
            (0xDE, _) => Kind::Skinit,
            (0xDF, _) => Kind::Invlpga,
            (0xF9, _) => Kind::Rdtscp,
            (0xFA, None) => Kind::Monitorx,
            (0xFB, None) => Kind::Mwaitx,
            (0xFD, None) => Kind::Rdpru,
            (0xFD, Some(0xF3)) => Kind::RmpQuery,
            (0xFD, Some(_)) => Kind::RmpRead,
            (0xFE, None) => Kind::Invlpgb,
            (0xFE, Some(0xF3)) => Kind::RmpAdjust,
            (0xFE, Some(_)) => Kind::RmpUpdate,
            (0xFF, None) => Kind::Tlbsync,
            (0xFF, Some(0xF3)) => Kind::Psmash,
            (0xFF, Some(_)) => Kind::Pvalidate,
            _ => return Err(unknown),
        })
    }

    /// Takes SIB and displacement of a memory operand (APM vol. 3 §1.4).
    fn skip_memory_operand(&mut self, modrm: u8) -> Result<(), DecodeError> {
        let (mode, rm) = (modrm >> 6, modrm & 7);
        if self.address_size() == 2 {
            return self.skip(match (mode, rm) {
                (0, 6) | (2, _) => 2,
                (0, _) => 0,
                _ => 1,
            });
        }
        let base = if rm == 4 { self.next()? & 7 } else { rm };
        self.skip(match (mode, base) {
            (0, 5) | (2, _) => 4,
            (0, _) => 0,
            _ => 1,
        })
    }
}

#[cfg(test)]
mod tests;
