//! TPMA structures (Part 2 §8, §13.4). A reserved bit that is set is RESERVED_BITS.
#![allow(missing_docs, reason = "the names of the bits are the specification's")]

use bitflags::bitflags;

use crate::codec::{Marshal, Reader, Unmarshal, Writer};
use crate::rc::{Rc, Result};

bitflags! {
    /// TPMA_OBJECT.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[allow(missing_docs, reason = "the names are the specification's")]
    pub struct ObjectAttributes: u32 {
        const FIXED_TPM = 1 << 1;
        const ST_CLEAR = 1 << 2;
        const FIXED_PARENT = 1 << 4;
        const SENSITIVE_DATA_ORIGIN = 1 << 5;
        const USER_WITH_AUTH = 1 << 6;
        const ADMIN_WITH_POLICY = 1 << 7;
        const NO_DA = 1 << 10;
        const ENCRYPTED_DUPLICATION = 1 << 11;
        const RESTRICTED = 1 << 16;
        const DECRYPT = 1 << 17;
        const SIGN = 1 << 18;
        const X509_SIGN = 1 << 19;
    }

    /// TPMA_NV; the type of the index is in [`NvAttributes::kind`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[allow(missing_docs, reason = "the names are the specification's")]
    pub struct NvAttributes: u32 {
        const PPWRITE = 1 << 0;
        const OWNERWRITE = 1 << 1;
        const AUTHWRITE = 1 << 2;
        const POLICYWRITE = 1 << 3;
        const NT = 0xF << 4;
        const POLICY_DELETE = 1 << 10;
        const WRITELOCKED = 1 << 11;
        const WRITEALL = 1 << 12;
        const WRITEDEFINE = 1 << 13;
        const WRITE_STCLEAR = 1 << 14;
        const GLOBALLOCK = 1 << 15;
        const PPREAD = 1 << 16;
        const OWNERREAD = 1 << 17;
        const AUTHREAD = 1 << 18;
        const POLICYREAD = 1 << 19;
        const NO_DA = 1 << 25;
        const ORDERLY = 1 << 26;
        const CLEAR_STCLEAR = 1 << 27;
        const READLOCKED = 1 << 28;
        const WRITTEN = 1 << 29;
        const PLATFORMCREATE = 1 << 30;
        const READ_STCLEAR = 1 << 31;
    }

    /// TPMA_SESSION.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[allow(missing_docs, reason = "the names are the specification's")]
    pub struct SessionAttributes: u8 {
        const CONTINUE_SESSION = 1 << 0;
        const AUDIT_EXCLUSIVE = 1 << 1;
        const AUDIT_RESET = 1 << 2;
        const DECRYPT = 1 << 5;
        const ENCRYPT = 1 << 6;
        const AUDIT = 1 << 7;
    }
}

impl NvAttributes {
    /// TPM_NT: 0 ordinary, 1 counter, 2 bits, 4 extend, 8 pin fail, 9 pin pass.
    pub const fn kind(self) -> u32 {
        (self.bits() >> 4) & 0xF
    }
}

macro_rules! codec {
    ($($name:ident $int:ident)*) => {$(
        impl Unmarshal for $name {
            fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
                $name::from_bits(r.$int()?).ok_or(Rc::RESERVED_BITS)
            }
        }
        impl Marshal for $name {
            fn marshal(&self, w: &mut Writer<'_>) {
                w.$int(self.bits());
            }
        }
    )*};
}
codec!(ObjectAttributes u32 NvAttributes u32 SessionAttributes u8);
