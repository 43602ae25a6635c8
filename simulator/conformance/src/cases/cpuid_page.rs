//! The CPUID page as the firmware would have let it pass, and the secrets page (56860 §8.17.2; QEMU's list of bits that
//! fail the check; what Linux needs to find).

use guest_rt::report::{check, check_that, skip};
use guest_rt::{paging, params};
use snp_abi::cpuid::{CpuidEntry, MAX_ENTRIES, sev};

fn find(leaf: u32, subleaf: u32) -> Option<CpuidEntry> {
    params::cpuid_entries().find(|e| e.eax_in.get() == leaf && e.ecx_in.get() == subleaf)
}

/// Runs the group.
pub fn run() {
    let count = params::cpuid_entries().count();
    check_that(
        "cpuid-count",
        (1..=MAX_ENTRIES).contains(&count),
        "1 to 64",
        count,
    );
    let reserved = params::cpuid_entries().all(|e| e.reserved.get() == 0);
    check("cpuid-reserved-zero", true, reserved);
    unique();
    leaves();
    masked();
    extended_state();
    sev_leaf();
    secrets();
}

fn unique() {
    let key = |e: &CpuidEntry| {
        (
            e.eax_in.get(),
            e.ecx_in.get(),
            e.xcr0_in.get(),
            e.xss_in.get(),
        )
    };
    let twice = params::cpuid_entries()
        .enumerate()
        .find(|(i, e)| {
            params::cpuid_entries()
                .skip(i + 1)
                .any(|other| key(&other) == key(e))
        })
        .map(|(_, e)| key(&e));
    check("cpuid-entries-unique", None, twice);
}

fn leaves() {
    let zero = find(0, 0).unwrap_or_default();
    check("cpuid-vendor", *b"AuthenticAMD", {
        let mut vendor = [0; 12];
        for (i, word) in [zero.ebx, zero.edx, zero.ecx].iter().enumerate() {
            vendor[i * 4..i * 4 + 4].copy_from_slice(&word.get().to_le_bytes());
        }
        vendor
    });
    // Linux asks for leaf 0xB for the x2APIC ID.
    let max = zero.eax.get();
    check_that("cpuid-leaf-0", max >= 0xB, "at least 0xB", max);
    for (name, leaf) in [
        ("cpuid-has-leaf-1", 1),
        ("cpuid-has-leaf-7", 7),
        ("cpuid-has-leaf-80000000", 0x8000_0000),
        ("cpuid-has-leaf-80000001", 0x8000_0001),
        ("cpuid-has-leaf-80000008", 0x8000_0008),
    ] {
        check(name, true, find(leaf, 0).is_some());
    }
    let max = find(0x8000_0000, 0).unwrap_or_default().eax.get();
    check_that(
        "cpuid-extended-max",
        max >= sev::LEAF,
        "at least 0x8000001F",
        max,
    );
    let one = find(1, 0).unwrap_or_default();
    check("cpuid-hypervisor-bit", 1, one.ecx.get() >> 31);
    check("cpuid-rdrand", 1, one.ecx.get() >> 30 & 1);
    check("cpuid-apic", 1, one.edx.get() >> 9 & 1);
    check("cpuid-sse2", 1, one.edx.get() >> 26 & 1);
    let hypervisor = find(0x4000_0000, 0).unwrap_or_default();
    let text =
        [hypervisor.ebx, hypervisor.ecx, hypervisor.edx].map(|word| word.get().to_le_bytes());
    check(
        "cpuid-hypervisor-leaf",
        [*b"KVMK", *b"VMKV", *b"M\0\0\0"],
        text,
    );
}

/// Bits that the firmware's check fails.
fn masked() {
    let bits = |leaf, subleaf, register: fn(&CpuidEntry) -> u32, mask: u32| {
        find(leaf, subleaf).map_or(0, |e| register(&e) & mask)
    };
    check(
        "cpuid-no-tsc-deadline",
        0,
        bits(1, 0, |e| e.ecx.get(), 1 << 24),
    );
    check(
        "cpuid-no-tsc-adjust",
        0,
        bits(7, 0, |e| e.ebx.get(), 1 << 1),
    );
    check(
        "cpuid-no-speculation-controls",
        0,
        bits(7, 0, |e| e.edx.get(), 0x3F << 26),
    );
    check(
        "cpuid-no-virt-ssbd",
        0,
        bits(0x8000_0008, 0, |e| e.ebx.get(), 1 << 25),
    );
}

/// Leaf 0xD: subleaves 0 and 1 with sizes for the XCR0 that they are for (1 or 3), and an entry for each state
/// component.
fn extended_state() {
    if find(1, 0).is_none_or(|leaf| leaf.ecx.get() >> 26 & 1 == 0) {
        return skip("cpuid-xsave", "the page has no XSAVE");
    }
    for (name, subleaf) in [("cpuid-xsave-0", 0), ("cpuid-xsave-1", 1)] {
        let Some(e) = find(0xD, subleaf) else {
            check(name, true, false);
            continue;
        };
        let input = (e.xcr0_in.get(), e.xss_in.get());
        check_that(
            name,
            matches!(input, (1 | 3, 0)),
            "xcr0_in 1 or 3, xss_in 0",
            input,
        );
    }
    let Some(zero) = find(0xD, 0) else { return };
    check("cpuid-xsave-size-for-xcr0-in", 0x240, zero.ebx.get());
    let components = zero.eax.get() as u64 | (zero.edx.get() as u64) << 32;
    let missing = (2..63).find(|n| components >> n & 1 != 0 && find(0xD, *n as u32).is_none());
    check("cpuid-xsave-components-listed", None, missing);
}

fn sev_leaf() {
    let leaf = find(sev::LEAF, 0).unwrap_or_default();
    let required = sev::EAX_SEV | sev::EAX_SEV_ES | sev::EAX_SNP | sev::EAX_VMPL;
    check("cpuid-sev-features", required, leaf.eax.get() & required);
    check("cpuid-no-sme", 0, leaf.eax.get() & 1);
    check(
        "cpuid-no-svsm-bit",
        0,
        leaf.eax.get() & sev::EAX_SVSM_CAA_MSR,
    );
    check(
        "cpuid-c-bit",
        paging::c_bit(),
        1 << (leaf.ebx.get() & sev::EBX_C_BIT_MASK),
    );
    check("cpuid-vmpl-count", 4, leaf.ebx.get() >> 12 & 0xF);
    let reduction = leaf.ebx.get() >> 6 & 0x3F;
    check_that(
        "cpuid-address-reduction",
        reduction >= 1,
        "at least 1",
        reduction,
    );
}

fn secrets() {
    let secrets = params::secrets();
    check_that(
        "secrets-version",
        secrets.version.get() >= 2,
        "at least 2",
        secrets.version.get(),
    );
    let zero = secrets.vmpck.contains(&[0; 32]);
    check("secrets-keys-not-zero", false, zero);
    let k = &secrets.vmpck;
    let differ = (0..4).all(|i| (0..i).all(|j| k[i] != k[j]));
    check("secrets-keys-differ", true, differ);
    let svsm = (
        secrets.svsm_base.get(),
        secrets.svsm_size.get(),
        secrets.svsm_caa.get(),
    );
    check("secrets-no-svsm", (0, 0, 0), svsm);
    check("secrets-os-area-zero", [0; 96], secrets.os_area);
}
