//! TPM commands and responses as bytes (TPM Library, Parts 2 and 3): as many as the vTPM's cases need. The expectations are
//! the specification's; nothing here is shared with the engine.

use crate::sha256;

/// TPM_ST_NO_SESSIONS.
pub const NO_SESSIONS: u16 = 0x8001;
/// TPM_ST_SESSIONS.
pub const SESSIONS: u16 = 0x8002;

/// Command codes.
pub mod cc {
    pub const CREATE_PRIMARY: u32 = 0x131;
    pub const PCR_RESET: u32 = 0x13D;
    pub const STARTUP: u32 = 0x144;
    pub const FLUSH_CONTEXT: u32 = 0x165;
    pub const GET_RANDOM: u32 = 0x17B;
    pub const HASH: u32 = 0x17D;
    pub const PCR_READ: u32 = 0x17E;
    pub const PCR_EXTEND: u32 = 0x182;
}

/// Response codes.
pub mod rc {
    pub const SUCCESS: u32 = 0;
    pub const BAD_TAG: u32 = 0x1E;
    pub const INITIALIZE: u32 = 0x100;
    pub const AUTH_MISSING: u32 = 0x125;
    pub const COMMAND_SIZE: u32 = 0x142;
    pub const COMMAND_CODE: u32 = 0x143;
    /// TPM_RC_HANDLE of parameter 1.
    pub const HANDLE_1: u32 = 0x08B + 0x040 + 0x100;
    /// TPM_RC_INSUFFICIENT of parameter 1.
    pub const INSUFFICIENT_1: u32 = 0x09A + 0x040 + 0x100;
    /// TPM_RC_SIZE of no parameter: bytes are left over, or too few for an authorization area.
    pub const SIZE: u32 = 0x095;
}

/// The hierarchy that no one needs a secret for and that is forgotten at reset.
pub const RH_NULL: u32 = 0x4000_0007;
/// The first transient object's handle.
pub const FIRST_TRANSIENT: u32 = 0x8000_0000;
/// A PCR that may be reset at locality 0.
pub const DEBUG_PCR: u32 = 16;

const ALG_RSA: u16 = 1;
const ALG_AES: u16 = 6;
const ALG_SHA256: u16 = 0xB;
const ALG_NULL: u16 = 0x10;
const ALG_CFB: u16 = 0x43;
const RS_PW: u32 = 0x4000_0009;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt.
const STORAGE_KEY: u32 = 0x0003_0472;

/// Most bytes of a command or response here: an RSA-3072 key with all that tells of its creation. Stacks are small.
pub const MAX: usize = 768;

/// Bytes that grow: a command in the making, or a response.
#[derive(Clone, Copy)]
pub struct Bytes {
    bytes: [u8; MAX],
    length: usize,
}

impl Bytes {
    /// None yet.
    pub const fn new() -> Bytes {
        Bytes {
            bytes: [0; MAX],
            length: 0,
        }
    }

    /// Those that are there.
    pub fn get(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Makes it `length` bytes, as far as there is room, to be filled.
    pub fn room(&mut self, length: usize) -> &mut [u8] {
        self.length = length.min(MAX);
        &mut self.bytes[..self.length]
    }

    /// Appends bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Bytes {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
        self
    }

    fn u8(&mut self, value: u8) -> &mut Bytes {
        self.raw(&[value])
    }

    fn u16(&mut self, value: u16) -> &mut Bytes {
        self.raw(&value.to_be_bytes())
    }

