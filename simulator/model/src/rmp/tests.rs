//! Tests of the RMP rules. Expectations: APM vol. 3 and Microsoft's intrinsics (result codes), Linux `sev.c`, verismo's
//! model of the RMP; the numbers are sections of the project's collection of SNP semantics.

use super::*;
use proptest::prelude::*;
use snp_abi::exit::npf;
use snp_abi::rmp::{result, rmpadjust_rdx};
use snp_abi::{PAGES_PER_LARGE_PAGE, PageSize, RmpPermissions, Vmpl};
use std::vec::Vec;

const FRAME: u64 = 0x200;
const GPA: u64 = 0x8000_0000;
const CALLER: Caller = Caller {
    snp_active: true,
    vmpl: Vmpl::Vmpl0,
    cpl: 0,
    long_mode_64: true,
};
const DONE: Outcome = Outcome::Done {
    eax: result::SUCCESS,
    carry: false,
};
const NO_CHANGE: Outcome = Outcome::Done {
    eax: result::SUCCESS,
    carry: true,
};

fn code(eax: u64) -> Outcome {
    Outcome::Done { eax, carry: false }
}

fn entries() -> Vec<RmpEntry> {
    vec![RmpEntry::HYPERVISOR; 0x600]
}

fn assign(size: PageSize) -> RmpUpdate {
    RmpUpdate {
        assigned: true,
        gpa: GPA,
        size,
        immutable: false,
    }
}

fn reclaim(size: PageSize) -> RmpUpdate {
    RmpUpdate {
        assigned: false,
        gpa: 0,
        size,
        immutable: false,
    }
}

fn mapping() -> Mapping {
    Mapping {
        gpa: GPA,
        private: true,
        frame: Some(FRAME),
    }
}

fn validate(rmp: &mut Rmp<'_>, size: PageSize, value: bool) -> Outcome {
    let op = Pvalidate::decode(CALLER, GPA, size as u64, u64::from(value)).unwrap();
    pvalidate(rmp, &op, mapping())
}

fn adjust(rmp: &mut Rmp<'_>, vmpl: Vmpl, rdx: u64) -> Outcome {
    let caller = Caller { vmpl, ..CALLER };
    let op = RmpAdjust::decode(caller, GPA, 0, rdx).unwrap();
    rmpadjust(rmp, &op, mapping())
}

/// A table whose page at `FRAME` is assigned and, if asked, validated.
fn with_page<R>(size: PageSize, validated: bool, test: impl FnOnce(&mut Rmp<'_>) -> R) -> R {
    let mut entries = entries();
    let mut rmp = Rmp::new(0, &mut entries);
    rmp.rmpupdate(FRAME, assign(size)).unwrap();
    if validated {
        assert_eq!(validate(&mut rmp, size, true), DONE);
    }
    test(&mut rmp)
}

fn nested_fault(outcome: Outcome) -> (Rule, u64) {
    match outcome {
        Outcome::Violation(Violation {
            rule,
            effect: Effect::NestedFault { exit_info_1 },
            ..
        }) => (rule, exit_info_1),
        other => panic!("not a nested fault: {other:?}"),
    }
}

// RMPUPDATE and PSMASH, 1.8.

#[test]
fn a_new_page_is_not_validated_and_belongs_to_vmpl0_alone() {
    with_page(PageSize::Size4K, false, |rmp| {
        let entry = rmp.entry(FRAME).unwrap();
        assert!(entry.assigned() && !entry.validated() && !entry.vmsa());
        assert_eq!(entry.permissions(Vmpl::Vmpl0), RmpPermissions::RWX);
        for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
            assert_eq!(entry.permissions(vmpl), RmpPermissions::empty());
        }
    });
}

