//! Tests of the MSR policy. Expectations: KVM's pass-through list (`sev_es_recalc_msr_intercepts`) and Linux's MSR
//! accesses while it boots.

use super::*;

#[test]
fn what_must_not_raise_vc_does_not() {
    // SEV_STATUS, GHCB, EFER, FS/GS/KERNEL_GS base, STAR family, SYSENTER, PAT, XSS, TSC_AUX.
    for number in [
        0xC001_0131,
        0xC001_0130,
        0xC000_0080,
        0xC000_0100,
        0xC000_0101,
        0xC000_0102,
        0xC000_0081,
        0xC000_0082,
        0xC000_0083,
        0xC000_0084,
        0x174,
        0x175,
        0x176,
        0x277,
        0xDA0,
        0xC000_0103,
    ] {
        assert_ne!(direct(number), Direct::Vc, "{number:#x}");
    }
}

#[test]
fn everything_else_does() {
    // TSC, APIC_BASE, patch level, deadline, x2APIC, SYSCFG, HWCR, VM_CR, kvmclock, SVSM_CAA, GUEST_TSC_FREQ.
    for number in [
        0x10,
        0x1B,
        0x8B,
        0x6E0,
        0x802,
        0xC001_0010,
        0xC001_0015,
        0xC001_0114,
        0x4B56_4D00,
        0xC001_F000,
        0xC001_0134,
        0x48,
        0,
        u32::MAX,
    ] {
        assert_eq!(direct(number), Direct::Vc, "{number:#x}");
    }
}

#[test]
fn linux_gets_answers_to_what_it_reads_unasked() {
    for number in [
        0x8B,
        0xC001_0010,
        0xC001_0015,
        0xC001_0114,
        0xC001_1029,
        0xC001_0058,
    ] {
        assert_ne!(emulated(number), Emulated::GeneralProtection, "{number:#x}");
    }
    // HWCR[24], or: "[Firmware Bug]: TSC doesn't count with P0 frequency!"
    assert_eq!(emulated(0xC001_0015), Emulated::Constant(1 << 24));
    assert_eq!(emulated(0x1B), Emulated::ApicBase);
    assert_eq!(emulated(0x80B), Emulated::X2Apic);
    for number in [
        0x48,
        0x10A,
        0xFE,
        0x200,
        0x2FF,
        0x179,
        0xC001_F000,
        0xC001_0132,
        0x900,
    ] {
        assert_eq!(emulated(number), Emulated::GeneralProtection, "{number:#x}");
    }
}

#[test]
fn efer_rules() {
    const LONG: u64 = 0x1D01; // SVME, NXE, LMA, LME, SCE.
    for (old, new, paging, expected) in [
        (LONG, LONG, true, Some(LONG)),
        // LMA is the processor's.
        (0x1000, 0x1500, false, Some(0x1100)),
        (LONG, 0x1901, true, Some(LONG)),
        // LME may not change under paging.
        (LONG, LONG & !0x100, true, None),
        (0x1000, 0x1100, true, None),
        (0x1000, 0x1100, false, Some(0x1100)),
        // Reserved: bit 1, LMSLE (13), TCE (15).
        (LONG, LONG | 2, true, None),
        (LONG, LONG | 1 << 13, true, None),
        (LONG, LONG | 1 << 63, true, None),
        // SVME can be cleared; the next VMRUN fails.
        (LONG, 0xD01, true, Some(0xD01)),
    ] {
        assert_eq!(
            write_efer(old, new, paging),
            expected,
            "{old:#x} -> {new:#x}"
        );
    }
}

#[test]
fn pat_bytes_are_memory_types() {
    assert!(pat_is_valid(snp_abi::vmsa::G_PAT_RESET));
    assert!(pat_is_valid(0x0001_0405_0607_0000));
    for bad in [2, 3, 8, 0x0200_0000_0000_0000, u64::MAX] {
        assert!(!pat_is_valid(bad), "{bad:#x}");
    }
}
