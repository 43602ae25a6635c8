//! The CPUID page: leaves that the SNP firmware has checked (56860 §8.17.2.6; Linux `struct snp_cpuid_table`).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Entries that fit the page.
pub const MAX_ENTRIES: usize = 64;

/// One leaf, or one subleaf for a given XCR0 and XSS.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[allow(missing_docs)]
pub struct CpuidEntry {
    pub eax_in: U32,
    pub ecx_in: U32,
    pub xcr0_in: U64,
    pub xss_in: U64,
    pub eax: U32,
    pub ebx: U32,
    pub ecx: U32,
    pub edx: U32,
    pub reserved: U64,
}

/// The page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CpuidPage {
    /// How many of `entries` are in use.
    pub count: U32,
    /// Zero.
    pub reserved1: U32,
    /// Zero.
    pub reserved2: U64,
    /// The leaves.
    pub entries: [CpuidEntry; MAX_ENTRIES],
    /// Zero.
    pub reserved3: [u8; 4096 - 16 - MAX_ENTRIES * 48],
}

crate::assert_layout!(CpuidEntry, size 48, eax @ 0x18, reserved @ 0x28);
crate::assert_layout!(CpuidPage, size 4096, entries @ 0x10, reserved3 @ 0xC10);

/// Leaf 0x8000_001F: SEV.
pub mod sev {
    /// The leaf.
    pub const LEAF: u32 = 0x8000_001F;
    /// EAX: SEV.
    pub const EAX_SEV: u32 = 1 << 1;
    /// EAX: SEV-ES.
    pub const EAX_SEV_ES: u32 = 1 << 3;
    /// EAX: SEV-SNP.
    pub const EAX_SNP: u32 = 1 << 4;
    /// EAX: VMPLs.
    pub const EAX_VMPL: u32 = 1 << 5;
    /// EAX: RMPQUERY.
    pub const EAX_RMPQUERY: u32 = 1 << 6;
    /// EAX: cache coherency across encryption domains.
    pub const EAX_COHERENT: u32 = 1 << 10;
    /// EAX: restricted injection.
    pub const EAX_RESTRICTED_INJECTION: u32 = 1 << 12;
    /// EAX: the SVSM calling area MSR; set by an SVSM for its guest.
    pub const EAX_SVSM_CAA_MSR: u32 = 1 << 28;
    /// EBX 5:0: position of the C-bit.
    pub const EBX_C_BIT_MASK: u32 = 0x3F;
    /// EBX 31: software need not evict cache lines when it validates pages.
    pub const EBX_COHERENCY_SFW_NO: u32 = 1 << 31;
}
