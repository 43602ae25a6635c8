//! Writes IGVM files, good ones and bad ones.

use alloc::vec::Vec;

use crate::{HostParameters, MemoryMapEntry, MemoryMapEntryType};

pub const PLATFORM: u32 = 0x1;
pub const GUEST_POLICY: u32 = 0x101;
pub const PARAMETER_AREA: u32 = 0x301;
pub const PAGE_DATA: u32 = 0x302;
pub const PARAMETER_INSERT: u32 = 0x303;
pub const VP_CONTEXT: u32 = 0x304;
pub const REQUIRED_MEMORY: u32 = 0x305;
pub const VP_COUNT: u32 = 0x307;
pub const MADT: u32 = 0x309;
pub const MEMORY_MAP: u32 = 0x30C;
pub const ENVIRONMENT_INFO: u32 = 0x313;

/// Page data flags.
pub const LARGE: u32 = 1;
pub const UNMEASURED: u32 = 2;
/// Page data types.
pub const NORMAL: u16 = 0;
pub const SECRETS: u16 = 1;
pub const CPUID: u16 = 2;

/// A header: type and content.
#[derive(Clone)]
pub struct Tlv(pub u32, pub Vec<u8>);

fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub fn platform(mask: u32, kind: u8) -> Tlv {
    Tlv(
        PLATFORM,
        bytes(&[
            &mask.to_le_bytes(),
            &[0, kind],
            &1u16.to_le_bytes(),
            &0u64.to_le_bytes(),
        ]),
    )
}

pub fn policy(policy: u64) -> Tlv {
    Tlv(
        GUEST_POLICY,
        bytes(&[
            &policy.to_le_bytes(),
            &1u32.to_le_bytes(),
            &0u32.to_le_bytes(),
        ]),
    )
}

/// `data` is an index into the file's data pages.
pub fn page(gpa: u64, data: Option<usize>, kind: u16, flags: u32) -> Tlv {
    masked_page(1, gpa, data, kind, flags)
}

pub fn masked_page(mask: u32, gpa: u64, data: Option<usize>, kind: u16, flags: u32) -> Tlv {
    let data = data.map_or(0, |index| DATA | index as u32);
    let parts: [&[u8]; 6] = [
        &gpa.to_le_bytes(),
        &mask.to_le_bytes(),
        &data.to_le_bytes(),
        &flags.to_le_bytes(),
        &kind.to_le_bytes(),
        &[0; 2],
    ];
    Tlv(PAGE_DATA, bytes(&parts))
}

pub fn area(index: u32, size: u64) -> Tlv {
    Tlv(
        PARAMETER_AREA,
        bytes(&[&size.to_le_bytes(), &index.to_le_bytes(), &[0; 4]]),
    )
}

pub fn parameter(typ: u32, index: u32, offset: u32) -> Tlv {
    Tlv(typ, bytes(&[&index.to_le_bytes(), &offset.to_le_bytes()]))
}

pub fn insert(gpa: u64, index: u32) -> Tlv {
    Tlv(
        PARAMETER_INSERT,
        bytes(&[
            &gpa.to_le_bytes(),
            &1u32.to_le_bytes(),
            &index.to_le_bytes(),
        ]),
    )
}

pub fn required(gpa: u64, size: u32) -> Tlv {
    let parts: [&[u8]; 4] = [
        &gpa.to_le_bytes(),
        &1u32.to_le_bytes(),
        &size.to_le_bytes(),
        &[0; 8],
    ];
    Tlv(REQUIRED_MEMORY, bytes(&parts))
}

pub fn context(gpa: u64, vp_index: u16, data: usize) -> Tlv {
    let data = DATA | data as u32;
    let parts: [&[u8]; 5] = [
        &gpa.to_le_bytes(),
        &1u32.to_le_bytes(),
        &data.to_le_bytes(),
        &vp_index.to_le_bytes(),
        &[0; 2],
    ];
    Tlv(VP_CONTEXT, bytes(&parts))
}

/// Marks a file offset as an index of a data page, to be replaced when the file is put together.
const DATA: u32 = 0x4000_0000;

