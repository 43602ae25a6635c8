use super::service;
use crate::service::table::{ServiceList, parse};
use boot_abi::{PARAMS_VERSION, SERVICE_TABLE_MAGIC, ServiceEntry, ServiceTable};
use proptest::prelude::*;
use std::string::ToString;
use std::vec::Vec;
use zerocopy::{FromZeros, IntoBytes};

fn entry(name: &[u8], protocol: u32, offset: u32, size: u32) -> ServiceEntry {
    let mut entry = ServiceEntry {
        protocol: protocol.into(),
        heap_pages: 256.into(),
        request_seconds: 3600.into(),
        offset: offset.into(),
        size: size.into(),
        ..Default::default()
    };
    entry.name[..name.len()].copy_from_slice(name);
    entry
}

/// A table of two services in four pages, and their files.
fn table() -> ServiceTable {
    let mut table = ServiceTable::new_zeroed();
    table.magic = SERVICE_TABLE_MAGIC;
    table.version = PARAMS_VERSION.into();
    table.count = 2.into();
    table.services[0] = entry(b"vtpm", 2, 0x1000, 0x1001);
    table.services[1] = entry(b"sixteen-letters!", 31, 0x3000, 0x1000);
    table
}

fn region(table: &ServiceTable) -> Vec<u8> {
    let mut region = table.as_bytes().to_vec();
    region.resize(0x4000, 0);
    for (place, page) in region[0x1000..].chunks_mut(0x1000).enumerate() {
        page.fill(place as u8 + 1);
    }
    region
}

#[test]
fn the_services_are_listed_with_their_files() {
    let region = region(&table());
    let list = parse(&region).unwrap();
    let services: Vec<_> = list.iter().collect();
    assert_eq!(services.len(), 2);
    assert_eq!((services[0].name, services[0].protocol), ("vtpm", 2));
    assert_eq!(services[0].heap_pages, 256);
    assert_eq!(services[0].image, &region[0x1000..0x2001]);
    assert_eq!(services[1].name, "sixteen-letters!");
    assert_eq!(services[1].image, &region[0x3000..]);
}

#[test]
fn no_region_and_an_empty_table_have_no_services() {
    assert_eq!(parse(&[]), Ok(ServiceList::default()));
    let mut table = table();
    table.count = 0.into();
    table.services = FromZeros::new_zeroed();
    assert_eq!(parse(&region(&table)).unwrap().iter().count(), 0);
}

#[test]
fn what_is_wrong_is_named() {
    type Change = fn(&mut ServiceTable);
    let cases: [(Change, &str); 23] = [
        (|t| t.magic[7] ^= 1, "magic"),
        (|t| t.version = 1.into(), "version 1"),
        (|t| t.count = 9.into(), "9 services"),
        (|t| t.count = u32::MAX.into(), "4294967295 services"),
        (|t| t.count = 1.into(), "entry 1 is not used"),
        (|t| t.count = 3.into(), "service 2: the name"),
        (|t| t.services[7].size = 1.into(), "entry 7 is not used"),
        (|t| t.services[0].name[0] = 0, "service 0: the name"),
        (|t| t.services[0].name[5] = b'x', "service 0: the name"),
        (|t| t.services[0].name[1] = b' ', "service 0: the name"),
        (|t| t.services[0].name[1] = b'\n', "service 0: the name"),
        (|t| t.services[0].name[1] = 0xC3, "service 0: the name"),
        (
            |t| t.services[0].protocol = 0.into(),
            "service 0: protocol 0; a service can have 1 to 31",
        ),
        (
            |t| t.services[1].protocol = 32.into(),
            "service 1: protocol 32",
        ),
        (
            |t| t.services[1].protocol = 2.into(),
            "service 1 has the protocol of service 0",
        ),
        (
            |t| t.services[1].name = t.services[0].name,
            "service 1 has the name of service 0",
        ),
        (
            |t| t.services[1].heap_pages = 257.into(),
            "a heap of 257 pages; at most 256",
        ),
        (
            |t| t.services[0].offset = 0.into(),
            "service 0: 0x1001 bytes at 0x0 ",
        ),
        (|t| t.services[0].offset = 0x1001.into(), "at 0x1001 "),
        (
            |t| t.services[1].offset = 0x2000.into(),
            "service 1: 0x1000 bytes at 0x2000 ",
        ),
        (
            |t| t.services[1].size = 0x1001.into(),
            "within the 0x4000 bytes",
        ),
        (
            |t| t.services[1].size = u32::MAX.into(),
            "service 1: 0xffffffff bytes",
        ),
        (|t| t.services[1].size = 0.into(), "service 1: 0x0 bytes"),
    ];
    for (change, expected) in cases {
        let mut table = table();
        change(&mut table);
        let error = parse(&region(&table)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
    for bytes in [1, 280, 0xFFF] {
        let error = parse(&region(&table())[..bytes]).unwrap_err().to_string();
        assert!(error.contains("too few"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn mutated_tables_give_files_within_the_region_or_are_refused(
        changes in proptest::collection::vec((0usize..16 + 3 * 32, any::<u8>()), 1..4),
        pages in 0usize..5,
    ) {
        let mut region = region(&table());
        for (at, byte) in changes {
            region[at] = byte;
        }
        let region = &region[..pages * 0x1000];
        if let Ok(list) = parse(region) {
            let mut end = 0x1000;
            for service in list.iter() {
                let start = service.image.as_ptr() as usize - region.as_ptr() as usize;
                assert!(start >= end && start.is_multiple_of(0x1000) && !service.image.is_empty());
                end = start + service.image.len();
                assert!(end <= region.len());
                assert!((1..32).contains(&service.protocol) && service.heap_pages <= 256);
                assert!(!service.name.is_empty() && service.name.bytes().all(|c| c.is_ascii_graphic()));
            }
        }
    }
}

#[test]
fn a_listed_file_is_read_by_the_parser_of_files() {
    let file = service();
    let mut table = table();
    table.count = 1.into();
    table.services[0].size = (file.len() as u32).into();
    table.services[1] = ServiceEntry::new_zeroed();
    let mut region = region(&table);
    region[0x1000..0x1000 + file.len()].copy_from_slice(&file);
    let found = parse(&region).unwrap().iter().next().unwrap();
    assert!(crate::service::elf::Image::parse(found.image).is_ok());
}
