//! Small ELF files, images made of them, and the tool itself.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod memory;

use std::path::PathBuf;
use std::process::{Command, Output};

use boot_abi::{PayloadDigests, layout};
use macadamia_igvm::build::{DEFAULT_POLICY, First, Guest, build};

/// A segment: address, bytes in the file, bytes in memory.
pub type Segment<'a> = (u64, &'a [u8], u64);

/// An x86-64 executable of these PT_LOAD segments.
pub fn elf(entry: u64, segments: &[Segment<'_>]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend_from_slice(&[0x7F, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for half in [2u16, 62] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1u32.to_le_bytes());
    for word in [entry, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0u32.to_le_bytes());
    for half in [64, 56, segments.len() as u16, 64, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    let mut offset = 64 + 56 * segments.len() as u64;
    for &(address, data, size) in segments {
        file.extend_from_slice(&1u32.to_le_bytes());
        file.extend_from_slice(&7u32.to_le_bytes());
        for word in [offset, !address, address, data.len() as u64, size, 4096] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        offset += data.len() as u64;
    }
    for (_, data, _) in segments {
        file.extend_from_slice(data);
    }
    file
}

/// An SVSM: a boot stage of two pages, and a kernel of text, a gap of one page, and data with bss.
pub fn svsm() -> Vec<u8> {
    let (stage, text, data) = ([0x11; 0x1800], [0x22; 0x1000], [0x33; 0x100]);
    elf(
        layout::BOOT_STAGE_BASE + 0x10,
        &[
            (layout::BOOT_STAGE_BASE, &stage, 0x1800),
            (layout::SVSM_BASE, &text, 0x1000),
            (layout::SVSM_BASE + 0x2010, &data, 0x2800),
        ],
    )
}

/// A guest of one page, and one of bss.
pub fn guest() -> Vec<u8> {
    elf(
        layout::GUEST_IMAGE_GPA + 4,
        &[(layout::GUEST_IMAGE_GPA, &[0x44; 0x1000], 0x2000)],
    )
}

/// A service of these segments with their rights. Behind them is what is not loaded: sections, symbols.
pub fn service_of(entry: u64, segments: &[(u32, Segment<'_>)]) -> Vec<u8> {
    let plain: Vec<_> = segments.iter().map(|&(_, segment)| segment).collect();
    let mut file = elf(entry, &plain);
    for (index, &(rights, (address, ..))) in segments.iter().enumerate() {
        let header = &mut file[64 + 56 * index..];
        header[4..8].copy_from_slice(&rights.to_le_bytes());
        header[16..24].copy_from_slice(&address.to_le_bytes());
    }
    file.extend([0x5E; 0x800]);
    file
}

/// A service of code and data.
pub fn service() -> Vec<u8> {
    service_of(
        0x40_0000,
        &[
            (5, (0x40_0000, &[0x55; 0xF00], 0xF00)),
            (6, (0x40_2000, &[0x66; 0x10], 0x2000)),
        ],
    )
}

/// Digests that tell the three files apart.
pub fn digests() -> PayloadDigests {
    PayloadDigests {
        kernel: [1; 32],
        initrd: [2; 32],
        cmdline: [3; 32],
    }
}

/// An image of [`svsm`] and [`guest`].
pub fn image() -> Vec<u8> {
    let (kernel, guest) = (svsm(), guest());
    let guest = Guest {
        elf: &guest,
        digests: digests(),
    };
    build(
        &First::Svsm {
            kernel: &kernel,
            services: &[],
            guest: Some(guest),
            debug: Default::default(),
        },
        DEFAULT_POLICY,
    )
    .unwrap()
}

/// Runs the tool.
pub fn tool(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_macadamia-igvm"))
        .args(arguments)
        .output()
        .unwrap()
}

/// A file of the test's own, with these contents.
pub fn scratch(name: &str, contents: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, contents).unwrap();
    path
}

/// Checks that the tool refused: status 1, one line on standard error, and `expected` in it.
pub fn assert_refused(output: &Output, expected: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.starts_with("macadamia-igvm: ") && text.contains(expected),
        "{text:?} lacks {expected:?}"
    );
}

/// Writes the checksum that the headers of a version 1 file need now: CRC-32, a bit at a time.
pub fn seal(file: &mut [u8]) {
    let size = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    let end = file.len().min(size.saturating_add(24));
    file[20..24].fill(0);
    let mut state = !0u32;
    for &byte in &file[..end] {
        state ^= u32::from(byte);
        for _ in 0..8 {
            state = if state & 1 == 1 {
                (state >> 1) ^ 0xEDB8_8320
            } else {
                state >> 1
            };
        }
    }
    file[20..24].copy_from_slice(&(!state).to_le_bytes());
}
