//! What page map, RMP and vCPUs tell of a page when no call is under way: the same.

use crate::page_map::{PageMap, PageState};
use crate::vcpu::Vcpu;
use core::mem::offset_of;
use snp_abi::SevFeatures;
use snp_abi::msr::EFER_SVME;
use snp_abi::vmsa::Vmsa;

/// Bit of a test's RMP: validated.
pub const VALIDATED: u32 = 1;
/// Bit of a test's RMP: a VMSA.
pub const VMSA: u32 = 2;

/// Fails if they do not tell the same of the page at `gpa`, whose RMP entry has these bits.
pub fn agree(pages: &PageMap<'_>, vcpus: &[Vcpu], gpa: u64, rmp: u32) {
    let users = |page: fn(&Vcpu) -> Option<u64>| {
        let users = vcpus.iter().filter(|vcpu| page(vcpu) == Some(gpa));
        users.count()
    };
    let told = (rmp, users(Vcpu::calling_area), users(Vcpu::vmsa));
    let expected = match pages.state(gpa) {
        PageState::Unvalidated => (0, 0, 0),
        PageState::Validated => (VALIDATED, 0, 0),
        PageState::CallingArea => (VALIDATED, 1, 0),
        // One that was replaced stays a VMSA until it is deleted.
        PageState::Vmsa => (VALIDATED | VMSA, 0, told.2.min(1)),
        other => panic!("page {gpa:#x} is left {other:?}"),
    };
    assert_eq!(told, expected, "page {gpa:#x}");
}

/// The quadword at `offset` of a VMSA that CREATE_VCPU accepts.
pub fn vmsa_word(offset: usize) -> u64 {
    const VMPL: usize = offset_of!(Vmsa, reserved_c8);
    const EFER: usize = offset_of!(Vmsa, efer);
    match offset {
        VMPL => 2 << 16,
        EFER => EFER_SVME,
        _ => SevFeatures::SNP_ACTIVE.bits(),
    }
}