    /// Appends four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Bytes {
        self.raw(&value.to_be_bytes())
    }

    /// Appends a TPM2B.
    fn sized(&mut self, bytes: &[u8]) -> &mut Bytes {
        self.u16(bytes.len() as u16).raw(bytes)
    }

    /// Appends an authorization area with an empty password.
    fn no_password(&mut self) -> &mut Bytes {
        self.u32(9).u32(RS_PW).u16(0).u8(0).u16(0)
    }

    /// Sets the size in a command's header.
    pub fn set_size(&mut self, size: u32) {
        self.bytes[2..6].copy_from_slice(&size.to_be_bytes());
    }

    /// Sets the size in the header to what it must be.
    pub fn complete(&mut self) {
        self.set_size(self.length as u32);
    }

    /// The number at `at`, or all ones.
    pub fn u32_at(&self, at: usize) -> u32 {
        match self.get().get(at..at + 4) {
            Some(&[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
            _ => u32::MAX,
        }
    }

    /// A response's code, or all ones when it is not as long as it says.
    pub fn code(&self) -> u32 {
        if self.u32_at(2) as usize == self.length {
            self.u32_at(6)
        } else {
            u32::MAX
        }
    }

    /// The TPM2B at `at`.
    pub fn sized_at(&self, at: usize) -> Option<&[u8]> {
        let size = self.get().get(at..at + 2)?;
        let size = u16::from_be_bytes([size[0], size[1]]) as usize;
        self.get().get(at + 2..at + 2 + size)
    }
}

/// A command by its tag, its code and what makes the rest.
pub fn command(tag: u16, code: u32, rest: impl FnOnce(&mut Bytes)) -> Bytes {
    let mut command = Bytes::new();
    command.u16(tag).u32(0).u32(code);
    rest(&mut command);
    command.complete();
    command
}

/// TPM2_Startup(CLEAR).
pub fn startup() -> Bytes {
    command(NO_SESSIONS, cc::STARTUP, |c| {
        c.u16(0);
    })
}

/// TPM2_GetRandom.
pub fn get_random(bytes: u16) -> Bytes {
    command(NO_SESSIONS, cc::GET_RANDOM, |c| {
        c.u16(bytes);
    })
}

/// A GetRandom whose header says something else.
pub fn get_random_with(tag: u16, code: u32, size: u32) -> Bytes {
    let mut command = command(tag, code, |c| {
        c.u16(8);
    });
    command.set_size(size);
    command
}

/// TPM2_Hash of `data`, SHA-256, no ticket.
pub fn hash(data: &[u8]) -> Bytes {
    command(NO_SESSIONS, cc::HASH, |c| {
        c.sized(data).u16(ALG_SHA256).u32(RH_NULL);
    })
}

/// TPM2_PCR_Reset.
pub fn pcr_reset(pcr: u32) -> Bytes {
    command(SESSIONS, cc::PCR_RESET, |c| {
        c.u32(pcr).no_password();
    })
}

/// TPM2_PCR_Extend of the SHA-256 bank.
pub fn pcr_extend(pcr: u32, digest: &[u8; 32]) -> Bytes {
    command(SESSIONS, cc::PCR_EXTEND, |c| {
        c.u32(pcr).no_password();
        c.u32(1).u16(ALG_SHA256).raw(digest);
    })
}

/// TPM2_PCR_Read of one PCR of the SHA-256 bank; its value is the response's last 32 bytes.
pub fn pcr_read(pcr: u32) -> Bytes {
    command(NO_SESSIONS, cc::PCR_READ, |c| {
        let select = (1u32 << pcr).to_le_bytes();
        c.u32(1).u16(ALG_SHA256).u8(3).raw(&select[..3]);
    })
}

/// TPM2_CreatePrimary of an RSA storage key in the null hierarchy. `unique` makes it another one.
pub fn create_rsa(bits: u16, unique: u32) -> Bytes {
    command(SESSIONS, cc::CREATE_PRIMARY, |c| {
        c.u32(RH_NULL).no_password();
        // No secret and no data of the caller's.
        c.u16(4).u32(0);
        c.u16(30).u16(ALG_RSA).u16(ALG_SHA256).u32(STORAGE_KEY);
        c.sized(&[]).u16(ALG_AES).u16(128).u16(ALG_CFB);
        c.u16(ALG_NULL)
            .u16(bits)
            .u32(0)
            .sized(&unique.to_be_bytes());
        // No outside information, no PCRs.
        c.sized(&[]).u32(0);
    })
}

/// TPM2_FlushContext.
pub fn flush(handle: u32) -> Bytes {
    command(NO_SESSIONS, cc::FLUSH_CONTEXT, |c| {
        c.u32(handle);
    })
}

/// What a PCR holds after an extension, reckoned by hand (Part 1 §17.2): H(old value || digest).
pub fn extended(old: &[u8; 32], digest: &[u8; 32]) -> [u8; 32] {
    sha256::digest(&[old, digest])
}