#[test]
fn reassigning_resets_validated_and_permissions() {
    with_page(PageSize::Size4K, true, |rmp| {
        let rdx = rmpadjust_rdx(Vmpl::Vmpl2, RmpPermissions::RWX, false);
        assert_eq!(adjust(rmp, Vmpl::Vmpl0, rdx), DONE);
        rmp.rmpupdate(FRAME, reclaim(PageSize::Size4K)).unwrap();
        assert_eq!(rmp.entry(FRAME), Some(RmpEntry::HYPERVISOR));
        rmp.rmpupdate(FRAME, assign(PageSize::Size4K)).unwrap();
        let entry = rmp.entry(FRAME).unwrap();
        assert!(!entry.validated());
        assert_eq!(entry.permissions(Vmpl::Vmpl2), RmpPermissions::empty());
    });
}

#[test]
fn rmpupdate_refuses_bad_operands() {
    let mut entries = entries();
    let mut rmp = Rmp::new(0x100, &mut entries);
    let large = PageSize::Size2M;
    for (frame, update, expected) in [
        // Outside: below, above, and reaching over the end.
        (0xFF, assign(PageSize::Size4K), HostFailure::Input),
        (0x700, assign(PageSize::Size4K), HostFailure::Input),
        (0x600, assign(large), HostFailure::Input),
        (u64::MAX, assign(PageSize::Size4K), HostFailure::Input),
        // Not aligned: frame, GPA.
        (0x201, assign(large), HostFailure::Input),
        (
            0x200,
            RmpUpdate {
                gpa: GPA + 0x1000,
                ..assign(large)
            },
            HostFailure::Input,
        ),
        (
            0x200,
            RmpUpdate {
                gpa: GPA + 1,
                ..assign(PageSize::Size4K)
            },
            HostFailure::Input,
        ),
        // A hypervisor's page cannot be immutable.
        (
            0x200,
            RmpUpdate {
                immutable: true,
                ..reclaim(PageSize::Size4K)
            },
            HostFailure::Permission,
        ),
    ] {
        assert_eq!(
            rmp.rmpupdate(frame, update),
            Err(expected),
            "{frame:#x} {update:?}"
        );
    }
    assert!(entries.iter().all(|entry| *entry == RmpEntry::HYPERVISOR));
}

#[test]
fn rmpupdate_does_not_touch_immutable_pages() {
    let mut entries = entries();
    let mut rmp = Rmp::new(0, &mut entries);
    let immutable = RmpUpdate {
        immutable: true,
        ..assign(PageSize::Size4K)
    };
    rmp.rmpupdate(FRAME, immutable).unwrap();
    assert_eq!(
        rmp.rmpupdate(FRAME, reclaim(PageSize::Size4K)),
        Err(HostFailure::Permission)
    );
    // The firmware's launch makes it the guest's.
    let lower = [
        RmpPermissions::empty(),
        RmpPermissions::RWX,
        RmpPermissions::READ,
    ];
    rmp.launch_update(FRAME, true, lower).unwrap();
    let entry = rmp.entry(FRAME).unwrap();
    assert!(entry.validated() && entry.vmsa() && !entry.immutable());
    assert_eq!(entry.permissions(Vmpl::Vmpl2), RmpPermissions::RWX);
    assert_eq!(
        rmp.launch_update(FRAME, false, lower),
        Err(HostFailure::Permission),
        "a second launch of the page"
    );
}

#[test]
fn entries_of_the_two_sizes_do_not_overlap() {
    with_page(PageSize::Size2M, false, |rmp| {
        for offset in [0, 1, 511] {
            for update in [assign(PageSize::Size4K), reclaim(PageSize::Size4K)] {
                assert_eq!(
                    rmp.rmpupdate(FRAME + offset, update),
                    Err(HostFailure::Overlap)
                );
            }
        }
        rmp.rmpupdate(FRAME, reclaim(PageSize::Size2M)).unwrap();
        let small = RmpUpdate {
            gpa: GPA + 0x5000,
            ..assign(PageSize::Size4K)
        };
        rmp.rmpupdate(FRAME + 5, small).unwrap();
        assert_eq!(
            rmp.rmpupdate(FRAME, assign(PageSize::Size2M)),
            Err(HostFailure::Overlap)
        );
    });
}

