//! Tests of the CPUID page. Expectations: what Linux's `sev-shared.c` and boot code need, QEMU's list of bits that real
//! firmware refuses, APM vol. 3 appendix E.

use super::*;
use crate::kvmclock;
use std::vec::Vec;
use zerocopy::FromZeros;

const CONFIG: Config = Config {
    geometry: crate::walk::test_memory::GEOMETRY,
    vcpus: 4,
    signature: None,
    kvmclock: false,
};

const ASKER: Asker = Asker {
    apic_id: 3,
    cr4: 0,
    xcr0: 1,
    xss: 0,
    apic_enabled: true,
};

/// A processor with every feature bit set.
fn everything(leaf: u32, subleaf: u32) -> Leaf {
    let ones = Leaf {
        eax: u32::MAX,
        ebx: u32::MAX,
        ecx: u32::MAX,
        edx: u32::MAX,
    };
    match (leaf, subleaf) {
        (0, _) => Leaf {
            eax: 0x20,
            ebx: 0x6874_7541,
            edx: 0x6974_6E65,
            ecx: 0x444D_4163,
        },
        (0x8000_0000, _) => Leaf {
            eax: 0x8000_0028,
            ..everything(0, 0)
        },
        (1, _) => Leaf {
            eax: 0x00A2_0F10,
            ..ones
        },
        (0xD, 2) => Leaf {
            eax: 256,
            ebx: 576,
            ecx: 0,
            edx: 0,
        },
        _ => ones,
    }
}

/// QEMU's TCG: XSAVE and AVX, but neither XSAVEC nor XSAVES.
fn tcg(leaf: u32, subleaf: u32) -> Leaf {
    match (leaf, subleaf) {
        (0, _) => Leaf {
            eax: 0xD,
            ..everything(0, 0)
        },
        (0x8000_0000, _) => Leaf {
            eax: 0x8000_000A,
            ..everything(0, 0)
        },
        (0xD, 1) => Leaf {
            eax: 5,
            ..Leaf::default()
        },
        _ => everything(leaf, subleaf),
    }
}

fn page(config: Config, host: fn(u32, u32) -> Leaf) -> CpuidPage {
    let mut page = CpuidPage::new_zeroed();
    build_page(&mut page, &config, host).unwrap();
    page
}

fn get(page: &CpuidPage, leaf: u32, subleaf: u32) -> Leaf {
    find(page, leaf, subleaf)
}

#[test]
fn bits_that_must_not_be_offered_are_clear() {
    let page = page(CONFIG, everything);
    let one = get(&page, 1, 0);
    // MONITOR, VMX, PDCM, PCID, TSC_DEADLINE, OSXSAVE.
    for bit in [3, 5, 15, 17, 24, 27] {
        assert_eq!(one.ecx >> bit & 1, 0, "1.ECX[{bit}]");
    }
    // MCE, MTRR, MCA.
    for bit in [7, 12, 14] {
        assert_eq!(one.edx >> bit & 1, 0, "1.EDX[{bit}]");
    }
    let seven = get(&page, 7, 0);
    // TSC_ADJUST, MPX, AVX512F.
    for bit in [1, 14, 16] {
        assert_eq!(seven.ebx >> bit & 1, 0, "7.EBX[{bit}]");
    }
    // PKU, OSPKE, WAITPKG, CET_SS, LA57.
    for bit in [3, 4, 5, 7, 16] {
        assert_eq!(seven.ecx >> bit & 1, 0, "7.ECX[{bit}]");
    }
    // IBT, SPEC_CTRL, STIBP, FLUSH_L1D, ARCH_CAP, CORE_CAP, SSBD.
    for bit in [20, 26, 27, 28, 29, 30, 31] {
        assert_eq!(seven.edx >> bit & 1, 0, "7.EDX[{bit}]");
    }
    assert_eq!(get(&page, 7, 1).eax >> 17 & 1, 0, "FRED");
    let extended = get(&page, 0x8000_0001, 0);
    // SVM, EXTAPIC, OSVW, IBS, SKINIT, PERFCTR_CORE, MONITORX.
    for bit in [2, 3, 9, 10, 12, 23, 29] {
        assert_eq!(extended.ecx >> bit & 1, 0, "80000001.ECX[{bit}]");
    }
    assert_eq!(get(&page, 0x8000_0008, 0).ebx >> 25 & 1, 0, "VIRT_SSBD");
    for leaf in [0xA, 0x21, 0x8000_000A, 0x8000_001B, 0x8000_0022] {
        assert_eq!(get(&page, leaf, 0), Leaf::default(), "{leaf:#x}");
    }
}

