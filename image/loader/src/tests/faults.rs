//! Bad files as a whole, and bad hosts: each gets one clear line, and the machine gets no call.

use alloc::format;
use alloc::string::{String, ToString};
use core::convert::Infallible;

use super::builder::*;
use crate::{
    HostParameters, Image, LoadError, Machine, MemoryMapEntry, MemoryMapEntryType, Page, PageKind,
    Platform,
};

/// A machine that must not be called.
struct Untouched;

impl Machine for Untouched {
    type Error = Infallible;
    fn guest_policy(&mut self, _: u64) -> Result<(), Infallible> {
        panic!("called for a bad file")
    }
    fn required_memory(&mut self, _: u64, _: u64) -> Result<(), Infallible> {
        panic!("called for a bad file")
    }
    fn page(&mut self, _: u64, _: PageKind, _: &Page) -> Result<(), Infallible> {
        panic!("called for a bad file")
    }
    fn vp_context(&mut self, _: u16, _: u64, _: &Page) -> Result<(), Infallible> {
        panic!("called for a bad file")
    }
}

/// The error of loading, as one line.
pub fn error_of(bytes: &[u8], host: &HostParameters<'_>) -> String {
    let result = Image::parse(bytes)
        .and_then(|image| image.select(Platform::SevSnp))
        .map_err(LoadError::File)
        .and_then(|selection| selection.load(host, &mut Untouched));
    let line = result.expect_err("a bad file was loaded").to_string();
    assert!(!line.contains('\n') && !line.is_empty(), "{line:?}");
    line
}

pub fn refused(headers: &[Tlv], expected: &str) {
    let map = ram();
    let line = error_of(&file(headers, GOOD_PAGES), &host(&map));
    assert!(line.contains(expected), "{line:?} lacks {expected:?}");
}

#[test]
fn truncated_at_every_length() {
    let bytes = file(&good(), GOOD_PAGES);
    let map = ram();
    for length in 0..bytes.len() {
        error_of(&bytes[..length], &host(&map));
    }
}

#[test]
fn extended_by_a_byte() {
    let mut bytes = file(&good(), GOOD_PAGES);
    bytes.push(0);
    let map = ram();
    assert!(error_of(&bytes, &host(&map)).contains("file size is"));
}

#[test]
fn every_bit_of_the_headers_flipped() {
    let bytes = file(&good(), GOOD_PAGES);
    let map = ram();
    let end = Image::parse(&bytes).unwrap().data_start();
    for bit in 0..end * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        error_of(&bytes, &host(&map));
    }
}

#[test]
fn every_byte_of_the_headers_set_to_every_extreme_with_the_right_checksum() {
    // With the checksum made right again the file may still be good, but must not make the loader panic.
    let good_bytes = file(&good(), GOOD_PAGES);
    let map = ram();
    let end = Image::parse(&good_bytes).unwrap().data_start();
    for at in (0..end).filter(|at| !(20..24).contains(at)) {
        for value in [0x00, 0x01, 0x7F, 0x80, 0xFF] {
            let mut bytes = good_bytes.clone();
            bytes[at] = value;
            seal(&mut bytes);
            let mut digest = launch_digest::LaunchDigest::new();
            let result = Image::parse(&bytes)
                .and_then(|image| image.select(Platform::SevSnp))
                .map_err(LoadError::File)
                .and_then(|selection| selection.load(&host(&map), &mut digest));
            if let Err(error) = result {
                assert!(!error.to_string().contains('\n'));
            }
        }
    }
}