#[test]
fn psmash_keeps_validated_and_permissions_and_spreads_the_gpa() {
    with_page(PageSize::Size2M, true, |rmp| {
        assert_eq!(rmp.entry(FRAME + 7).unwrap().size(), PageSize::Size2M);
        rmp.psmash(FRAME).unwrap();
        for index in 0..PAGES_PER_LARGE_PAGE {
            let entry = rmp.entry(FRAME + index).unwrap();
            assert_eq!(entry.size(), PageSize::Size4K);
            assert_eq!(entry.gpa(), GPA + index * 0x1000);
            assert!(entry.assigned() && entry.validated());
            assert_eq!(entry.permissions(Vmpl::Vmpl0), RmpPermissions::RWX);
        }
        assert_eq!(rmp.psmash(FRAME), Err(HostFailure::Input), "already small");
        assert_eq!(
            rmp.psmash(FRAME + 1),
            Err(HostFailure::Input),
            "not aligned"
        );
    });
}

#[test]
fn a_running_vmsa_is_in_use() {
    with_page(PageSize::Size4K, false, |rmp| {
        assert_eq!(rmp.begin_vmrun(FRAME), Err(VmsaPageFailure::NotValidated));
        validate(rmp, PageSize::Size4K, true);
        assert_eq!(rmp.begin_vmrun(FRAME), Err(VmsaPageFailure::NotVmsa));
        let rdx = rmpadjust_rdx(Vmpl::Vmpl1, RmpPermissions::empty(), true);
        assert_eq!(adjust(rmp, Vmpl::Vmpl0, rdx), DONE);
        rmp.begin_vmrun(FRAME).unwrap();
        // 3.7: a second VMRUN is VMEXIT_BUSY.
        let busy = rmp.begin_vmrun(FRAME).unwrap_err();
        assert_eq!(busy, VmsaPageFailure::Busy);
        assert_eq!(busy.exit_code(), snp_abi::exit::BUSY);
        // 1.6: stores, RMPADJUST and PVALIDATE wait until it stops.
        let entry = rmp.entry(FRAME).unwrap();
        let store = check_access(entry, Vmpl::Vmpl0, GPA, Access::WRITE, true);
        assert_eq!(store.unwrap_err().rule, Rule::VmsaInUse);
        assert!(check_access(entry, Vmpl::Vmpl0, GPA, Access::READ, true).is_ok());
        let (rule, _) = nested_fault(adjust(rmp, Vmpl::Vmpl0, rdx & 0xFFFF));
        assert_eq!(rule, Rule::VmsaInUse);
        let (rule, _) = nested_fault(validate(rmp, PageSize::Size4K, false));
        assert_eq!(rule, Rule::VmsaInUse);
        assert_eq!(
            rmp.rmpupdate(FRAME, reclaim(PageSize::Size4K)),
            Err(HostFailure::InUse)
        );
        rmp.end_vmrun(FRAME);
        assert_eq!(adjust(rmp, Vmpl::Vmpl0, rdx & 0xFFFF), DONE);
        assert_eq!(rmp.begin_vmrun(FRAME), Err(VmsaPageFailure::NotVmsa));
    });
}

#[test]
fn vmrun_takes_assigned_pages_only() {
    let mut entries = entries();
    let mut rmp = Rmp::new(0, &mut entries);
    assert_eq!(rmp.begin_vmrun(FRAME), Err(VmsaPageFailure::NotAssigned));
    assert_eq!(
        rmp.begin_vmrun(0x600),
        Err(VmsaPageFailure::OutsideRmp { frame: 0x600 })
    );
    assert_eq!(
        VmsaPageFailure::NotAssigned.exit_code(),
        snp_abi::exit::INVALID
    );
}

// PVALIDATE, 1.5.