#[test]
fn what_linux_needs_is_there() {
    let page = page(CONFIG, everything);
    let one = get(&page, 1, 0);
    // x2APIC, RDRAND, hypervisor; APIC; SSE2.
    for bit in [21, 30, 31] {
        assert_eq!(one.ecx >> bit & 1, 1, "1.ECX[{bit}]");
    }
    for bit in [9, 26] {
        assert_eq!(one.edx >> bit & 1, 1, "1.EDX[{bit}]");
    }
    assert!(get(&page, 0x8000_0000, 0).eax >= 0x8000_001F);
    assert_eq!(get(&page, 0x8000_0007, 0).edx, 1 << 8);
    assert_eq!(get(&page, 0x8000_0008, 0).eax, 48 << 8 | 48);
    assert_eq!(get(&page, 6, 0).eax, 1 << 2);
}

#[test]
fn the_sev_leaf_is_synthesised() {
    let sev = get(&page(CONFIG, tcg), 0x8000_001F, 0);
    // SEV, ES, SNP, VMPL, RMPQUERY, coherent, restricted injection; not SME.
    assert_eq!(
        sev.eax,
        1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 12
    );
    assert_eq!(sev.ebx & 0x3F, 47);
    assert_eq!(sev.ebx >> 6 & 0x3F, 1, "the C-bit takes one address bit");
    assert_eq!(sev.ebx >> 12 & 0xF, 4);
    assert_eq!(sev.ebx >> 31, 1, "COHERENCY_SFW_NO");
}

#[test]
fn the_hypervisor_leaves_are_kvms() {
    let leaf = get(&page(CONFIG, tcg), 0x4000_0000, 0);
    assert_eq!(leaf.eax, 0x4000_0001);
    let name: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    assert_eq!(name, b"KVMKVMKVM\0\0\0");
    assert_eq!(get(&page(CONFIG, tcg), 0x4000_0001, 0), Leaf::default());
    let with_clock = Config {
        kvmclock: true,
        ..CONFIG
    };
    assert_eq!(
        get(&page(with_clock, tcg), 0x4000_0001, 0).eax,
        kvmclock::FEATURE_CLOCKSOURCE2 | kvmclock::FEATURE_CLOCKSOURCE_STABLE
    );
}

#[test]
fn state_leaves_are_as_firmware_fixes_them() {
    let page = page(CONFIG, everything);
    let states: Vec<_> = page
        .entries
        .iter()
        .filter(|entry| entry.eax_in.get() == 0xD)
        .map(|entry| {
            (
                entry.ecx_in.get(),
                entry.xcr0_in.get(),
                entry.xss_in.get(),
                entry.ebx.get(),
            )
        })
        .collect();
    // Linux looks for XCR0 1 or 3 with XSS 0, EBX 0x240, and a subleaf for each state from 2 on.
    assert_eq!(
        states,
        [
            (0, 1, 0, 0x240),
            (1, 1, 0, 0x240),
            (0, 3, 0, 0x240),
            (1, 3, 0, 0x240),
            (2, 0, 0, 576)
        ]
    );
    let zero = get(&page, 0xD, 0);
    assert_eq!((zero.eax, zero.edx, zero.ecx), (7, 0, 0x340));
    // XSAVEC must be there, XSAVES must not: supervisor states are not switched.
    assert_eq!(get(&page, 0xD, 1).eax & 0b1010, 0b0010);
}

#[test]
fn without_xsavec_there_is_no_xsave() {
    let page = page(CONFIG, tcg);
    let zero = get(&page, 0, 0);
    // Linux asks for leaf 0xD only up to here, and dies of a 0xD.1 without XSAVEC and XSAVES.
    assert_eq!(zero.eax, 0xB);
    assert_eq!(
        (zero.ebx, zero.edx, zero.ecx),
        (0x6874_7541, 0x6974_6E65, 0x444D_4163)
    );
    assert!(page.entries.iter().all(|entry| entry.eax_in.get() != 0xD));
    // FMA, XSAVE, AVX, F16C; AVX2; VAES, VPCLMULQDQ.
    assert_eq!(
        get(&page, 1, 0).ecx & (1 << 12 | 1 << 26 | 1 << 28 | 1 << 29),
        0
    );
    assert_eq!(get(&page, 7, 0).ebx & 1 << 5, 0);
    assert_eq!(get(&page, 7, 0).ecx & (1 << 9 | 1 << 10), 0);
    assert_ne!(
        get(&super::tests::page(CONFIG, everything), 1, 0).ecx & 1 << 26,
        0
    );
}

#[test]
fn no_two_entries_answer_the_same_question_and_the_rest_is_zero() {
    for host in [everything as fn(u32, u32) -> Leaf, tcg] {
        let page = page(CONFIG, host);
        let count = page.count.get() as usize;
        assert!((1..=64).contains(&count));
        let mut keys: Vec<_> = page.entries[..count]
            .iter()
            .map(|entry| (entry.eax_in.get(), entry.ecx_in.get(), entry.xcr0_in.get()))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
        assert!(
            page.entries[count..]
                .iter()
                .all(|entry| *entry == Default::default())
        );
        assert_eq!(page.reserved2.get(), 0);
    }
}

