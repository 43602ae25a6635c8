//! The loadable segments of an ELF file, as far as checks and figures need them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// One PT_LOAD program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address.
    pub address: u64,
    /// Bytes in memory.
    pub size: u64,
    /// Whether it is mapped writable.
    pub writable: bool,
}

/// The segments of the file at `path`.
pub fn segments(path: &Path) -> Result<Vec<Segment>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("{} is no 64-bit ELF file", path.display()))
}

/// Sonames of the libraries that an ELF file says it needs; nothing if it is none.
pub fn needed(bytes: &[u8]) -> Option<Vec<String>> {
    const PT_LOAD: u64 = 1;
    const PT_DYNAMIC: u64 = 2;
    const DT_NEEDED: u64 = 1;
    const DT_STRTAB: u64 = 5;
    let headers = headers(bytes)?;
    let Some(dynamic) = headers.iter().find(|header| header.kind == PT_DYNAMIC) else {
        return Some(Vec::new());
    };
    let mut names = Vec::new();
    let mut strings = 0;
    // Pairs of tag and value; tag 0 ends them.
    for index in 0..dynamic.file_size / 16 {
        let at = usize::try_from(dynamic.offset.checked_add(index * 16)?).ok()?;
        match (field(bytes, at, 8)?, field(bytes, at + 8, 8)?) {
            (0, _) => break,
            (DT_NEEDED, name) => names.push(name),
            (DT_STRTAB, address) => strings = address,
            _ => {}
        }
    }
    let home = headers.iter().find(|header| {
        let within = strings.checked_sub(header.virtual_address);
        header.kind == PT_LOAD && within.is_some_and(|within| within < header.file_size)
    });
    names
        .into_iter()
        .map(|name| {
            let home = home?;
            let at = strings - home.virtual_address + home.offset + name;
            let rest = bytes.get(usize::try_from(at).ok()?..)?;
            let end = rest.iter().position(|byte| *byte == 0)?;
            String::from_utf8(rest[..end].to_vec()).ok()
        })
        .collect()
}

/// A program header.
struct Header {
    kind: u64,
    flags: u64,
    offset: u64,
    virtual_address: u64,
    physical_address: u64,
    file_size: u64,
    memory_size: u64,
}

/// ELF64: e_phoff at 0x20, e_phentsize at 0x36, e_phnum at 0x38; of a program header p_type at 0, p_flags at 4, p_offset
/// at 8, p_vaddr at 0x10, p_paddr at 0x18, p_filesz at 0x20, p_memsz at 0x28.
fn headers(bytes: &[u8]) -> Option<Vec<Header>> {
    const CLASS_64: &[u8] = b"\x7FELF\x02";
    if !bytes.starts_with(CLASS_64) {
        return None;
    }
    let table = usize::try_from(field(bytes, 0x20, 8)?).ok()?;
    let size = field(bytes, 0x36, 2)? as usize;
    (0..field(bytes, 0x38, 2)? as usize)
        .map(|index| {
            let at = |offset| table.checked_add(index * size)?.checked_add(offset);
            Some(Header {
                kind: field(bytes, at(0)?, 4)?,
                flags: field(bytes, at(4)?, 4)?,
                offset: field(bytes, at(8)?, 8)?,
                virtual_address: field(bytes, at(0x10)?, 8)?,
                physical_address: field(bytes, at(0x18)?, 8)?,
                file_size: field(bytes, at(0x20)?, 8)?,
                memory_size: field(bytes, at(0x28)?, 8)?,
            })
        })
        .collect()
}

/// A little-endian number.
fn field(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

fn parse(bytes: &[u8]) -> Option<Vec<Segment>> {
    const PT_LOAD: u64 = 1;
    const PF_W: u64 = 2;
    let segments = headers(bytes)?
        .into_iter()
        .filter(|header| header.kind == PT_LOAD)
        .map(|header| Segment {
            address: header.physical_address,
            size: header.memory_size,
            writable: header.flags & PF_W != 0,
        });
    Some(segments.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loadable_segments_count() {
        let mut file = vec![0; 64 + 2 * 56];
        file[..5].copy_from_slice(b"\x7FELF\x02");
        file[0x20] = 64;
        file[0x36] = 56;
        file[0x38] = 2;
        file[64] = 1; // PT_LOAD
        file[64 + 4] = 6; // readable and writable
        file[64 + 0x1A] = 0x10; // p_paddr 0x10_0000
        file[64 + 0x29] = 0x20; // p_memsz 0x2000
        file[64 + 56] = 4; // PT_NOTE
        let expected = Segment {
            address: 0x10_0000,
            size: 0x2000,
            writable: true,
        };
        assert_eq!(parse(&file), Some(vec![expected]));
        assert_eq!(parse(&file[..100]), None);
        assert_eq!(parse(b"#!/bin/sh"), None);
    }
}
