use super::{Load, executable, service};
use crate::service::elf::{Access, Image, MAX_HEADERS, MAX_SEGMENTS};
use proptest::prelude::*;
use service_abi::layout::{IMAGE_BASE, IMAGE_LIMIT, PAGE_SIZE};
use std::string::ToString;
use std::vec;
use std::vec::Vec;

const CODE: Load<'static> = (0x40_0000, 5, &[0xC3; 16], 16);

#[test]
fn a_service_is_laid_out_in_whole_pages() {
    let file = service();
    let image = Image::parse(&file).unwrap();
    assert_eq!(image.entry(), 0x40_1010);
    let segments: Vec<_> = image
        .segments()
        .map(|s| (s.va, s.file.len(), s.pages, s.access))
        .collect();
    assert_eq!(
        segments,
        [
            (0x40_0000, 0x20, 1, Access::ReadOnly),
            (0x40_1000, 0x1100, 2, Access::ReadExecute),
            (0x40_4000, 0x80, 4, Access::ReadWrite),
        ]
    );
    assert!(
        image
            .segments()
            .nth(1)
            .unwrap()
            .file
            .iter()
            .all(|&b| b == 0x22)
    );
}

#[test]
fn an_image_may_fill_its_place() {
    let file = executable(IMAGE_BASE, &[CODE, (0x40_1000, 6, &[], 0x3F_F000)]);
    let end = Image::parse(&file)
        .unwrap()
        .segments()
        .last()
        .unwrap()
        .end();
    assert_eq!(end, IMAGE_LIMIT);
}

