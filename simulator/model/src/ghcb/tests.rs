//! Tests of GHCB requests and replies. Expectations: 56421 §4 and table 5, KVM's `sev_es_validate_vmgexit` (order and
//! codes), Linux's `vc-shared.c` and `core.c` (what requests look like and which answers are taken).

use super::*;
use crate::event::Event as Exception;
use core::mem::offset_of;
use proptest::prelude::*;
use snp_abi::Vmpl;
use snp_abi::ghcb::{Ghcb, malformed, valid_bit};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const GPA: u64 = 0x80_9000;

const RAX: usize = offset_of!(Ghcb, rax);
const RBX: usize = offset_of!(Ghcb, rbx);
const RCX: usize = offset_of!(Ghcb, rcx);
const RDX: usize = offset_of!(Ghcb, rdx);
const CPL: usize = offset_of!(Ghcb, cpl);
const XCR0: usize = offset_of!(Ghcb, xcr0);
const SCRATCH: usize = offset_of!(Ghcb, sw_scratch);
const CODE: usize = offset_of!(Ghcb, sw_exit_code);
const INFO_1: usize = offset_of!(Ghcb, sw_exit_info_1);
const INFO_2: usize = offset_of!(Ghcb, sw_exit_info_2);

fn mark_valid(ghcb: &mut Ghcb, offset: usize, valid: bool) {
    let bit = valid_bit(offset);
    let mask = 1 << (bit % 8);
    if valid {
        ghcb.valid_bitmap[bit / 8] |= mask;
    } else {
        ghcb.valid_bitmap[bit / 8] &= !mask;
    }
}

