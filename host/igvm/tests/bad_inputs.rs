//! Bad programs and policies: the builder refuses them and says why.

mod common;

use boot_abi::layout;
use common::{elf, guest};
use macadamia_igvm::build::{DEFAULT_POLICY, First, build};

#[test]
fn programs_out_of_place_are_refused() {
    let refused = |elf: &[u8], expected: &str| {
        let error = format!(
            "{:#}",
            build(&First::Payload(elf), DEFAULT_POLICY).unwrap_err()
        );
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    };
    let base = layout::GUEST_IMAGE_GPA;
    refused(
        &elf(0x5000, &[(0x5000, &[1], 1)]),
        "the ELF segment at 0x5000 to 0x5001 is not within",
    );
    refused(
        &elf(base, &[(base, &[1], 0x20_0000)]),
        "the ELF segment at 0x820000 to 0xa20000 is not within",
    );
    refused(&elf(base, &[(base, &[1], 1 << 60)]), "is not within");
    refused(
        &elf(base, &[(base, &[1], u64::MAX)]),
        "reaches past the address space",
    );
    refused(
        &elf(0x1_D000, &[(0x1_D000, &[1], 0x1001)]),
        "is not within 0x10000 to 0x1e000",
    );
    refused(
        &elf(base + 1, &[(base, &[1], 1)]),
        "the entry point 0x820001 is not in an ELF segment",
    );
    refused(
        &elf(layout::SVSM_BASE, &[(layout::SVSM_BASE, &[1], 1)]),
        "below 4 GiB",
    );
    refused(&elf(base, &[]), "the ELF file has no PT_LOAD segment");
    refused(
        &elf(base, &[(base, &[1; 2], 1)]),
        "has 0x2 bytes in the file, but only 0x1 in memory",
    );
}

#[test]
fn bad_elf_files_never_panic() {
    let good = guest();
    for length in 0..good.len() {
        assert!(
            build(&First::Payload(&good[..length]), DEFAULT_POLICY).is_err(),
            "{length}"
        );
    }
    for at in 0..64 + 56 {
        for value in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut bad = good.clone();
            bad[at] = value;
            // It may still be good; it must not panic, and what it gives must be good.
            let _ = build(&First::Payload(&bad), DEFAULT_POLICY);
        }
    }
}

#[test]
fn bad_policies_are_refused() {
    let payload = guest();
    for policy in [
        0,
        0x2_0000,
        0x1_0000,
        0x7_0000,
        0x13_0000,
        1 << 63 | 0x3_0000,
    ] {
        let error = format!(
            "{:#}",
            build(&First::Payload(&payload), policy).unwrap_err()
        );
        assert!(error.contains("policy"), "{error}");
    }
    build(&First::Payload(&payload), 0xB_0000).unwrap();
}
