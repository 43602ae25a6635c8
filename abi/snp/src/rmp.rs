//! The reverse map table's vocabulary: VMPLs, page sizes, permissions, and the operands and result codes of
//! PVALIDATE, RMPADJUST and RMPQUERY (APM vol. 3; vol. 2 §15.36).

use bitflags::bitflags;

/// A virtual machine privilege level, 0 (most privileged) to 3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Vmpl {
    Vmpl0 = 0,
    Vmpl1 = 1,
    Vmpl2 = 2,
    Vmpl3 = 3,
}

impl Vmpl {
    /// How many VMPLs there are.
    pub const COUNT: usize = 4;
    /// All of them, most privileged first.
    pub const ALL: [Vmpl; Vmpl::COUNT] = [Vmpl::Vmpl0, Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3];

    /// The level with this number, if there is one.
    pub const fn new(n: u8) -> Option<Vmpl> {
        match n {
            0 => Some(Vmpl::Vmpl0),
            1 => Some(Vmpl::Vmpl1),
            2 => Some(Vmpl::Vmpl2),
            3 => Some(Vmpl::Vmpl3),
            _ => None,
        }
    }

    /// Its number, for use as an index.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Page size as the SNP instructions, the RMP and page-state entries encode it: 0 is 4 KiB, 1 is 2 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum PageSize {
    Size4K = 0,
    Size2M = 1,
}

impl PageSize {
    /// The size with this encoding.
    pub const fn from_bits(bits: u64) -> Option<PageSize> {
        match bits {
            0 => Some(PageSize::Size4K),
            1 => Some(PageSize::Size2M),
            _ => None,
        }
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            PageSize::Size4K => crate::PAGE_SIZE,
            PageSize::Size2M => crate::LARGE_PAGE_SIZE,
        }
    }

    /// Small pages.
    pub const fn pages(self) -> u64 {
        self.bytes() / crate::PAGE_SIZE
    }
}

bitflags! {
    /// What a VMPL may do with a page (APM vol. 2 §15.36.7); one byte per VMPL in an RMP entry.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct RmpPermissions: u8 {
        /// Read.
        const READ = 1 << 0;
        /// Write.
        const WRITE = 1 << 1;
        /// Execute at CPL 3.
        const EXECUTE_USER = 1 << 2;
        /// Execute at CPL 0 to 2.
        const EXECUTE_SUPERVISOR = 1 << 3;
        /// Use as a supervisor shadow stack (needs VmplSSS).
        const SHADOW_STACK = 1 << 4;
        /// Read, write and execute: what an operating system needs of its RAM.
        const RWX = Self::READ.bits() | Self::WRITE.bits() | Self::EXECUTE_USER.bits()
            | Self::EXECUTE_SUPERVISOR.bits();
    }
}

/// RDX of RMPADJUST: target VMPL in bits 7:0, permissions in 15:8, VMSA flag in 16.
pub const fn rmpadjust_rdx(target: Vmpl, permissions: RmpPermissions, vmsa: bool) -> u64 {
    target as u64 | (permissions.bits() as u64) << 8 | (vmsa as u64) << 16
}

/// Bit 16 of RMPADJUST's RDX: the page is to be a VMSA. Only VMPL0 can set it.
pub const RMPADJUST_VMSA: u64 = 1 << 16;

/// EAX of the SNP instructions (APM vol. 3).
pub mod result {
    /// Done.
    pub const SUCCESS: u64 = 0;
    /// An operand is malformed.
    pub const FAIL_INPUT: u64 = 1;
    /// The caller lacks the right.
    pub const FAIL_PERMISSION: u64 = 2;
    /// The entry is being used by another processor.
    pub const FAIL_INUSE: u64 = 3;
    /// The page overlaps an entry of another size.
    pub const FAIL_OVERLAP: u64 = 4;
    /// 2 MiB was asked for and the RMP holds 4 KiB entries.
    pub const FAIL_SIZEMISMATCH: u64 = 6;
}