#[test]
fn hosts_that_cannot_carry_an_snp_guest_are_named() {
    let mut page = CpuidPage::new_zeroed();
    let intel = |leaf, subleaf| match leaf {
        0 => Leaf {
            eax: 0xD,
            ebx: 0x756E_6547,
            edx: 0x4965_6E69,
            ecx: 0x6C65_746E,
        },
        _ => tcg(leaf, subleaf),
    };
    assert!(matches!(
        build_page(&mut page, &CONFIG, intel),
        Err(BuildError::Vendor { .. })
    ));
    let no_rdrand = |leaf, subleaf| {
        let mut result = tcg(leaf, subleaf);
        if leaf == 1 {
            result.ecx &= !(1 << 30);
        }
        result
    };
    assert_eq!(
        build_page(&mut page, &CONFIG, no_rdrand),
        Err(BuildError::MissingFeature {
            leaf: 1,
            name: "RDRAND"
        })
    );
}

#[test]
fn topology_covers_the_vcpus() {
    for (vcpus, bits) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4)] {
        let page = page(Config { vcpus, ..CONFIG }, tcg);
        let size = get(&page, 0x8000_0008, 0).ecx;
        assert_eq!((size & 0xFF, size >> 12), (vcpus - 1, bits));
        let one = get(&page, 1, 0);
        assert_eq!(
            (one.ebx >> 16 & 0xFF, one.edx >> 28 & 1),
            (vcpus, u32::from(vcpus > 1))
        );
        assert_eq!(one.ebx >> 24, 0);
        let cores = get(&page, 0xB, 1);
        assert_eq!((cores.eax, cores.ebx, cores.ecx), (bits, vcpus, 0x201));
        let threads = get(&page, 0xB, 0);
        assert_eq!((threads.eax, threads.ebx, threads.ecx), (0, 1, 0x100));
    }
}

#[test]
fn a_signature_can_be_given() {
    let milan = Config {
        signature: Some(0x00A0_0F11),
        ..CONFIG
    };
    let page = page(milan, tcg);
    assert_eq!(get(&page, 1, 0).eax, 0x00A0_0F11);
    assert_eq!(get(&page, 0x8000_0001, 0).eax, 0x00A0_0F11);
}

#[test]
fn run_time_answers_carry_the_vcpus_own_values() {
    let page = page(CONFIG, everything);
    let one = answer(&page, &ASKER, 1, 0);
    assert_eq!(
        (one.ebx >> 24, one.edx >> 9 & 1, one.ecx >> 27 & 1),
        (3, 1, 0)
    );
    let other = Asker {
        cr4: 1 << 18,
        apic_enabled: false,
        ..ASKER
    };
    let one = answer(&page, &other, 1, 0);
    assert_eq!((one.edx >> 9 & 1, one.ecx >> 27 & 1), (0, 1));
    for subleaf in [0, 1, 2, 7] {
        let leaf = answer(&page, &ASKER, 0xB, subleaf);
        assert_eq!((leaf.edx, leaf.ecx & 0xFF), (3, subleaf));
    }
    let core = answer(&page, &ASKER, 0x8000_001E, 0);
    assert_eq!((core.eax, core.ebx & 0xFF, core.ecx & 0xFF), (3, 3, 0));
    // No entry: zeros. A subleaf that the leaf does not have is ignored.
    assert_eq!(answer(&page, &ASKER, 0x4000_0002, 0), Leaf::default());
    assert_eq!(
        answer(&page, &ASKER, 0x8000_0008, 5),
        get(&page, 0x8000_0008, 0)
    );
    assert_eq!(answer(&page, &ASKER, 7, 2), Leaf::default());
}

#[test]
fn the_size_of_the_state_follows_xcr0() {
    let page = page(CONFIG, everything);
    for (xcr0, size) in [(1, 0x240), (3, 0x240), (7, 0x340)] {
        let asker = Asker { xcr0, ..ASKER };
        assert_eq!(answer(&page, &asker, 0xD, 0).ebx, size);
        assert_eq!(answer(&page, &asker, 0xD, 1).ebx, size);
    }
}

#[test]
fn a_processor_without_nx_can_be_shown() {
    let mut page = page(CONFIG, everything);
    let nx = |page: &CpuidPage| find(page, 0x8000_0001, 0).edx & 1 << 20;
    assert_ne!(nx(&page), 0);
    let before = find(&page, 0x8000_0001, 0);
    hide_nx(&mut page);
    assert_eq!(nx(&page), 0);
    assert_eq!(find(&page, 0x8000_0001, 0).edx | 1 << 20, before.edx);
}
