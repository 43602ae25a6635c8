//! Bad files and bad hosts: each gets one clear line, and the machine gets no call.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
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
fn error_of(bytes: &[u8], host: &HostParameters<'_>) -> String {
    let result = Image::parse(bytes)
        .and_then(|image| image.select(Platform::SevSnp))
        .map_err(LoadError::File)
        .and_then(|selection| selection.load(host, &mut Untouched));
    let line = result.expect_err("a bad file was loaded").to_string();
    assert!(!line.contains('\n') && !line.is_empty(), "{line:?}");
    line
}

fn refused(headers: &[Tlv], expected: &str) {
    let map = ram();
    let line = error_of(&file(headers, GOOD_PAGES), &host(&map));
    assert!(line.contains(expected), "{line:?} lacks {expected:?}");
}

/// The good headers with a change.
fn with(change: impl FnOnce(&mut Vec<Tlv>)) -> Vec<Tlv> {
    let mut headers = good();
    change(&mut headers);
    headers
}

fn index_of(headers: &[Tlv], typ: u32) -> usize {
    headers.iter().position(|header| header.0 == typ).unwrap()
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
fn wrong_variable_headers() {
    let last = good().len() - 1;
    refused(
        &with(|h| h[last].0 = 0x3F0),
        "header type 0x3f0 is unknown and not marked as optional",
    );
    refused(
        &with(|h| h[last].0 = 0x30D),
        "header type 0x30d (error range) is not supported",
    );
    refused(
        &with(|h| h.push(parameter(0x30E, 0, 0))),
        "header type 0x30e (command line parameter) is not supported",
    );
    refused(
        &with(|h| h[last].1.truncate(19)),
        "size of a VP context header is 0x13, expected 0x14",
    );
    refused(
        &with(|h| h.push(platform(2, 0))),
        "platform header 0x1 follows headers of a later section",
    );
    refused(
        &with(|h| h.push(policy(0x3_0000))),
        "initialization header 0x101 follows headers of a later section",
    );
    let mut padded = file(&with(|h| h.push(Tlv(0x8000_03F1, vec![1]))), GOOD_PAGES);
    let end = Image::parse(&padded).unwrap().data_start();
    padded[end - 1] = 1;
    seal(&mut padded);
    let map = ram();
    assert!(
        error_of(&padded, &host(&map)).contains("a variable header's padding is 0x1, expected 0x0")
    );
}

#[test]
fn wrong_platforms() {
    refused(
        &with(|h| h[0] = platform(3, 2)),
        "compatibility mask of a platform is 0x3, expected a single bit",
    );
    refused(
        &with(|h| h[0] = platform(1, 3)),
        "there is no platform header for SEV-SNP",
    );
    refused(
        &with(|h| h.insert(1, platform(1, 0))),
        "platform header with compatibility mask 0x1 appears a second time",
    );
    refused(
        &with(|h| h.insert(1, platform(2, 2))),
        "platform header with type 0x2 appears a second time",
    );
    refused(
        &with(|h| h[0].1[6] = 2),
        "platform version is 0x2, expected 0x1",
    );
    refused(
        &with(|h| h[0].1[8] = 1),
        "shared GPA boundary is 0x1, expected 0x0",
    );
    refused(
        &with(|h| h[0].1[4] = 1),
        "highest VTL of a platform is 0x1, expected 0 or 2",
    );
    refused(
        &with(|h| h.push(masked_page(5, 0, None, NORMAL, 0))),
        "compatibility mask 0x5 is not made of bits",
    );
    refused(
        &with(|h| h.push(masked_page(0, 0, None, NORMAL, 0))),
        "compatibility mask 0x0 is not made of bits",
    );
    refused(&[], "there is no platform header for SEV-SNP");
}

#[test]
fn wrong_policies() {
    refused(
        &with(|h| drop(h.remove(1))),
        "there is no guest policy for the platform",
    );
    refused(
        &with(|h| h.insert(1, policy(0x3_0000))),
        "guest policy 0x30000 appears a second time",
    );
    refused(
        &with(|h| h[1] = policy(0x1_0000)),
        "guest policy is 0x10000, expected bit 17 to be set",
    );
    refused(
        &with(|h| h[1].1[12] = 1),
        "reserved field of a guest policy is 0x1, expected 0x0",
    );
}

#[test]
fn wrong_page_data() {
    let page_at = index_of(&good(), PAGE_DATA);
    let set = |new: Tlv| with(|h| h[page_at] = new);
    refused(
        &set(page(0x1_0800, Some(0), NORMAL, 0)),
        "GPA of page data is 0x10800, expected a multiple of 0x1000",
    );
    refused(
        &set(page(0x20_0000, Some(0), NORMAL, LARGE)),
        "flags of page data is 0x1, expected a private 4 KiB page",
    );
    refused(
        &set(page(0x1_0000, Some(0), NORMAL, 4)),
        "flags of page data is 0x4",
    );
    refused(
        &set(page(0x1_0000, Some(0), NORMAL, 8)),
        "reserved flags of page data is 0x1, expected 0x0",
    );
    refused(
        &set(page(0x1_0000, Some(0), 4, 0)),
        "type of page data is 0x4, expected",
    );
    refused(
        &set(page(0x1_0000, None, SECRETS, UNMEASURED)),
        "unmeasured flag of a secrets or CPUID page",
    );
    refused(
        &with(|h| h[page_at].1[22] = 1),
        "reserved field of page data is 0x1, expected 0x0",
    );
    refused(
        &set(page(0x1_0000, Some(4), NORMAL, 0)),
        "is not within the file data",
    );
    let raw = |offset: u32| with(|h| h[page_at].1[12..16].copy_from_slice(&offset.to_le_bytes()));
    refused(
        &raw(1),
        "page data at file offset 0x1, 0x1000 bytes, is not within the file data",
    );
    refused(
        &raw(0x3FFF_FFFF),
        "page data at file offset 0x3fffffff, 0x1000 bytes, is not within the file data",
    );
    refused(
        &set(page(0xA_0000, Some(0), NORMAL, 0)),
        "page data at GPA 0xa0000, 0x1000 bytes, is neither in RAM nor in required memory",
    );
    refused(
        &set(page(0x80_0080_0000, Some(0), NORMAL, 0)),
        "is neither in RAM nor in required memory",
    );
    refused(
        &set(page(1 << 47, None, NORMAL, 0)),
        "page data at GPA 0x800000000000, 0x1000 bytes, reaches past the highest address 0x800000000000",
    );
    refused(
        &set(page(u64::MAX - 0xFFF, None, NORMAL, 0)),
        "page data at GPA 0xfffffffffffff000, 0x1000 bytes, reaches past",
    );
}

#[test]
fn overlaps() {
    let add = |new: Tlv| with(|h| h.push(new));
    refused(
        &add(page(0x1_0000, Some(1), NORMAL, 0)),
        "page data at GPA 0x10000, 0x1000 bytes, overlaps what an earlier header puts at 0x10000",
    );
    refused(
        &add(page(0x80_007f_9000, Some(1), NORMAL, 0)),
        "page data at GPA 0x80007f9000, 0x1000 bytes, overlaps",
    );
    refused(
        &with(|h| h[12] = insert(0x80_007f_1000, 7)),
        "a parameter area at GPA 0x80007f1000, 0x2000 bytes, overlaps what an earlier header puts at 0x80007f1000",
    );
    refused(
        &with(|h| h[12] = insert(0x80_007f_0000, 7)),
        "overlaps what an earlier header puts at 0x80007f1000",
    );
    refused(
        &add(context(0x1_0000, 1, 3)),
        "a VP context at GPA 0x10000, 0x1000 bytes, overlaps",
    );
    refused(
        &add(required(0x80_0000_0000, 0x1000)),
        "required memory at GPA 0x8000000000, 0x1000 bytes, overlaps",
    );
}

#[test]
fn wrong_parameters() {
    refused(
        &with(|h| h[4] = area(0, 0x1000)),
        "parameter area 0x0 appears a second time",
    );
    refused(
        &with(|h| h[3] = area(0, 0)),
        "size of a parameter area is 0x0, expected 0x1000 to 0x100000",
    );
    refused(
        &with(|h| h[3] = area(0, 0x800)),
        "size of a parameter area is 0x800, expected a multiple of 0x1000",
    );
    refused(
        &with(|h| h[3] = area(0, 0x10_1000)),
        "size of a parameter area is 0x101000, expected",
    );
    refused(
        &with(|h| h[3] = area(0, u64::MAX - 0xFFF)),
        "size of a parameter area is 0xfffffffffffff000, expected",
    );
    refused(
        &with(|h| h[6] = parameter(VP_COUNT, 3, 0)),
        "parameter area 3 is not declared before this header",
    );
    refused(
        &with(|h| h.push(parameter(VP_COUNT, 0, 0))),
        "parameter area 0 is used after it was inserted",
    );
    refused(
        &with(|h| h.push(insert(0x5_0000, 0))),
        "parameter area 0 is used after it was inserted",
    );
    refused(
        &with(|h| h.push(insert(0x5_0000, 9))),
        "parameter area 9 is not declared before this header",
    );
    refused(
        &with(|h| h[6] = parameter(VP_COUNT, 0, 0xFFD)),
        "VP count, 0x4 bytes, does not fit at offset 0xffd of parameter area 0, which has 0x1000 bytes",
    );
    refused(
        &with(|h| h[7] = parameter(ENVIRONMENT_INFO, 0, u32::MAX)),
        "environment info, 0x4 bytes, does not fit at offset 0xffffffff",
    );
    refused(
        &with(|h| h[9] = parameter(MADT, 7, 0x1FF2)),
        "MADT, 0xf bytes, does not fit at offset 0x1ff2 of parameter area 7",
    );
    refused(
        &with(|h| h[8] = parameter(MEMORY_MAP, 1, 0xFD8)),
        "memory map, 0x30 bytes, does not fit at offset 0xfd8",
    );
    refused(
        &with(|h| h[10] = insert(0x80_007f_1800, 0)),
        "GPA of a parameter insert is 0x80007f1800, expected a multiple",
    );
    refused(
        &with(|h| h[12] = insert(0x80_007f_f000, 7)),
        "a parameter area at GPA 0x80007ff000, 0x2000 bytes, is neither in RAM",
    );
    refused(
        &with(|h| (20..40).for_each(|index| h.push(area(index, 0x1000)))),
        "there are more than 16 parameter areas",
    );
}

#[test]
fn wrong_required_memory() {
    refused(
        &with(|h| h[2] = required(0x800, 0x1000)),
        "GPA of required memory is 0x800, expected a multiple of 0x1000",
    );
    refused(
        &with(|h| h[2] = required(0x1000, 0x801)),
        "size of required memory is 0x801, expected a multiple",
    );
    refused(
        &with(|h| h[2] = required(0x1000, 0)),
        "size of required memory is 0x0, expected at least a page",
    );
    refused(
        &with(|h| h[2] = required(0x9_F000, 0x2000)),
        "required memory at GPA 0x9f000, 0x2000 bytes, is partly in the memory map's entry at 0x0",
    );
    refused(
        &with(|h| h[2] = required(u64::MAX - 0xFFF, 0x2000)),
        "reaches past the highest address",
    );
    refused(
        &with(|h| h[2].1[20] = 1),
        "reserved field of required memory is 0x1",
    );
    refused(
        &with(|h| h[2].1[16] = 2),
        "reserved flags of required memory is 0x1",
    );
    let many = with(|h| {
        (0..20).for_each(|index| h.push(required(0x90_0000_0000 + index * 0x2000, 0x1000)))
    });
    refused(&many, "there are more than 16 ranges of required memory");
}

#[test]
fn wrong_vp_contexts() {
    let last = good().len() - 1;
    refused(
        &with(|h| drop(h.pop())),
        "there is no VP context for the platform",
    );
    refused(
        &with(|h| h[last] = context(0xffff_ffff_f000, 4, 3)),
        "VP context is for VP 4, but there are only 4",
    );
    refused(
        &with(|h| h[last] = context(0xffff_ffff_f000, 300, 3)),
        "VP context is for VP 300, but there are only 4",
    );
    refused(
        &with(|h| h[last] = context(0xffff_ffff_f800, 0, 3)),
        "GPA of a VP context is 0xfffffffff800, expected a multiple",
    );
    refused(
        &with(|h| h.push(context(0xffff_ffff_e000, 0, 3))),
        "VP context for VP 0x0 appears a second time",
    );
    refused(
        &with(|h| h[last].1[12..16].fill(0)),
        "file offset of a VP context is 0x0, expected where its data are",
    );
    refused(
        &with(|h| h[last].1[18] = 1),
        "reserved field of a VP context is 0x1",
    );
    refused(
        &with(|h| h[last] = context(1 << 52, 0, 3)),
        "a VP context at GPA 0x10000000000000, 0x1000 bytes, reaches past",
    );
}

#[test]
fn wrong_hosts() {
    let bytes = file(&good(), GOOD_PAGES);
    let map = ram();
    for vp_count in [0, 256, 300, u32::MAX] {
        let host = HostParameters {
            vp_count,
            ..host(&map)
        };
        assert_eq!(
            error_of(&bytes, &host),
            format!("{vp_count} virtual processors, expected 1 to 255")
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