/// A file of these headers, and of `pages` data pages; page n is filled with byte n + 1.
pub fn file(headers: &[Tlv], pages: usize) -> Vec<u8> {
    let mut section = Vec::new();
    let data_start = 24
        + headers
            .iter()
            .map(|Tlv(_, content)| 8 + content.len().next_multiple_of(8))
            .sum::<usize>();
    for Tlv(typ, content) in headers {
        section.extend_from_slice(&typ.to_le_bytes());
        section.extend_from_slice(&(content.len() as u32).to_le_bytes());
        let mut content = content.clone();
        if matches!(typ & !(1 << 31), PAGE_DATA | VP_CONTEXT) && content.len() >= 16 {
            let value = u32::from_le_bytes(content[12..16].try_into().unwrap());
            if value & DATA != 0 {
                let offset = data_start as u32 + (value & !DATA) * 4096;
                content[12..16].copy_from_slice(&offset.to_le_bytes());
            }
        }
        content.resize(content.len().next_multiple_of(8), 0);
        section.extend_from_slice(&content);
    }
    let total = data_start + pages * 4096;
    let mut file = Vec::new();
    for value in [
        u32::from_le_bytes(*b"IGVM"),
        1,
        24,
        section.len() as u32,
        total as u32,
        0,
    ] {
        file.extend_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(&section);
    for index in 0..pages {
        file.extend_from_slice(&[index as u8 + 1; 4096]);
    }
    seal(&mut file);
    file
}

/// Writes the right checksum, computed a bit at a time.
pub fn seal(file: &mut [u8]) {
    let size = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    let end = file.len().min(24 + size);
    file[20..24].fill(0);
    let mut state = !0u32;
    for &byte in &file[..end] {
        state ^= u32::from(byte);
        for _ in 0..8 {
            state = if state & 1 == 1 {
                state >> 1 ^ 0xEDB8_8320
            } else {
                state >> 1
            };
        }
    }
    file[20..24].copy_from_slice(&(!state).to_le_bytes());
}

/// A small image with every kind of header.
pub fn good() -> Vec<Tlv> {
    alloc::vec![
        platform(1, 2),
        policy(0x3_0000),
        required(0x80_0000_0000, 0x80_0000),
        area(0, 0x1000),
        area(1, 0x1000),
        area(7, 0x2000),
        parameter(VP_COUNT, 0, 0),
        parameter(ENVIRONMENT_INFO, 0, 4),
        parameter(MEMORY_MAP, 1, 0),
        parameter(MADT, 7, 0),
        insert(0x80_007f_1000, 0),
        insert(0x80_007f_2000, 1),
        insert(0x80_007f_8000, 7),
        page(0x1_0000, Some(0), NORMAL, 0),
        page(0x1_1000, None, NORMAL, 0),
        page(0x1_2000, Some(1), NORMAL, UNMEASURED),
        page(0x1_e000, None, CPUID, 0),
        page(0x1_f000, None, SECRETS, 0),
        page(0x80_0000_0000, Some(2), NORMAL, 0),
        context(0xffff_ffff_f000, 0, 3),
    ]
}

/// Data pages of [`good`].
pub const GOOD_PAGES: usize = 4;

/// A memory map entry of plain RAM or something else, in bytes.
pub fn entry(start: u64, bytes: u64, entry_type: MemoryMapEntryType) -> MemoryMapEntry {
    MemoryMapEntry {
        starting_gpa_page_number: start / 4096,
        number_of_pages: bytes / 4096,
        entry_type,
        flags: 0,
        reserved: 0,
    }
}

pub fn ram() -> [MemoryMapEntry; 2] {
    [
        entry(0, 0xA_0000, MemoryMapEntryType::MEMORY),
        entry(0x10_0000, 0x1FF0_0000, MemoryMapEntryType::MEMORY),
    ]
}

pub fn host<'a>(memory_map: &'a [MemoryMapEntry]) -> HostParameters<'a> {
    HostParameters {
        vp_count: 4,
        memory_map,
        madt: b"APIC, and so on",
        memory_is_shared: true,
        gpa_limit: 1 << 47,
    }
}
