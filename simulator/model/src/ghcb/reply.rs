//! From a result to the GHCB fields that the hypervisor writes.

use super::Malformed;
use crate::event::Event as Exception;
use core::mem::offset_of;
use snp_abi::ghcb::{self, Ghcb, valid_bit};

/// One field to write: eight bytes at this offset of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Write {
    pub offset: u16,
    pub value: u64,
}

/// An answer being put together. Fields that are not set stay as the guest wrote them and are not marked valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Reply {
    pub info_1: u64,
    pub info_2: u64,
    pub rax: Option<u64>,
    pub rbx: Option<u64>,
    pub rcx: Option<u64>,
    pub rdx: Option<u64>,
}

impl Reply {
    /// Done, nothing to report: info1 = info2 = 0.
    pub const OK: Reply = Reply {
        info_1: 0,
        info_2: 0,
        rax: None,
        rbx: None,
        rcx: None,
        rdx: None,
    };

    /// RDMSR, RDTSC, RDPMC: EDX:EAX.
    pub const fn value64(value: u64) -> Reply {
        Reply {
            rax: Some(value & 0xFFFF_FFFF),
            rdx: Some(value >> 32),
            ..Reply::OK
        }
    }

    /// CPUID.
    pub const fn cpuid(leaf: crate::cpuid::Leaf) -> Reply {
        Reply {
            rax: Some(leaf.eax as u64),
            rbx: Some(leaf.ebx as u64),
            rcx: Some(leaf.ecx as u64),
            rdx: Some(leaf.edx as u64),
            ..Reply::OK
        }
    }

    /// RAX only: IN, VMMCALL, GET_APIC_IDS.
    pub const fn rax(value: u64) -> Reply {
        Reply {
            rax: Some(value),
            ..Reply::OK
        }
    }

    /// info1 = 0 and this info2: hypervisor features, page state change, guest request, AP reset hold.
    pub const fn info2(value: u64) -> Reply {
        Reply {
            info_2: value,
            ..Reply::OK
        }
    }

    /// The guest is to raise this exception (Linux takes #GP and #UD only). An error code of 0 is not spelled out, as in
    /// KVM's answers (#GP is 0x8000030D).
    pub const fn exception(exception: Exception) -> Reply {
        let error_code = match exception.error_code {
            Some(0) => None,
            other => other,
        };
        let info_2 = Exception {
            error_code,
            ..exception
        }
        .to_bits();
        Reply {
            info_1: ghcb::RESULT_EXCEPTION,
            info_2,
            ..Reply::OK
        }
    }

    /// The request was malformed.
    pub const fn malformed(why: Malformed) -> Reply {
        Reply {
            info_1: ghcb::RESULT_MALFORMED,
            info_2: why.code(),
            ..Reply::OK
        }
    }

    /// The fields to write, in order; the valid bitmap, in which nothing but these fields is set, comes last.
    pub fn writes(self) -> impl Iterator<Item = Write> {
        let fields = [
            (offset_of!(Ghcb, rax), self.rax),
            (offset_of!(Ghcb, rbx), self.rbx),
            (offset_of!(Ghcb, rcx), self.rcx),
            (offset_of!(Ghcb, rdx), self.rdx),
            (offset_of!(Ghcb, sw_exit_info_1), Some(self.info_1)),
            (offset_of!(Ghcb, sw_exit_info_2), Some(self.info_2)),
        ];
        let mut valid = 0u128;
        for (offset, value) in fields {
            if value.is_some() {
                valid |= 1 << valid_bit(offset);
            }
        }
        let bitmap = offset_of!(Ghcb, valid_bitmap);
        let bitmap = [
            (bitmap, Some(valid as u64)),
            (bitmap + 8, Some((valid >> 64) as u64)),
        ];
        fields
            .into_iter()
            .chain(bitmap)
            .filter_map(|(offset, value)| {
                Some(Write {
                    offset: offset as u16,
                    value: value?,
                })
            })
    }
}
