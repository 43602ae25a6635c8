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

/// ELF64: e_phoff at 0x20, e_phentsize at 0x36, e_phnum at 0x38; of a program header p_type at 0, p_flags at 4, p_paddr
/// at 0x18, p_memsz at 0x28.
fn parse(bytes: &[u8]) -> Option<Vec<Segment>> {
    let field = |at: usize, size: usize| -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        )
    };
    const CLASS_64: &[u8] = b"\x7FELF\x02";
    const PT_LOAD: u64 = 1;
    const PF_W: u64 = 2;
    if !bytes.starts_with(CLASS_64) {
        return None;
    }
    let table = usize::try_from(field(0x20, 8)?).ok()?;
    let size = field(0x36, 2)? as usize;
    let mut segments = Vec::new();
    for index in 0..field(0x38, 2)? as usize {
        let header = table.checked_add(index * size)?;
        if field(header, 4)? == PT_LOAD {
            segments.push(Segment {
                address: field(header.checked_add(0x18)?, 8)?,
                size: field(header.checked_add(0x28)?, 8)?,
                writable: field(header.checked_add(4)?, 4)? & PF_W != 0,
            });
        }
    }
    Some(segments)
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
