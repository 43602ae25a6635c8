//! Tests of the MSR protocol. Values: 56421 §2.3.1 and the trace that Linux 7.3 leaves while it boots.

use super::*;

#[test]
fn requests_of_a_booting_linux() {
    for (value, expected) in [
        (0x80_9000, Request::GhcbPage { gpa: 0x80_9000 }),
        (0, Request::GhcbPage { gpa: 0 }),
        (0x002, Request::SevInfo),
        (
            0x8000_0000_0000_0004,
            Request::Cpuid {
                leaf: 0x8000_0000,
                register: CpuidRegister::Eax,
            },
        ),
        (
            0x8000_001F_C000_0004,
            Request::Cpuid {
                leaf: 0x8000_001F,
                register: CpuidRegister::Edx,
            },
        ),
        (0x006, Request::ApResetHold),
        (0x010, Request::PreferredGpa),
        (0x80_9012, Request::RegisterGpa { gpa: 0x80_9000 }),
        (
            0x0010_0000_0123_4014,
            Request::PageStateChange {
                gpa: 0x123_4000,
                operation: 1,
            },
        ),
        (
            0x0020_00FF_FFFF_F014,
            Request::PageStateChange {
                gpa: 0xFF_FFFF_F000,
                operation: 2,
            },
        ),
        (
            0x016,
            Request::RunVmpl {
                vmpl: Some(Vmpl::Vmpl0),
                asked: 0,
            },
        ),
        (
            0x2_0000_0016,
            Request::RunVmpl {
                vmpl: Some(Vmpl::Vmpl2),
                asked: 2,
            },
        ),
        (
            0x4_0000_0016,
            Request::RunVmpl {
                vmpl: None,
                asked: 4,
            },
        ),
        (0x080, Request::HvFeatures),
        (0x100, Request::Terminate { set: 0, reason: 0 }),
        (0x2_0100, Request::Terminate { set: 0, reason: 2 }),
        (0xB_1100, Request::Terminate { set: 1, reason: 11 }),
        (0x123, Request::Unknown { value: 0x123 }),
        (0x001, Request::Unknown { value: 0x001 }),
    ] {
        assert_eq!(decode(value), expected, "{value:#x}");
    }
}

#[test]
fn what_the_abi_encodes_is_decoded() {
    assert_eq!(
        decode(ghcb_msr::terminate(1, 7)),
        Request::Terminate { set: 1, reason: 7 }
    );
    assert_eq!(
        decode(ghcb_msr::psc_request(0x7000, ghcb_msr::PSC_SHARED)),
        Request::PageStateChange {
            gpa: 0x7000,
            operation: 2
        }
    );
}

#[test]
fn responses() {
    // Features 0, 1, 4 and 5: 0x33081, as in the trace.
    assert_eq!(hv_features_response(0x33), 0x3_3081);
    assert_eq!(ghcb_msr::sev_info(1, 2, 47), 0x0002_0001_2F00_0001);
    assert_eq!(
        cpuid_response(CpuidRegister::Eax, 0x8000_0021),
        0x8000_0021_0000_0005
    );
    // Linux's 32-bit code wants bits 29:12 zero; the register's number may stay.
    assert_eq!(cpuid_response(CpuidRegister::Edx, 1), 0x0000_0001_C000_0005);
    assert_eq!(register_gpa_response(Some(0x80_9000)), 0x80_9013);
    assert_eq!(register_gpa_response(None), 0xFFFF_FFFF_FFFF_F013);
    assert_eq!(NO_PREFERRED_GPA, 0xFFFF_FFFF_FFFF_F011);
    assert_eq!(AP_RESET_HOLD_DONE, 0x1007);
    assert_eq!(psc_response(0), 0x15);
    assert_eq!(psc_response(1), 0x1_0000_0015);
    assert_eq!(run_vmpl_response(0), 0x17);
}

#[test]
fn every_reason_of_linux_has_its_words() {
    for (set, reason, word) in [
        (0, 0, "specific"),
        (0, 1, "version"),
        (0, 2, "SNP"),
        (1, 0, "GHCB"),
        (1, 1, "page state"),
        (1, 2, "PVALIDATE"),
        (1, 3, "MULTI_VMPL"),
        (1, 4, "CPUID page"),
        (1, 5, "CPUID"),
        (1, 6, "secrets"),
        (1, 7, "svsm_size"),
        (1, 8, "VMPL0"),
        (1, 9, "calling area"),
        (1, 10, "SecureTSC"),
        (1, 11, "remap"),
        (1, 12, "AVIC"),
        (0, 99, "unknown"),
        (1, 99, "unknown"),
        (7, 0, "unknown"),
    ] {
        let text = termination_meaning(set, reason);
        assert!(text.contains(word), "{set}:{reason} is '{text}'");
    }
}
