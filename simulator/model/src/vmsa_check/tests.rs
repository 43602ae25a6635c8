//! Tests of VMRUN's checks. Expectations: APM vol. 2 §15.5.1 (illegal states), the VMSAs that Linux, OVMF and the image
//! builder make.

use super::*;
use snp_abi::vmsa::{DR6_RESET, DR7_RESET, G_PAT_RESET, Segment};

/// An AP's VMSA as Linux makes it (`wakeup_cpu_via_vmgexit`).
fn linux_ap() -> Vmsa {
    let mut vmsa: Vmsa = zerocopy::FromZeros::new_zeroed();
    vmsa.cs = Segment::new(0x9A00, 0x9A, 0xFFFF, 0x9_A000);
    for segment in [
        &mut vmsa.ds,
        &mut vmsa.es,
        &mut vmsa.fs,
        &mut vmsa.gs,
        &mut vmsa.ss,
    ] {
        *segment = Segment::new(0, 0x92, 0xFFFF, 0);
    }
    vmsa.ldtr = Segment::new(0, 0x82, 0xFFFF, 0);
    vmsa.tr = Segment::new(0, 0x83, 0xFFFF, 0);
    vmsa.cr4.set(0x40);
    vmsa.cr0.set(0x6000_0010);
    vmsa.dr6.set(DR6_RESET);
    vmsa.dr7.set(DR7_RESET);
    vmsa.rflags.set(2);
    vmsa.g_pat.set(G_PAT_RESET);
    vmsa.xcr0.set(1);
    vmsa.mxcsr.set(0x1F80);
    vmsa.x87_ftw.set(0x5555);
    vmsa.x87_fcw.set(0x40);
    vmsa.efer.set(0x1000);
    vmsa.vmpl = 2;
    vmsa.sev_features.set(1);
    vmsa
}

/// A kernel in long mode.
fn long_mode() -> Vmsa {
    let mut vmsa = linux_ap();
    vmsa.cs.attributes.set(0x29B);
    vmsa.cr0.set(0x8000_0033);
    vmsa.cr4.set(0x20);
    vmsa.efer.set(0x1D00);
    vmsa
}

fn refused(vmsa: &Vmsa) -> Option<&'static str> {
    check(vmsa, Vmpl::Vmpl2, None).err().map(|why| why.field)
}

#[test]
fn vmsas_of_linux_and_ovmf_run() {
    assert_eq!(refused(&linux_ap()), None);
    assert_eq!(refused(&long_mode()), None);
    // OVMF leaves TR's attributes at 0 and gives LDTR type 3.
    let mut ovmf = linux_ap();
    ovmf.tr.attributes.set(0);
    ovmf.ldtr.attributes.set(0x83);
    assert_eq!(refused(&ovmf), None);
    // The image builder's: 32-bit flat protected mode, CR0 0x11.
    let mut flat = linux_ap();
    flat.cr0.set(0x11);
    flat.cs.attributes.set(0xC9B);
    assert_eq!(refused(&flat), None);
}

#[test]
fn each_illegal_state_is_named() {
    type Change = fn(&mut Vmsa);
    let changes: &[(&str, Change)] = &[
        ("EFER", |v| v.efer.set(0xD00)),
        ("EFER", |v| v.efer.set(0x1D02)),
        ("EFER", |v| v.efer.set(0x1900)),
        ("CR0", |v| v.cr0.set(1 << 32 | 0x8000_0033)),
        ("CR0", |v| v.cr0.set(0xA000_0033)),
        ("CR0", |v| v.cr0.set(0x8000_0032)),
        ("CR4", |v| v.cr4.set(0)),
        ("CR4", |v| v.cr4.set(0x20 | 1 << 12)),
        ("CR4", |v| v.cr4.set(0x20 | 1 << 23)),
        ("CR4", |v| v.cr4.set(0x20 | 1 << 32)),
        ("CS.attributes", |v| v.cs.attributes.set(0x69B)),
        ("DR6", |v| v.dr6.set(1 << 32)),
        ("DR7", |v| v.dr7.set(1 << 32)),
        ("G_PAT", |v| v.g_pat.set(2)),
        ("XCR0", |v| v.xcr0.set(0)),
        ("XCR0", |v| v.xcr0.set(5)),
        ("XCR0", |v| v.xcr0.set(0xE7)),
        ("VMPL", |v| v.vmpl = 1),
        ("SEV_FEATURES", |v| v.sev_features.set(0)),
        ("SEV_FEATURES", |v| v.sev_features.set(1 | 1 << 3 | 1 << 4)),
        ("SEV_FEATURES", |v| v.sev_features.set(1 | 1 << 2)),
    ];
    for (field, change) in changes {
        let mut vmsa = long_mode();
        change(&mut vmsa);
        assert_eq!(refused(&vmsa), Some(*field));
    }
}

#[test]
fn a_level_keeps_its_features() {
    let vmsa = linux_ap();
    let own = SevFeatures::SNP_ACTIVE;
    assert_eq!(check(&vmsa, Vmpl::Vmpl2, Some(own)), Ok(()));
    let other = own | SevFeatures::RESTRICTED_INJECTION;
    let why = check(&vmsa, Vmpl::Vmpl2, Some(other)).unwrap_err();
    assert_eq!((why.field, why.value), ("SEV_FEATURES", 1));
}

#[test]
fn the_message_has_field_value_and_rule() {
    let mut vmsa = linux_ap();
    vmsa.efer.set(0x500);
    let why = check(&vmsa, Vmpl::Vmpl2, None).unwrap_err();
    let text = std::format!("{why}");
    assert!(text.starts_with("EFER is 0x500: SVME"), "{text}");
}