#[test]
fn wrong_fixed_headers() {
    let map = ram();
    let change = |at: usize, value: u32, expected: &str| {
        let mut bytes = file(&good(), GOOD_PAGES);
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        if at != 20 {
            seal(&mut bytes);
        }
        let line = error_of(&bytes, &host(&map));
        assert!(line.contains(expected), "{line:?} lacks {expected:?}");
    };
    change(
        0,
        0x4D56_4748,
        "offset 0x0: magic is 0x4d564748, expected 0x4d564749",
    );
    change(4, 0, "offset 0x4: format version is 0x0, expected 1 or 2");
    change(4, 3, "offset 0x4: format version is 0x3, expected 1 or 2");
    change(
        8,
        16,
        "variable header offset is 0x10, expected an offset after the fixed header",
    );
    change(
        8,
        25,
        "variable header offset is 0x19, expected a multiple of 0x8",
    );
    change(8, 0xFFFF_FFF8, "the variable header section needs");
    change(
        12,
        9,
        "variable header size is 0x9, expected a multiple of 0x8",
    );
    change(
        12,
        0xFFFF_FFF8,
        "the variable header section needs 0xfffffff8 bytes",
    );
    change(16, 100, "offset 0x10: file size is 0x64, expected");
    change(
        20,
        0x1234_5678,
        "offset 0x14: checksum is 0x12345678, expected",
    );
}

#[test]
fn wrong_hosts() {
    let bytes = file(&good(), GOOD_PAGES);
    let map = ram();
    for vp_count in [0, 513, 600, u32::MAX] {
        let host = HostParameters {
            vp_count,
            ..host(&map)
        };
        assert_eq!(
            error_of(&bytes, &host),
            format!("{vp_count} virtual processors, expected 1 to 512")
        );
    }
    let wrong = |map: &[MemoryMapEntry], expected: &str| {
        let line = error_of(&bytes, &host(map));
        assert!(line.contains(expected), "{line:?} lacks {expected:?}");
    };
    let ram = |start, bytes| entry(start, bytes, MemoryMapEntryType::MEMORY);
    wrong(&[], "the memory map has no RAM");
    wrong(
        &[entry(0, 0x1000, MemoryMapEntryType::PLATFORM_RESERVED)],
        "the memory map has no RAM",
    );
    wrong(
        &[ram(0, 0x1000), ram(0x1000, 0)],
        "memory map entry 1 has no pages",
    );
    wrong(
        &[ram(0, 0x2000), ram(0x1000, 0x1000)],
        "memory map entry 1 (page 0x1) starts before the end of the one before it (page 0x2)",
    );
    wrong(
        &[ram(0x10_0000, 0x1000), ram(0, 0x1000)],
        "memory map entry 1 (page 0x0) starts before the end",
    );
    wrong(
        &[ram(0, (1 << 47) + 0x1000)],
        "memory map entry 0 (page 0x0, 0x800000001 pages) reaches past the highest address 0x800000000000",
    );
    let mut absurd = ram(0, 0x1000);
    absurd.starting_gpa_page_number = u64::MAX;
    wrong(&[absurd], "reaches past the highest address");
    absurd = ram(0, 0x1000);
    absurd.number_of_pages = u64::MAX;
    wrong(&[absurd], "reaches past the highest address");
    let reserved = entry(0x1_0000, 0x1_0000, MemoryMapEntryType::PLATFORM_RESERVED);
    wrong(
        &[ram(0, 0x1_0000), reserved, ram(0x2_0000, 0x1000_0000)],
        "page data at GPA 0x10000, 0x1000 bytes, is neither in RAM",
    );
    let oversized = [0u8; 0x2001];
    let line = error_of(
        &bytes,
        &HostParameters {
            madt: &oversized,
            ..host(&map)
        },
    );
    assert!(line.contains("MADT, 0x2001 bytes, does not fit at offset 0x0 of parameter area 7, which has 0x2000 bytes"), "{line}");
}

#[test]
fn scattered_pages_are_bounded() {
    let mut headers = good();
    let context = headers.pop().unwrap();
    headers.extend((0..5000).map(|index| page(0x100_0000 + index * 0x2000, None, NORMAL, 0)));
    headers.push(context);
    refused(
        &headers,
        "there are more than 4096 separate ranges of launched pages",
    );
}
