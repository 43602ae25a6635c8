//! The launch digest against two computations that share no code with it: answers that the package sev-snp-measure 0.0.13
//! (its class GCTX) gave for the same pages, and PAGE_INFO written byte by byte from the firmware ABI (56860 §8.17.2).

use launch_digest::{LaunchDigest, PageType};
use sha2::{Digest, Sha384};

fn data_page() -> [u8; 4096] {
    core::array::from_fn(|index| (index * 7 + 3) as u8)
}

fn vmsa_page() -> [u8; 4096] {
    core::array::from_fn(|index| (index * index + 1) as u8)
}

/// One page after the other: type, GPA, and the digest after it as sev-snp-measure computes it.
const STEPS: [(PageType, u64, &str); 6] = [
    (
        PageType::Normal,
        0x1_0000,
        "48993f667b2ef766532abfd1ea99e9371844d587bafbf2d8210348e38ccff328c309a6e2057aeb5c192b7f8022fd8467",
    ),
    (
        PageType::Zero,
        0x1_1000,
        "5e4f5bc33d8353d2d4d3eb98cb399b8803ba4936f0225c441f8f20d8c71969128b2659d7fe13c1dcd2b85e28cf1ed9eb",
    ),
    (
        PageType::Unmeasured,
        0x80_007f_1000,
        "ec6534a942bf596879613371af0b4f0946c4685793f9bed245134de918ae3ab63e0cb7d2c0ce32e4b47fcebfd70962c5",
    ),
    (
        PageType::Cpuid,
        0x1_e000,
        "905f1bb1a47aab96436050f0632f2f00c579de6c002cc8f38eb474493d9303c595935466555999db46ed896c2918de53",
    ),
    (
        PageType::Secrets,
        0x1_f000,
        "036da9ef617b567218ceaaa928e3a7e7c731bc3f9af2b008151707427ec276144272b995082382541fe64da55c8ccecb",
    ),
    (
        PageType::Vmsa,
        0xffff_ffff_f000,
        "a02637c5341fa10bffc471a251ae3b2ca6cc1bd5de28b5ba7686f50593b807994419a79321db63da711f83d51bfca279",
    ),
];

fn contents(page_type: PageType) -> [u8; 4096] {
    if page_type == PageType::Vmsa {
        vmsa_page()
    } else {
        data_page()
    }
}

#[test]
fn every_page_type_agrees_with_sev_snp_measure() {
    let mut digest = LaunchDigest::new();
    for (page_type, gpa, expected) in STEPS {
        digest.update(page_type, gpa, &contents(page_type));
        assert_eq!(digest.to_string(), expected, "{page_type:?}");
    }
}

#[test]
fn every_page_type_agrees_with_the_firmware_abi() {
    let mut digest = LaunchDigest::new();
    let mut expected = [0u8; 48];
    for (page_type, gpa, _) in STEPS {
        let contents = contents(page_type);
        digest.update(page_type, gpa, &contents);
        // DIGEST_CUR, CONTENTS, LENGTH, PAGE_TYPE, IMI_PAGE, reserved, three permissions, GPA.
        let mut info = [0u8; 0x70];
        info[..0x30].copy_from_slice(&expected);
        if matches!(page_type as u8, 1 | 2) {
            info[0x30..0x60].copy_from_slice(&Sha384::digest(contents));
        }
        info[0x60] = 0x70;
        info[0x62] = page_type as u8;
        info[0x68..].copy_from_slice(&gpa.to_le_bytes());
        expected = Sha384::digest(info).into();
        assert_eq!(digest.as_bytes(), &expected, "{page_type:?}");
    }
}

#[test]
fn the_page_types_have_the_firmware_abis_numbers() {
    let numbers = [
        PageType::Normal,
        PageType::Vmsa,
        PageType::Zero,
        PageType::Unmeasured,
        PageType::Secrets,
        PageType::Cpuid,
    ]
    .map(|page_type| page_type as u8);
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn nothing_launched_is_zeros() {
    assert_eq!(LaunchDigest::new().as_bytes(), &[0; 48]);
    assert_eq!(LaunchDigest::default().to_string(), "0".repeat(96));
}

#[test]
fn order_type_address_and_measured_contents_count_and_nothing_else() {
    let digest = |pages: &[(PageType, u64, u8)]| {
        let mut digest = LaunchDigest::new();
        for &(page_type, gpa, byte) in pages {
            digest.update(page_type, gpa, &[byte; 4096]);
        }
        digest
    };
    use PageType::{Normal, Secrets, Unmeasured, Zero};
    let base = digest(&[(Normal, 0x1000, 1), (Normal, 0x2000, 2)]);
    assert_ne!(base, digest(&[(Normal, 0x2000, 2), (Normal, 0x1000, 1)]));
    assert_ne!(base, digest(&[(Normal, 0x1000, 1), (Normal, 0x3000, 2)]));
    assert_ne!(base, digest(&[(Normal, 0x1000, 1), (Normal, 0x2000, 3)]));
    assert_ne!(
        base,
        digest(&[(Normal, 0x1000, 1), (Unmeasured, 0x2000, 2)])
    );
    for page_type in [Zero, Unmeasured, Secrets, PageType::Cpuid] {
        assert_eq!(
            digest(&[(page_type, 0, 1)]),
            digest(&[(page_type, 0, 2)]),
            "{page_type:?}"
        );
    }
    assert_ne!(digest(&[(Zero, 0, 0)]), digest(&[(Normal, 0, 0)]));
}