#[test]
fn pvalidate_checks_mode_and_operands_before_the_walk() {
    let user = Caller { cpl: 3, ..CALLER };
    let vmpl2 = Caller {
        vmpl: Vmpl::Vmpl2,
        ..CALLER
    };
    let no_snp = Caller {
        snp_active: false,
        cpl: 3,
        ..CALLER
    };
    for (caller, rax, rcx, rdx, expected) in [
        (no_snp, GPA, 0, 1, Outcome::InvalidOpcode),
        (user, GPA, 2, 1, Outcome::GeneralProtection),
        (vmpl2, GPA, 2, 1, Outcome::GeneralProtection),
        (CALLER, GPA, 2, 1, code(result::FAIL_INPUT)),
        (CALLER, GPA, 0, 2, code(result::FAIL_INPUT)),
        (CALLER, GPA + 0x1000, 1, 1, code(result::FAIL_INPUT)),
    ] {
        assert_eq!(
            Pvalidate::decode(caller, rax, rcx, rdx),
            Err(expected),
            "{caller:?}"
        );
    }
    // ECX and EDX are 32-bit operands, and in 32-bit mode the address is, too.
    let legacy = Caller {
        long_mode_64: false,
        ..CALLER
    };
    let op = Pvalidate::decode(legacy, 1 << 32 | 0x1234, 1 << 32, 1 << 32 | 1).unwrap();
    assert_eq!(
        (op.va, op.size, op.validate),
        (0x1000, PageSize::Size4K, true)
    );
}

#[test]
fn pvalidate_of_a_shared_mapping_is_a_page_fault() {
    with_page(PageSize::Size4K, false, |rmp| {
        let op = Pvalidate::decode(CALLER, GPA, 0, 1).unwrap();
        let shared = Mapping {
            private: false,
            ..mapping()
        };
        // P | RSVD, found on hardware.
        assert_eq!(
            pvalidate(rmp, &op, shared),
            Outcome::PageFault { error_code: 9 }
        );
    });
}

#[test]
fn pvalidate_of_foreign_pages_goes_to_the_hypervisor() {
    let mut entries = entries();
    let mut rmp = Rmp::new(0, &mut entries);
    let rmp_bits = npf::RMP | npf::FINAL | npf::ENCRYPTED | npf::USER | npf::PRESENT;
    assert_eq!(
        nested_fault(validate(&mut rmp, PageSize::Size4K, true)),
        (Rule::NotAssigned, rmp_bits)
    );
    // AMDSEV#219 saw 0x580000005 for this.
    assert_eq!(rmp_bits, 0x5_8000_0005);

    let op = Pvalidate::decode(CALLER, GPA, 0, 1).unwrap();
    let absent = Mapping {
        frame: None,
        ..mapping()
    };
    // ... and 0x500000004 before a page is mapped.
    assert_eq!(
        nested_fault(pvalidate(&mut rmp, &op, absent)),
        (Rule::NotMapped, 0x5_0000_0004)
    );

    let elsewhere = RmpUpdate {
        gpa: GPA + 0x1000,
        ..assign(PageSize::Size4K)
    };
    rmp.rmpupdate(FRAME, elsewhere).unwrap();
    let (rule, _) = nested_fault(validate(&mut rmp, PageSize::Size4K, true));
    assert_eq!(rule, Rule::WrongGpa { rmp: GPA + 0x1000 });

    let immutable = RmpUpdate {
        immutable: true,
        ..assign(PageSize::Size4K)
    };
    rmp.rmpupdate(FRAME, immutable).unwrap();
    let (rule, _) = nested_fault(validate(&mut rmp, PageSize::Size4K, true));
    assert_eq!(rule, Rule::Immutable);
}

#[test]
fn pvalidate_and_page_sizes() {
    with_page(PageSize::Size2M, false, |rmp| {
        let (rule, bits) = nested_fault(validate(rmp, PageSize::Size4K, true));
        assert_eq!(rule, Rule::SizeMismatch);
        assert_eq!(
            bits & (npf::RMP | npf::SIZE_MISMATCH),
            npf::RMP | npf::SIZE_MISMATCH
        );
        assert_eq!(validate(rmp, PageSize::Size2M, true), DONE);
        // A 4 KiB mapping of an aligned address into the middle of the page.
        let op = Pvalidate::decode(CALLER, GPA, 1, 1).unwrap();
        let middle = Mapping {
            gpa: GPA + 0x3000,
            frame: Some(FRAME + 3),
            ..mapping()
        };
        assert_eq!(pvalidate(rmp, &op, middle), code(result::FAIL_INPUT));
        rmp.psmash(FRAME).unwrap();
        assert_eq!(
            validate(rmp, PageSize::Size2M, true),
            code(result::FAIL_SIZEMISMATCH)
        );
    });
}

