//! Guest messages to the SNP firmware (56860 §7, §8.27), as far as the boot work needs them.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Header of a guest message; the payload follows it in the same page.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct GuestMessageHeader {
    pub authtag: [u8; 32],
    pub msg_seqno: U64,
    pub reserved1: U64,
    pub algo: u8,
    pub hdr_version: u8,
    pub hdr_size: U16,
    pub msg_type: u8,
    pub msg_version: u8,
    pub msg_size: U16,
    pub reserved2: U32,
    pub msg_vmpck: u8,
    pub reserved3: [u8; 35],
}

crate::assert_layout!(GuestMessageHeader, size 0x60, msg_seqno @ 0x20, algo @ 0x30, msg_type @ 0x34,
    msg_size @ 0x36, msg_vmpck @ 0x3C);

/// PAGE_INFO, hashed into the launch digest for every launched page (56860 §8.17.2).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct PageInfo {
    pub digest_current: [u8; 48],
    pub contents: [u8; 48],
    pub length: U16,
    pub page_type: u8,
    pub imi_page: u8,
    pub reserved: u8,
    pub vmpl1_permissions: u8,
    pub vmpl2_permissions: u8,
    pub vmpl3_permissions: u8,
    pub gpa: U64,
}

crate::assert_layout!(PageInfo, size 0x70, contents @ 0x30, length @ 0x60, page_type @ 0x62, reserved @ 0x64,
    vmpl1_permissions @ 0x65, gpa @ 0x68);

/// Page types of SNP_LAUNCH_UPDATE (56860 table 67).
pub mod page_type {
    /// Contents measured.
    pub const NORMAL: u8 = 1;
    /// A VMSA; contents measured.
    pub const VMSA: u8 = 2;
    /// Zeroed by the firmware.
    pub const ZERO: u8 = 3;
    /// Contents not measured.
    pub const UNMEASURED: u8 = 4;
    /// The secrets page.
    pub const SECRETS: u8 = 5;
    /// The CPUID page.
    pub const CPUID: u8 = 6;
}