fn put(ghcb: &mut Ghcb, offset: usize, value: u64) {
    if offset == CPL {
        ghcb.cpl = value as u8;
    } else {
        ghcb.as_mut_bytes()[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
    mark_valid(ghcb, offset, true);
}

fn page(code: u64, info_1: u64, info_2: u64, fields: &[(usize, u64)]) -> Ghcb {
    let mut ghcb = Ghcb::new_zeroed();
    ghcb.protocol_version.set(2);
    put(&mut ghcb, CODE, code);
    put(&mut ghcb, INFO_1, info_1);
    put(&mut ghcb, INFO_2, info_2);
    for &(offset, value) in fields {
        put(&mut ghcb, offset, value);
    }
    ghcb
}

fn request(ghcb: &Ghcb) -> Result<Event, Malformed> {
    parse(ghcb, GPA, Some(GPA)).map(|request| request.event)
}

fn code(ghcb: &Ghcb) -> Option<u64> {
    request(ghcb).err().map(Malformed::code)
}

const BUFFER: u64 = GPA + 0x800;
const WHOLE: Scratch = Scratch {
    offset: 0x800,
    available: 2032,
};

/// Exit code, both infos, other fields, and what they mean.
type Case = (u64, u64, u64, &'static [(usize, u64)], Event);

/// One well-formed request of each kind, with the fields that it needs.
fn cases() -> std::vec::Vec<Case> {
    let io = |port, input, size, rax| {
        Event::Io(IoRequest {
            port,
            input,
            size,
            rax,
            string: None,
        })
    };
    let string = |port, input, size, count| {
        Event::Io(IoRequest {
            port,
            input,
            size,
            rax: 0,
            string: Some((WHOLE, count)),
        })
    };
    vec![
        (
            0x72,
            0,
            0,
            &[(RAX, 0x8000_001E), (RCX, 0)],
            Event::Cpuid {
                leaf: 0x8000_001E,
                subleaf: 0,
                xcr0: None,
                xss: None,
            },
        ),
        (
            0x72,
            0,
            0,
            &[(RAX, 0xD), (RCX, 1), (XCR0, 7)],
            Event::Cpuid {
                leaf: 0xD,
                subleaf: 1,
                xcr0: Some(7),
                xss: None,
            },
        ),
        // Linux's examples: in al,dx 0x211; in eax,dx 0x241; out dx,al 0x210; out dx,eax 0x240; rep outsb 0xE1C;
        // rep insb 0x21D.
        (0x7B, 0x3FD << 16 | 0x211, 0, &[], io(0x3FD, true, 1, 0)),
        (
            0x7B,
            0xCFC << 16 | 0x241,
            0,
            &[(RAX, 0)],
            io(0xCFC, true, 4, 0),
        ),
        (
            0x7B,
            0x3F8 << 16 | 0x210,
            0,
            &[(RAX, 0x1_2341)],
            io(0x3F8, false, 1, 0x41),
        ),
        (
            0x7B,
            0xCF8 << 16 | 0x240,
            0,
            &[(RAX, 0xFFFF_FFFF_8000_0000)],
            io(0xCF8, false, 4, 0x8000_0000),
        ),
        (
            0x7B,
            0x3F8 << 16 | 0xE1C,
            17,
            &[(SCRATCH, BUFFER)],
            string(0x3F8, false, 1, 17),
        ),
        (
            0x7B,
            0x510 << 16 | 0x21D,
            2032,
            &[(SCRATCH, BUFFER)],
            string(0x510, true, 1, 2032),
        ),
        (0x7C, 0, 0, &[(RCX, 0x1B)], Event::RdMsr { msr: 0x1B }),
        (
            0x7C,
            1,
            0,
            &[(RCX, 0x830), (RAX, 0xFFFF_FFFF_0000_08FD), (RDX, 3)],
            Event::WrMsr {
                msr: 0x830,
                value: 0x3_0000_08FD,
            },
        ),
        (0x6E, 0, 0, &[], Event::Rdtsc),
        (0x87, 0, 0, &[], Event::Rdtscp),
        (0x6F, 0, 0, &[(RCX, 2)], Event::Rdpmc { counter: 2 }),
        (0x76, 0, 0, &[], Event::Invd),
        (0x89, 0, 0, &[], Event::Wbinvd),
        (0x8A, 0, 0, &[(RAX, 1), (RCX, 0), (RDX, 0)], Event::Monitor),
        (0x8B, 0, 0, &[(RAX, 1), (RCX, 0)], Event::Mwait),
        (
            0x81,
            0,
            0,
            &[(RAX, 9), (CPL, 3)],
            Event::Vmmcall {
                rax: 9,
                cpl: 3,
                rbx: 0,
                rcx: 0,
                rdx: 0,
                rsi: 0,
            },
        ),
        (0x27, 0, 0, &[], Event::ReadDr7),
        (
            0x37,
            0,
            0,
            &[(RAX, 0x400)],
            Event::WriteDr7 { value: 0x400 },
        ),
        (
            0x8000_0001,
            0xFEC0_0010,
            4,
            &[(SCRATCH, BUFFER)],
            Event::MmioRead {
                gpa: 0xFEC0_0010,
                size: 4,
                scratch: WHOLE,
            },
        ),
        (
            0x8000_0002,
            0xFEC0_0000,
            0,
            &[(SCRATCH, BUFFER)],
            Event::MmioWrite {
                gpa: 0xFEC0_0000,
                size: 0,
                scratch: WHOLE,
            },
        ),
        (0x8000_0003, 0, 0, &[], Event::NmiComplete),
        (0x8000_0004, 0, 0, &[], Event::ApResetHold),
        (
            0x8000_0005,
            1,
            0,
            &[],
            Event::ApJumpTable {
                info_1: 1,
                info_2: 0,
            },
        ),
        (
            0x8000_0010,
            0,
            0,
            &[(SCRATCH, BUFFER)],
            Event::PageStateChange { scratch: WHOLE },
        ),
        (
            0x8000_0011,
            0x10_0000,
            0x10_1000,
            &[],
            Event::GuestRequest {
                request: 0x10_0000,
                response: 0x10_1000,
            },
        ),
        (
            0x8000_0012,
            0x10_0000,
            0x10_1000,
            &[(RAX, 0x20_0000), (RBX, 4)],
            Event::ExtGuestRequest {
                request: 0x10_0000,
                response: 0x10_1000,
                data: 0x20_0000,
                data_pages: 4,
            },
        ),
        // Linux: apic_id<<32 | vmpl<<16 | 1.
        (
            0x8000_0013,
            5 << 32 | 2 << 16 | 1,
            0x20_1000,
            &[(RAX, 1)],
            Event::ApCreation {
                action: ApAction::Create,
                vmpl: Vmpl::Vmpl2,
                apic_id: 5,
                vmsa_gpa: 0x20_1000,
                features: 1,
            },
        ),
        (
            0x8000_0013,
            2 << 16,
            0x20_1000,
            &[(RAX, 9)],
            Event::ApCreation {
                action: ApAction::CreateOnInit,
                vmpl: Vmpl::Vmpl2,
                apic_id: 0,
                vmsa_gpa: 0x20_1000,
                features: 9,
            },
        ),
        (
            0x8000_0013,
            1 << 32 | 2,
            0,
            &[],
            Event::ApCreation {
                action: ApAction::Destroy,
                vmpl: Vmpl::Vmpl0,
                apic_id: 1,
                vmsa_gpa: 0,
                features: 0,
            },
        ),
        (
            0x8000_0014,
            1,
            0x7000,
            &[],
            Event::HvDoorbell {
                operation: 1,
                gpa: 0x7000,
            },
        ),
        (0x8000_0015, 3, 0, &[], Event::HvIpi { info_1: 3 }),
        (
            0x8000_0017,
            0x9000,
            0,
            &[(RAX, 1)],
            Event::GetApicIds {
                pages: 1,
                list: 0x9000,
            },
        ),
        (0x8000_0018, 0, 0, &[], Event::RunVmpl { vmpl: Vmpl::Vmpl0 }),
        (0x8000_FFFD, 0, 0, &[], Event::HvFeatures),
        // Linux: info1 0x20, info2 the mask of unsupported features.
        (
            0x8000_FFFE,
            0x20,
            0x40,
            &[],
            Event::Terminate {
                set: 0,
                reason: 2,
                info_2: 0x40,
            },
        ),
        (
            0x8000_FFFF,
            0x76,
            0,
            &[],
            Event::Unsupported { exit_code: 0x76 },
        ),
    ]
}

#[test]
fn well_formed_requests_are_decoded() {
    for (exit_code, info_1, info_2, fields, expected) in cases() {
        let ghcb = page(exit_code, info_1, info_2, fields);
        assert_eq!(request(&ghcb), Ok(expected), "{exit_code:#x}");
    }
}

#[test]
fn each_field_that_is_needed_must_be_marked_valid() {
    for (exit_code, info_1, info_2, fields, _) in cases() {
        let optional = exit_code == 0x7B && info_1 & 5 == 1; // RAX for IN.
        for &(offset, _) in fields {
            let mut ghcb = page(exit_code, info_1, info_2, fields);
            mark_valid(&mut ghcb, offset, false);
            let expected = (!optional).then_some(malformed::MISSING_INPUT);
            assert_eq!(code(&ghcb), expected, "{exit_code:#x} without {offset:#x}");
        }
        for offset in [CODE, INFO_1, INFO_2] {
            let mut ghcb = page(exit_code, info_1, info_2, fields);
            mark_valid(&mut ghcb, offset, false);
            assert_eq!(code(&ghcb), Some(malformed::MISSING_INPUT));
        }
    }
}

#[test]
fn bits_of_fields_that_no_one_needs_do_not_matter() {
    // COCONUT marks the bitmap's own words valid.
    for (exit_code, info_1, info_2, fields, expected) in cases() {
        let mut ghcb = page(exit_code, info_1, info_2, fields);
        mark_valid(&mut ghcb, 0x3F0, true);
        mark_valid(&mut ghcb, 0x3F8, true);
        assert_eq!(request(&ghcb), Ok(expected));
    }
}

#[test]
fn the_checks_come_in_kvms_order() {
    // Everything is wrong at first; each repair shows the next check.
    let mut ghcb = page(0xDEAD, 0, 0, &[]);
    ghcb.ghcb_usage.set(1);
    mark_valid(&mut ghcb, INFO_2, false);
    let code_at = |ghcb: &Ghcb, registered| parse(ghcb, GPA, registered).unwrap_err().code();
    assert_eq!(code_at(&ghcb, None), malformed::NOT_REGISTERED);
    assert_eq!(
        code_at(&ghcb, Some(GPA + 0x1000)),
        malformed::NOT_REGISTERED
    );
    assert_eq!(code_at(&ghcb, Some(GPA)), malformed::USAGE);
    ghcb.ghcb_usage.set(0);
    assert_eq!(code_at(&ghcb, Some(GPA)), malformed::MISSING_INPUT);
    mark_valid(&mut ghcb, INFO_2, true);
    assert_eq!(code_at(&ghcb, Some(GPA)), malformed::INVALID_EVENT);
    // protocol_version is not looked at.
    ghcb.protocol_version.set(0);
    put(&mut ghcb, CODE, 0x89);
    assert_eq!(request(&ghcb), Ok(Event::Wbinvd));
}

#[test]
fn scratch_areas_lie_in_the_shared_buffer() {
    let mmio = |scratch, length| page(0x8000_0001, 0xFEE0_0020, length, &[(SCRATCH, scratch)]);
    for (scratch, length, expected) in [
        (GPA + 0x800, 8, None),
        (GPA + 0xFE8, 8, None),
        (GPA + 0xFE9, 8, Some(malformed::SCRATCH)),
        (GPA + 0x7F8, 8, Some(malformed::SCRATCH)),
        (GPA + 0xFF0, 1, Some(malformed::SCRATCH)),
        (GPA - 0x800, 4, Some(malformed::SCRATCH)),
        (GPA + 0x1800, 4, Some(malformed::SCRATCH)),
        (0, 4, Some(malformed::SCRATCH)),
        (u64::MAX, 4, Some(malformed::SCRATCH)),
        (GPA + 0x800, 9, Some(malformed::INVALID_INPUT)),
        (GPA + 0x800, u64::MAX, Some(malformed::INVALID_INPUT)),
    ] {
        assert_eq!(
            code(&mmio(scratch, length)),
            expected,
            "{scratch:#x}+{length:#x}"
        );
    }
    // String I/O: count * size must fit.
    let outs = |size: u64, count| page(0x7B, 0x3F8 << 16 | 0xC | size, count, &[(SCRATCH, BUFFER)]);
    for (size, count, expected) in [
        (0x40, 508, None),
        (0x40, 509, Some(malformed::SCRATCH)),
        (0x10, 2033, Some(malformed::SCRATCH)),
        (0x40, 0xFFFF_FFFF, Some(malformed::SCRATCH)),
        (0x40, 0x1_0000_0000, Some(malformed::INVALID_INPUT)),
    ] {
        assert_eq!(code(&outs(size, count)), expected, "{size:#x} x {count:#x}");
    }
    // A page state change needs room for its header.
    let psc = page(0x8000_0010, 0, 0, &[(SCRATCH, GPA + 0xFEC)]);
    assert_eq!(code(&psc), Some(malformed::SCRATCH));
}

#[test]
fn inputs_that_make_no_sense_are_invalid() {
    let vmsa = 0x20_1000;
    for (exit_code, info_1, info_2, fields) in [
        // No size, two sizes.
        (0x7B, 0x3F8 << 16, 0, &[(RAX, 0)][..]),
        (0x7B, 0x3F8 << 16 | 0x30, 0, &[(RAX, 0)]),
        // Message pages: not aligned, the same.
        (0x8000_0011, 0x10_0010, 0x10_1000, &[]),
        (0x8000_0011, 0x10_0000, 0x10_1010, &[]),
        (0x8000_0011, 0x10_0000, 0x10_0000, &[]),
        (0x8000_0012, 0x10_0000, 0x10_1000, &[(RAX, 1), (RBX, 1)]),
        // AP creation: action, VMPL, reserved bits, VMSA not aligned, VMSA at a 2 MiB boundary.
        (0x8000_0013, 3, vmsa, &[(RAX, 1)]),
        (0x8000_0013, 4 << 16 | 1, vmsa, &[(RAX, 1)]),
        (0x8000_0013, 1 << 20 | 1, vmsa, &[(RAX, 1)]),
        (0x8000_0013, 1, vmsa + 8, &[(RAX, 1)]),
        (0x8000_0013, 1, 0x20_0000, &[(RAX, 1)]),
        (0x8000_0018, 4, 0, &[]),
        (0x8000_0018, 1 << 32, 0, &[]),
    ] {
        let ghcb = page(exit_code, info_1, info_2, fields);
        assert_eq!(
            code(&ghcb),
            Some(malformed::INVALID_INPUT),
            "{exit_code:#x} {info_1:#x}"
        );
    }
    for unknown in [
        0,
        0x78,
        0x400,
        0x404,
        0x8000_0006,
        0x8000_0016,
        0x8000_001A,
        u64::MAX,
    ] {
        let ghcb = page(unknown, 0, 0, &[]);
        assert_eq!(code(&ghcb), Some(malformed::INVALID_EVENT), "{unknown:#x}");
    }
}

/// The page after the reply is written.
fn after(ghcb: &Ghcb, reply: Reply) -> Ghcb {
    let mut bytes = ghcb.as_bytes().to_vec();
    for write in reply.writes() {
        let offset = usize::from(write.offset);
        bytes[offset..offset + 8].copy_from_slice(&write.value.to_le_bytes());
    }
    Ghcb::read_from_bytes(&bytes).unwrap()
}

fn valid(ghcb: &Ghcb) -> std::vec::Vec<usize> {
    (0..128)
        .filter(|bit| ghcb.valid_bitmap[bit / 8] >> (bit % 8) & 1 != 0)
        .map(|bit| bit * 8)
        .collect()
}

#[test]
fn a_success_overwrites_what_the_guest_put_into_the_infos() {
    // Linux takes a non-zero info1 for an error, and put the port there itself.
    let ghcb = page(0x7B, 0x3F8 << 16 | 0x210, 7, &[(RAX, 0x41)]);
    let done = after(&ghcb, Reply::OK);
    assert_eq!(
        (done.sw_exit_info_1.get(), done.sw_exit_info_2.get()),
        (0, 0)
    );
    assert_eq!(valid(&done), [INFO_1, INFO_2]);
    assert_eq!(done.rax.get(), 0x41, "fields that are not answered stay");
}

#[test]
fn outputs_are_marked_valid_and_inputs_no_longer() {
    let ghcb = page(0x72, 0, 0, &[(RAX, 1), (RCX, 0), (XCR0, 1)]);
    let leaf = crate::cpuid::Leaf {
        eax: 1,
        ebx: 2,
        ecx: 3,
        edx: 4,
    };
    let done = after(&ghcb, Reply::cpuid(leaf));
    assert_eq!(valid(&done), [RAX, RCX, RDX, RBX, INFO_1, INFO_2]);
    let registers = [
        done.rax.get(),
        done.rbx.get(),
        done.rcx.get(),
        done.rdx.get(),
    ];
    assert_eq!(registers, [1, 2, 3, 4]);
    let msr = after(&ghcb, Reply::value64(0x1234_5678_9ABC_DEF0));
    assert_eq!((msr.rax.get(), msr.rdx.get()), (0x9ABC_DEF0, 0x1234_5678));
    let features = after(&ghcb, Reply::info2(0x37));
    assert_eq!(
        (features.sw_exit_info_1.get(), features.sw_exit_info_2.get()),
        (0, 0x37)
    );
}

#[test]
fn exceptions_and_errors_are_reported_as_kvm_does() {
    let ghcb = page(0x7C, 0, 0, &[(RCX, 0xDEAD)]);
    let gp = after(&ghcb, Reply::exception(Exception::gp0()));
    assert_eq!(
        (gp.sw_exit_info_1.get(), gp.sw_exit_info_2.get()),
        (1, 0x8000_030D)
    );
    let ud = after(&ghcb, Reply::exception(Exception::ud()));
    assert_eq!(ud.sw_exit_info_2.get(), 0x8000_0306);
    let missing = parse(&page(0x7C, 0, 0, &[]), GPA, Some(GPA)).unwrap_err();
    let bad = after(&ghcb, Reply::malformed(missing));
    assert_eq!((bad.sw_exit_info_1.get(), bad.sw_exit_info_2.get()), (2, 4));
}

proptest! {
    #[test]
    fn random_pages_never_panic(
        code in prop_oneof![any::<u64>(), 0u64..0x90, 0x8000_0000u64..0x8000_0020, 0x8000_FFFDu64..=0x8000_FFFF],
        info in any::<[u64; 2]>(), rest in proptest::collection::vec(any::<u8>(), 0xFFC - 0x390),
        valid in any::<u128>(), offset in 0u64..0x1800,
    ) {
        let mut bytes = std::vec![0u8; 4096];
        bytes[0x390..0xFFC].copy_from_slice(&rest);
        let mut ghcb = Ghcb::read_from_bytes(&bytes).unwrap();
        ghcb.valid_bitmap = valid.to_le_bytes();
        for (field, value) in [(CODE, code), (INFO_1, info[0]), (INFO_2, info[1]), (SCRATCH, GPA + offset)] {
            put(&mut ghcb, field, value);
        }
        match parse(&ghcb, GPA, Some(GPA)) {
            Ok(request) => {
                let scratch = match request.event {
                    Event::Io(IoRequest { string: Some((scratch, count)), size, .. }) => {
                        prop_assert!(u64::from(count) * u64::from(size) <= u64::from(scratch.available));
                        Some(scratch)
                    }
                    Event::MmioRead { scratch, size, .. } | Event::MmioWrite { scratch, size, .. } => {
                        prop_assert!(size <= 8 && u16::from(size) <= scratch.available);
                        Some(scratch)
                    }
                    Event::PageStateChange { scratch } => Some(scratch),
                    _ => None,
                };
                if let Some(Scratch { offset, available }) = scratch {
                    prop_assert!(offset >= 0x800 && offset + available == 0xFF0);
                }
            }
            Err(why) => prop_assert!((1..=6).contains(&why.code())),
        }
    }
}