#[test]
fn validating_twice_sets_carry_and_changes_nothing() {
    with_page(PageSize::Size4K, false, |rmp| {
        assert_eq!(validate(rmp, PageSize::Size4K, false), NO_CHANGE);
        assert_eq!(validate(rmp, PageSize::Size4K, true), DONE);
        let before = rmp.entry(FRAME);
        assert_eq!(validate(rmp, PageSize::Size4K, true), NO_CHANGE);
        assert_eq!(rmp.entry(FRAME), before);
        assert_eq!(validate(rmp, PageSize::Size4K, false), DONE);
    });
}

#[test]
fn rescinding_keeps_the_permissions() {
    with_page(PageSize::Size4K, true, |rmp| {
        let rdx = rmpadjust_rdx(Vmpl::Vmpl2, RmpPermissions::RWX, false);
        assert_eq!(adjust(rmp, Vmpl::Vmpl0, rdx), DONE);
        assert_eq!(validate(rmp, PageSize::Size4K, false), DONE);
        let entry = rmp.entry(FRAME).unwrap();
        assert_eq!(entry.permissions(Vmpl::Vmpl2), RmpPermissions::RWX);
    });
}

// RMPADJUST, 1.6, and RMPQUERY, 1.7.

#[test]
fn rmpadjust_needs_64_bit_mode_and_cpl_0() {
    let cases = [
        (
            Caller {
                long_mode_64: false,
                ..CALLER
            },
            Outcome::InvalidOpcode,
        ),
        (Caller { cpl: 1, ..CALLER }, Outcome::GeneralProtection),
    ];
    for (caller, expected) in cases {
        assert_eq!(RmpAdjust::decode(caller, GPA, 0, 1), Err(expected));
        assert_eq!(RmpQuery::decode(caller, GPA, 1), Err(expected));
    }
    assert_eq!(
        RmpAdjust::decode(CALLER, GPA, 2, 1),
        Err(code(result::FAIL_INPUT))
    );
}

#[test]
fn rmpadjust_reaches_less_privileged_levels_only() {
    with_page(PageSize::Size4K, true, |rmp| {
        for (caller, target, expected) in [
            (Vmpl::Vmpl0, 0, result::FAIL_PERMISSION),
            (Vmpl::Vmpl0, 1, result::SUCCESS),
            // Linux's "am I VMPL0?": target VMPL1 from VMPL2 must fail.
            (Vmpl::Vmpl2, 1, result::FAIL_PERMISSION),
            (Vmpl::Vmpl2, 2, result::FAIL_PERMISSION),
            (Vmpl::Vmpl2, 3, result::SUCCESS),
            (Vmpl::Vmpl3, 3, result::FAIL_PERMISSION),
            (Vmpl::Vmpl0, 4, result::FAIL_INPUT),
            (Vmpl::Vmpl3, 4, result::FAIL_INPUT),
        ] {
            assert_eq!(
                adjust(rmp, caller, target),
                code(expected),
                "{caller:?} {target}"
            );
        }
    });
}

#[test]
fn rmpadjust_refuses_reserved_bits_and_large_vmsas() {
    with_page(PageSize::Size2M, true, |rmp| {
        for bit in (12..16).chain(17..64) {
            let op = RmpAdjust::decode(CALLER, GPA, 1, 1 << bit | 1).unwrap();
            assert_eq!(
                rmpadjust(rmp, &op, mapping()),
                code(result::FAIL_INPUT),
                "bit {bit}"
            );
        }
        let op = RmpAdjust::decode(CALLER, GPA, 1, 1 << 16 | 1).unwrap();
        assert_eq!(rmpadjust(rmp, &op, mapping()), code(result::FAIL_INPUT));
    });
}

