//! Files and tables, good and bad.

mod elf;
mod table;

use std::vec::Vec;

use crate::service::elf::{FileHeader, ProgramHeader};
use zerocopy::IntoBytes;

/// A PT_LOAD segment: address, rights, bytes in the file, bytes in memory.
pub type Load<'a> = (u64, u32, &'a [u8], u64);

/// An executable of these segments.
pub fn executable(entry: u64, segments: &[Load<'_>]) -> Vec<u8> {
    let mut file = FileHeader {
        ident: *b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0",
        kind: 2.into(),
        machine: 62.into(),
        version: 1.into(),
        entry: entry.into(),
        program_headers: 64.into(),
        section_headers: 0.into(),
        flags: 0.into(),
        header_size: 64.into(),
        program_header_size: 56.into(),
        program_header_count: (segments.len() as u16).into(),
        section_header_size: 64.into(),
        section_header_count: 0.into(),
        section_names: 0.into(),
    }
    .as_bytes()
    .to_vec();
    let mut offset = 64 + 56 * segments.len() as u64;
    for &(address, flags, data, size) in segments {
        let header = ProgramHeader {
            kind: 1.into(),
            flags: flags.into(),
            offset: offset.into(),
            virtual_address: address.into(),
            physical_address: (!address).into(),
            file_size: (data.len() as u64).into(),
            memory_size: size.into(),
            alignment: 0x1000.into(),
        };
        file.extend_from_slice(header.as_bytes());
        offset += data.len() as u64;
    }
    for (_, _, data, _) in segments {
        file.extend_from_slice(data);
    }
    file
}

/// A service of constants, code, and data with bss.
pub fn service() -> Vec<u8> {
    executable(
        0x40_1010,
        &[
            (0x40_0000, 4, &[0x11; 0x20], 0x20),
            (0x40_1000, 5, &[0x22; 0x1100], 0x1100),
            (0x40_4000, 6, &[0x33; 0x80], 0x3001),
        ],
    )
}
