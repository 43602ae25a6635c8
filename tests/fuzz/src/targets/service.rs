//! What the image has for services: the table, and their ELF files.

use boot_abi::{PARAMS_VERSION, SERVICE_TABLE_MAGIC, ServiceTable};
use service_abi::layout::{IMAGE_BASE, IMAGE_LIMIT, PAGE_SIZE};
use svsm_core::request::SERVICE_PROTOCOLS;
use svsm_core::service::elf::{Access, Image, MAX_SEGMENTS};
use svsm_core::service::table;

use super::put;
use crate::target::{Outcome, Target};

pub const ELF: Target = Target {
    record: 56,
    words: &[
        &[1, 0, 0, 0, 5, 0, 0, 0],
        &[1, 0, 0, 0, 6, 0, 0, 0],
        &[1, 0, 0, 0, 4, 0, 0, 0],
        &[0, 0, 0x40, 0, 0, 0, 0, 0],
        &[0, 0, 0x80, 0, 0, 0, 0, 0],
        &[56, 0],
    ],
    mend: Some(|input| {
        put(input, 0, *b"\x7fELF\x02\x01\x01");
        put(input, 16, [2, 0, 62, 0]);
        put(input, 54, [56, 0]);
    }),
    ..Target::new("elf", 4096, run_elf)
};

/// Whether `part` is a part of `whole`, by its place in memory.
fn is_part(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

fn run_elf(input: &[u8]) -> Outcome {
    let result = Image::parse(input);
    if let Ok(image) = &result {
        let segments: Vec<_> = image.segments().collect();
        assert!(segments.len() <= MAX_SEGMENTS);
        let mut end = IMAGE_BASE;
        for segment in &segments {
            assert!(segment.va >= end && segment.va % PAGE_SIZE == 0 && segment.pages > 0);
            end = segment.end();
            assert!(end <= IMAGE_LIMIT && segment.file.len() as u64 <= segment.pages * PAGE_SIZE);
            assert!(is_part(segment.file, input));
        }
        let entry = image.entry();
        assert!(segments.iter().any(|segment| {
            segment.access == Access::ReadExecute
                && segment.va <= entry
                && entry < segment.va + segment.file.len() as u64
        }));
    }
    Outcome::of(&result)
}

/// The region's first page is the table; the input's last byte says how many pages of files follow.
pub const TABLE: Target = Target {
    record: 36,
    words: &[b"vtpm\0\0\0\0", &[2, 0, 0, 0], &[0, 0x10, 0, 0]],
    mend: Some(|input| {
        put(input, 0, SERVICE_TABLE_MAGIC);
        put(input, 8, PARAMS_VERSION.to_le_bytes());
    }),
    ..Target::new("service-table", size_of::<ServiceTable>() + 1, run_table)
};

fn run_table(input: &[u8]) -> Outcome {
    let (&pages, table) = input.split_last().unwrap_or((&0, &[]));
    let mut region = table.to_vec();
    // One input in eight has too few bytes for a table.
    if pages % 8 != 7 {
        region.resize(PAGE_SIZE as usize * (1 + usize::from(pages % 8)), 0xCC);
    }
    let result = table::parse(&region);
    if let Ok(list) = &result {
        let services: Vec<_> = list.iter().collect();
        for (index, service) in services.iter().enumerate() {
            assert!(SERVICE_PROTOCOLS.contains(&service.protocol) && !service.name.is_empty());
            assert!(service.name.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(is_part(service.image, &region) && !service.image.is_empty());
            assert!(!is_part(service.image, &region[..PAGE_SIZE as usize]));
            for other in &services[..index] {
                assert!(other.name != service.name && other.protocol != service.protocol);
                let (one, two) = (other.image.as_ptr_range(), service.image.as_ptr_range());
                assert!(one.end <= two.start);
            }
        }
    }
    match &result {
        Ok(list) => Outcome::new(list.iter().next().is_some(), list.iter().count()),
        Err(error) => Outcome::new(false, error.to_string()),
    }
}