#[test]
fn rmpadjust_grants_no_more_than_the_caller_has() {
    with_page(PageSize::Size4K, true, |rmp| {
        let read = RmpPermissions::READ;
        let grant = |target, permissions| rmpadjust_rdx(target, permissions, false);
        assert_eq!(adjust(rmp, Vmpl::Vmpl0, grant(Vmpl::Vmpl1, read)), DONE);
        let more = grant(Vmpl::Vmpl2, read | RmpPermissions::WRITE);
        assert_eq!(
            adjust(rmp, Vmpl::Vmpl1, more),
            code(result::FAIL_PERMISSION)
        );
        assert_eq!(adjust(rmp, Vmpl::Vmpl1, grant(Vmpl::Vmpl2, read)), DONE);
        assert_eq!(rmp.entry(FRAME).unwrap().permissions(Vmpl::Vmpl2), read);
    });
}

#[test]
fn every_rmpadjust_at_vmpl0_writes_the_vmsa_bit_and_no_other_level_does() {
    with_page(PageSize::Size4K, true, |rmp| {
        let vmsa = rmpadjust_rdx(Vmpl::Vmpl2, RmpPermissions::READ, true);
        assert_eq!(adjust(rmp, Vmpl::Vmpl0, vmsa), DONE);
        assert!(rmp.entry(FRAME).unwrap().vmsa());
        // MSVC, EDK2: ignored below VMPL0, both when set and when clear.
        let lower = rmpadjust_rdx(Vmpl::Vmpl3, RmpPermissions::empty(), false);
        assert_eq!(adjust(rmp, Vmpl::Vmpl2, lower), DONE);
        assert!(rmp.entry(FRAME).unwrap().vmsa());
        // Consequence A: changing VMPL3's rights at VMPL0 without bit 16 un-VMSAs the page.
        assert_eq!(adjust(rmp, Vmpl::Vmpl0, lower), DONE);
        assert!(!rmp.entry(FRAME).unwrap().vmsa());
        assert_eq!(adjust(rmp, Vmpl::Vmpl2, lower | 1 << 16), DONE);
        assert!(!rmp.entry(FRAME).unwrap().vmsa());
    });
}

#[test]
fn rmpadjust_faults_in_the_specified_order() {
    // Not validated: #VC 0x404 in the executing VMPL.
    with_page(PageSize::Size4K, false, |rmp| {
        let outcome = adjust(rmp, Vmpl::Vmpl0, 1);
        assert!(matches!(
            outcome,
            Outcome::Violation(Violation {
                rule: Rule::NotValidated,
                effect: Effect::Vc { error_code: 0x404 },
                ..
            })
        ));
    });
    // 4 KiB within 2 MiB: exit, whether validated or not.
    with_page(PageSize::Size2M, false, |rmp| {
        let (rule, bits) = nested_fault(adjust(rmp, Vmpl::Vmpl0, 1));
        assert_eq!(rule, Rule::SizeMismatch);
        assert_ne!(bits & npf::SIZE_MISMATCH, 0);
        rmp.psmash(FRAME).unwrap();
        validate(rmp, PageSize::Size4K, true);
        let op = RmpAdjust::decode(CALLER, GPA, 1, 1).unwrap();
        assert_eq!(
            rmpadjust(rmp, &op, mapping()),
            code(result::FAIL_SIZEMISMATCH)
        );
        let shared = Mapping {
            private: false,
            ..mapping()
        };
        assert_eq!(
            rmpadjust(rmp, &op, shared),
            Outcome::PageFault { error_code: 9 }
        );
    });
}

#[test]
fn rmpquery_shows_what_rmpadjust_wrote() {
    with_page(PageSize::Size4K, true, |rmp| {
        let rdx = rmpadjust_rdx(
            Vmpl::Vmpl2,
            RmpPermissions::READ | RmpPermissions::WRITE,
            true,
        );
        assert_eq!(adjust(rmp, Vmpl::Vmpl0, rdx), DONE);
        let query = |vmpl, target| {
            let op = RmpQuery::decode(Caller { vmpl, ..CALLER }, GPA, target).unwrap();
            rmpquery(rmp, &op, mapping())
        };
        assert_eq!(query(Vmpl::Vmpl0, 2), Outcome::Queried { rdx, rcx: 0 });
        assert_eq!(query(Vmpl::Vmpl2, 1), code(result::FAIL_PERMISSION));
        assert_eq!(query(Vmpl::Vmpl2, 9), code(result::FAIL_PERMISSION));
    });
}

