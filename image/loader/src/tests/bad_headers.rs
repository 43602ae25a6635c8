//! Bad headers, one fault at a time.

use alloc::vec;
use alloc::vec::Vec;

use super::builder::*;
use super::faults::{error_of, refused};
use crate::Image;

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