#[test]
fn what_is_wrong_is_named() {
    let refused = |segments: &[Load<'_>], entry, expected: &str| {
        let error = Image::parse(&executable(entry, segments))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    };
    let cases: [(Load<'_>, &str); 14] = [
        ((0x40_1001, 6, &[], 1), "header 1: address is 0x401001"),
        (
            (0x40_0000, 6, &[], 1),
            "address is 0x400000; expected one within",
        ),
        ((0x3F_F000, 6, &[], 1), "address is 0x3ff000"),
        (
            (0x80_0000, 6, &[], 1),
            "size in memory is 0x1; expected so much that",
        ),
        ((0x7F_F000, 6, &[], 0x1001), "size in memory is 0x1001"),
        ((0x40_1000, 6, &[], u64::MAX), "size in memory is 0xffff"),
        ((0xFFFF_FFFF_8000_0000, 6, &[], 1), "size in memory"),
        ((0x40_1000, 6, &[1, 2], 1), "size in the file is 0x2"),
        ((0x40_1000, 6, &[1], 0), "size in the file is 0x1"),
        ((0x40_1000, 7, &[], 1), "rights 0x7"),
        ((0x40_1000, 3, &[], 1), "rights 0x3"),
        ((0x40_1000, 2, &[], 1), "rights 0x2"),
        ((0x40_1000, 0, &[], 1), "rights 0x0"),
        ((0x40_1000, 0x14, &[], 1), "rights 0x14"),
    ];
    for (segment, expected) in cases {
        refused(&[CODE, segment], 0x40_0000, expected);
    }
    refused(&[CODE], 0x40_0010, "the entry point 0x400010 is not");
    refused(&[CODE], 0, "the entry point 0x0 is not");
    refused(
        &[CODE, (0x40_1000, 6, &[1], 1)],
        0x40_1000,
        "the entry point",
    );
    // Zeros behind the file's bytes are no code.
    refused(
        &[(0x40_0000, 5, &[0xC3], 0x1000)],
        0x40_0001,
        "the entry point",
    );
    refused(&[], 0, "program header count is 0x0");
    let many: Vec<Load<'_>> = (0..=MAX_SEGMENTS as u64)
        .map(|n| (IMAGE_BASE + n * PAGE_SIZE, 5, &[0xC3; 1][..], 1))
        .collect();
    refused(&many, IMAGE_BASE, "more than 8 segments");
    let empty = vec![(IMAGE_BASE, 5, &[][..], 0); usize::from(MAX_HEADERS) + 1];
    refused(&empty, IMAGE_BASE, "program header count is 0x21");
}

#[test]
fn bad_headers_are_named() {
    let refused = |at: usize, value: &[u8], expected: &str| {
        let mut file = service();
        file[at..at + value.len()].copy_from_slice(value);
        let error = Image::parse(&file).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    };
    refused(1, b"F", "little-endian 64-bit");
    refused(4, &[1], "little-endian 64-bit");
    refused(5, &[2], "little-endian 64-bit");
    refused(16, &[3], "ELF type 3 for machine 62"); // position-independent
    refused(16, &[1], "ELF type 1 for machine 62"); // relocatable
    refused(18, &[3], "ELF type 2 for machine 3");
    refused(32, &[0xFF; 8], "program header offset is 0xffff");
    refused(33, &[0xFF], "program header offset");
    refused(54, &[32], "program header size is 0x20");
    refused(64 + 8, &[0xFF; 8], "offset is 0xffff");
    for (kind, expected) in [
        (2, "dynamic linking"),
        (3, "interpreter"),
        (7, "thread-local"),
    ] {
        refused(64, &[kind], expected);
    }
    for length in 0..service().len() {
        assert!(Image::parse(&service()[..length]).is_err(), "{length}");
    }
}

#[test]
fn headers_that_load_nothing_are_passed_over() {
    let mut file = service();
    file[64..68].copy_from_slice(&0x6474_E551u32.to_le_bytes()); // PT_GNU_STACK
    assert_eq!(Image::parse(&file).unwrap().segments().count(), 2);
}

/// All that the kernel relies on.
fn assert_guarantees(file: &[u8]) {
    let Ok(image) = Image::parse(file) else {
        return;
    };
    let mut end = IMAGE_BASE;
    let mut entry_is_code = false;
    for segment in image.segments() {
        assert!(segment.va.is_multiple_of(PAGE_SIZE) && segment.va >= end);
        assert!((1..=(IMAGE_LIMIT - segment.va) / PAGE_SIZE).contains(&segment.pages));
        assert!(segment.file.len() as u64 <= segment.pages * PAGE_SIZE);
        assert!(file.as_ptr_range().start <= segment.file.as_ptr());
        end = segment.end();
        let bytes = segment.va..segment.va + segment.file.len() as u64;
        entry_is_code |= segment.access == Access::ReadExecute && bytes.contains(&image.entry());
    }
    assert!(entry_is_code && end <= IMAGE_LIMIT && image.segments().count() <= MAX_SEGMENTS);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_files_keep_the_guarantees_or_are_refused(
        changes in proptest::collection::vec((0usize..64 + 3 * 56, any::<u8>()), 1..6),
        words in proptest::collection::vec((0usize..28, any::<u64>()), 0..2),
        length in 0usize..0x1400,
    ) {
        let mut file = service();
        for (at, word) in words {
            file[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        for (at, byte) in changes {
            file[at] = byte;
        }
        assert_guarantees(&file);
        assert_guarantees(&file[..length.min(file.len())]);
    }

    #[test]
    fn segments_of_any_place_keep_the_guarantees_or_are_refused(
        segments in proptest::collection::vec(
            (0u64..0x410, 0u64..2, 4u32..7, 0usize..0x1800, 0u64..0x2000),
            0..10,
        ),
        entry in 0x40_0000u64..0x40_4000,
    ) {
        let bytes = [0xC3; 0x1800];
        let loads: Vec<Load<'_>> = segments
            .iter()
            .map(|&(page, odd, flags, file, more)| {
                let va = 0x3F_F000 + page * PAGE_SIZE + odd * (more & 0x10);
                (va, flags, &bytes[..file], file as u64 + more)
            })
            .collect();
        assert_guarantees(&executable(entry, &loads));
        let mut sorted = loads;
        sorted.sort_by_key(|load| load.0);
        assert_guarantees(&executable(entry, &sorted));
    }

    #[test]
    fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        assert!(Image::parse(&bytes).is_err());
    }
}