#[test]
fn rflags_are_those_of_a_comparison_with_zero() {
    const ALL: u64 = 0x8D5;
    // ZF | PF for 0; nothing for 1 and 2 (odd parity); PF for 3 and 6.
    assert_eq!(DONE.rflags(0x202 | ALL), 0x202 | 0x44);
    assert_eq!(NO_CHANGE.rflags(0x202), 0x202 | 0x45);
    assert_eq!(code(1).rflags(0x202 | ALL), 0x202);
    assert_eq!(code(6).rflags(0x202), 0x202 | 0x04);
    assert_eq!(Outcome::GeneralProtection.rflags(0x8D7), 0x8D7);
}

// Accesses, 2.1 and 2.3.

#[test]
fn private_accesses_are_checked_in_order() {
    let access = Access::WRITE;
    let hypervisor = RmpEntry::HYPERVISOR;
    let mut entry = RmpEntry::assigned_to(GPA, PageSize::Size4K, false);
    let check = |entry, gpa| check_access(entry, Vmpl::Vmpl2, gpa, access, true);

    assert_eq!(check(hypervisor, GPA).unwrap_err().rule, Rule::NotAssigned);
    assert_eq!(
        check(entry, GPA + 0x1000).unwrap_err().rule,
        Rule::WrongGpa { rmp: GPA }
    );
    let not_validated = check(entry, GPA).unwrap_err();
    assert_eq!(not_validated.effect, Effect::Vc { error_code: 0x404 });
    entry.set_validated(true);
    let no_right = check(entry, GPA + 8).unwrap_err();
    assert_eq!(
        no_right.effect,
        Effect::NestedFault {
            exit_info_1: npf::PRESENT
                | npf::WRITE
                | npf::USER
                | npf::RMP
                | npf::FINAL
                | npf::ENCRYPTED
                | npf::VMPL
        }
    );
    entry.set_permissions(Vmpl::Vmpl2, RmpPermissions::WRITE);
    assert_eq!(check(entry, GPA + 8), Ok(Grant::Plain));
}

#[test]
fn each_permission_covers_its_kind_of_access() {
    let accesses = [
        (Access::READ, RmpPermissions::READ),
        (Access::READ.at(true), RmpPermissions::READ),
        (Access::WRITE, RmpPermissions::WRITE),
        (Access::EXECUTE, RmpPermissions::EXECUTE_SUPERVISOR),
        (Access::EXECUTE.at(true), RmpPermissions::EXECUTE_USER),
        (Access::TABLE_READ, RmpPermissions::READ),
        (
            Access::TABLE_WRITE,
            RmpPermissions::READ.union(RmpPermissions::WRITE),
        ),
    ];
    let mut entry = RmpEntry::assigned_to(GPA, PageSize::Size4K, false);
    entry.set_validated(true);
    for (access, needed) in accesses {
        for bits in 0..16 {
            let has = RmpPermissions::from_bits_retain(bits);
            entry.set_permissions(Vmpl::Vmpl3, has);
            let result = check_access(entry, Vmpl::Vmpl3, GPA, access, true);
            assert_eq!(result.is_ok(), has.contains(needed), "{access:?} {has:?}");
        }
    }
}

