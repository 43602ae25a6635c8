//! The secrets page (56860 §8.17.2.5, with the SVSM's fields of 58019 §5).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The page. The firmware fills all but the SVSM's fields; the SVSM fills those in the copy it gives to its guest.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SecretsPage {
    pub version: U32,
    pub imi_en: U32,
    pub fms: U32,
    pub reserved1: U32,
    pub gosvw: [u8; 16],
    /// VM platform communication keys 0 to 3.
    pub vmpck: [[u8; 32]; 4],
    /// Reserved for the guest OS: message counters, AP jump table.
    pub os_area: [u8; 96],
    pub vmsa_tweak_bitmap: [u8; 64],
    pub svsm_base: U64,
    pub svsm_size: U64,
    pub svsm_caa: U64,
    pub svsm_max_version: U32,
    pub svsm_guest_vmpl: u8,
    pub reserved2: [u8; 3],
    pub tsc_factor: U32,
    pub reserved3: [u8; 4096 - 0x164],
}

crate::assert_layout!(SecretsPage, size 4096, vmpck @ 0x20, os_area @ 0xA0, vmsa_tweak_bitmap @ 0x100,
    svsm_base @ 0x140, svsm_size @ 0x148, svsm_caa @ 0x150, svsm_max_version @ 0x158, svsm_guest_vmpl @ 0x15C,
    tsc_factor @ 0x160);