#[test]
fn shared_accesses_are_checked_for_writes_only() {
    let mut entry = RmpEntry::assigned_to(GPA, PageSize::Size4K, false);
    entry.set_validated(true);
    let check = |entry, access| check_access(entry, Vmpl::Vmpl0, GPA, access, false);
    // AMDSEV#219: a C=0 read of a private page shows ciphertext.
    assert_eq!(check(entry, Access::READ), Ok(Grant::Ciphertext));
    let violation = check(entry, Access::WRITE).unwrap_err();
    assert_eq!(violation.rule, Rule::SharedWriteToPrivate);
    let Effect::NestedFault { exit_info_1 } = violation.effect else {
        panic!("{violation:?}");
    };
    assert_eq!(exit_info_1 & (npf::RMP | npf::ENCRYPTED), npf::RMP);
    assert_eq!(check(RmpEntry::HYPERVISOR, Access::WRITE), Ok(Grant::Plain));
    // 2.3: fetches and page walks are private whatever the C-bit says.
    for access in [Access::EXECUTE, Access::TABLE_READ] {
        let violation = check(RmpEntry::HYPERVISOR, access).unwrap_err();
        assert_eq!(violation.rule, Rule::NotAssigned);
    }
}

#[test]
fn an_access_round_trips_through_exitinfo1() {
    for access in [
        Access::READ,
        Access::WRITE,
        Access::EXECUTE,
        Access::TABLE_READ,
        Access::TABLE_WRITE,
    ] {
        assert_eq!(Access::from_npf(access.exit_info_1(true), 0), access);
    }
    assert!(Access::from_npf(npf::FINAL, 3).user);
    assert!(!Access::from_npf(npf::TABLE_WALK, 3).user);
}

fn any_entry() -> impl Strategy<Value = RmpEntry> {
    (any::<[bool; 4]>(), any::<[u8; 4]>()).prop_map(|([validated, vmsa, in_use, large], rights)| {
        let size = if large {
            PageSize::Size2M
        } else {
            PageSize::Size4K
        };
        let mut entry = RmpEntry::assigned_to(GPA, size, false);
        entry.set_validated(validated);
        entry.set_vmsa(vmsa);
        entry.set_in_use(in_use);
        for (vmpl, bits) in Vmpl::ALL.into_iter().zip(rights) {
            entry.set_permissions(vmpl, RmpPermissions::from_bits_truncate(bits & 0xF));
        }
        entry
    })
}

fn any_vmpl() -> impl Strategy<Value = Vmpl> {
    (0..4usize).prop_map(|n| Vmpl::ALL[n])
}

proptest! {
    #[test]
    fn rmpadjust_never_grants_a_right_the_caller_lacks(
        entry in any_entry(), vmpl in any_vmpl(), rcx in 0u64..2, rdx in any::<u64>(),
    ) {
        let mut entries = entries();
        entries[FRAME as usize] = entry;
        let mut rmp = Rmp::new(0, &mut entries);
        let op = RmpAdjust::decode(Caller { vmpl, ..CALLER }, GPA, rcx, rdx).unwrap();
        let outcome = rmpadjust(&mut rmp, &op, mapping());
        let after = rmp.entry(FRAME).unwrap();
        if outcome == DONE {
            for other in Vmpl::ALL {
                let gained = after.permissions(other) - entry.permissions(other);
                prop_assert!(entry.permissions(vmpl).contains(gained));
                if other <= vmpl {
                    prop_assert_eq!(after.permissions(other), entry.permissions(other));
                }
            }
        } else {
            prop_assert_eq!(after, entry);
        }
        prop_assert!(vmpl == Vmpl::Vmpl0 || after.vmsa() == entry.vmsa());
    }

    #[test]
    fn a_pvalidate_that_is_repeated_sets_carry(
        entry in any_entry(), rcx in 0u64..2, value in any::<bool>(),
    ) {
        let mut entries = entries();
        entries[FRAME as usize] = entry;
        let mut rmp = Rmp::new(0, &mut entries);
        let op = Pvalidate::decode(CALLER, GPA, rcx, u64::from(value)).unwrap();
        let first = pvalidate(&mut rmp, &op, mapping());
        let after = rmp.entry(FRAME).unwrap();
        let second = pvalidate(&mut rmp, &op, mapping());
        if first == DONE || first == NO_CHANGE {
            prop_assert_eq!(second, NO_CHANGE);
            prop_assert_eq!(after.validated(), value);
        } else {
            prop_assert_eq!(after, entry);
            prop_assert_eq!(second, first);
        }
        prop_assert_eq!(rmp.entry(FRAME).unwrap(), after);
    }
}
