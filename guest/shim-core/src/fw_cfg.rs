//! The file directory of QEMU's firmware configuration device (QEMU `docs/specs/fw_cfg`). Numbers are big-endian, other
//! than everywhere else.

use alloc::string::String;
use alloc::vec::Vec;

use crate::field::bytes;

/// Key of the file directory.
pub const KEY_DIRECTORY: u16 = 0x0019;

/// Bytes of the directory's header, a count.
pub const DIRECTORY_HEADER: usize = 4;
/// Bytes of a directory entry.
pub const DIRECTORY_ENTRY: usize = 64;
/// Most entries that this project reads. QEMU itself has at most 0x20 built-in files, and the user's.
pub const MAX_FILES: u32 = 1024;
/// Bytes of a file name with its terminator.
pub const NAME_SIZE: usize = 56;

/// A file in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// The key that selects it.
    pub key: u16,
    /// Bytes.
    pub size: u32,
}

/// What is wrong with a directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DirectoryError {
    #[error("fw_cfg directory: {0} files, at most {MAX_FILES} are read")]
    Count(u32),
    #[error("fw_cfg directory: {expected} bytes expected for its entries, {actual} there")]
    Short { expected: usize, actual: usize },
    #[error("fw_cfg directory: entry {0} has a name that is empty, unterminated, or not ASCII")]
    Name(usize),
    #[error("fw_cfg directory: entry {index} ({name}) has key {key:#x}, which is no file's")]
    Key {
        index: usize,
        name: String,
        key: u16,
    },
}

/// How many files the directory has, from its first [`DIRECTORY_HEADER`] bytes.
pub fn file_count(header: [u8; DIRECTORY_HEADER]) -> Result<usize, DirectoryError> {
    match u32::from_be_bytes(header) {
        count @ 0..=MAX_FILES => Ok(count as usize),
        count => Err(DirectoryError::Count(count)),
    }
}

/// The files of a directory, from the `count` entries behind its header.
pub fn files(count: usize, entries: &[u8]) -> Result<Vec<File>, DirectoryError> {
    let expected = count * DIRECTORY_ENTRY;
    let entries = entries.get(..expected).ok_or(DirectoryError::Short {
        expected,
        actual: entries.len(),
    })?;
    entries
        .chunks_exact(DIRECTORY_ENTRY)
        .enumerate()
        .map(|(index, entry)| file(index, entry))
        .collect()
}

fn file(index: usize, entry: &[u8]) -> Result<File, DirectoryError> {
    let name = name_at(entry, 8).ok_or(DirectoryError::Name(index))?;
    let size = u32::from_be_bytes(bytes(entry, 0).ok_or(DirectoryError::Name(index))?);
    let key = u16::from_be_bytes(bytes(entry, 4).ok_or(DirectoryError::Name(index))?);
    // Files start at key 0x20 (FW_CFG_FILE_FIRST); 0x4000 marks writes, 0x8000 architecture-local items.
    if !(0x20..0x4000).contains(&key) {
        let name = name.into();
        return Err(DirectoryError::Key { index, name, key });
    }
    Ok(File {
        name: name.into(),
        key,
        size,
    })
}

/// The terminated, printable file name in the `NAME_SIZE` bytes at `offset`; `None` when it is none.
pub(crate) fn name_at(data: &[u8], offset: usize) -> Option<&str> {
    let field = data.get(offset..offset + NAME_SIZE)?;
    let end = field.iter().position(|byte| *byte == 0)?;
    let name = core::str::from_utf8(&field[..end]).ok()?;
    (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())).then_some(name)
}

/// The file of this name.
pub fn find<'a>(files: &'a [File], name: &str) -> Option<&'a File> {
    files.iter().find(|file| file.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn entry(name: &[u8], key: u16, size: u32) -> Vec<u8> {
        let mut out = vec![0; DIRECTORY_ENTRY];
        out[0..4].copy_from_slice(&size.to_be_bytes());
        out[4..6].copy_from_slice(&key.to_be_bytes());
        out[8..8 + name.len()].copy_from_slice(name);
        out
    }

    #[test]
    fn a_directory_is_big_endian() {
        let entries = [
            entry(b"etc/acpi/rsdp", 0x21, 36),
            entry(b"opt/x", 0x122, 0x10203),
        ]
        .concat();
        let files = files(2, &entries).unwrap();
        assert_eq!(file_count([0, 0, 0, 2]), Ok(2));
        assert_eq!(files[0].size, 36);
        let x = find(&files, "opt/x").unwrap();
        assert_eq!((x.key, x.size), (0x122, 0x10203));
        assert_eq!(find(&files, "opt"), None);
    }

    #[test]
    fn malformed_directories_are_refused() {
        assert_eq!(
            file_count([0xFF, 0, 0, 0]),
            Err(DirectoryError::Count(0xFF00_0000))
        );
        let good = entry(b"a", 0x20, 1);
        let short = DirectoryError::Short {
            expected: 64,
            actual: 63,
        };
        assert_eq!(files(1, &good[..63]), Err(short));
        assert_eq!(files(1, &entry(b"", 0x20, 1)), Err(DirectoryError::Name(0)));
        assert_eq!(
            files(1, &entry(&[b'a'; 56], 0x20, 1)),
            Err(DirectoryError::Name(0))
        );
        assert_eq!(
            files(1, &entry(b"a\x1b[2J", 0x20, 1)),
            Err(DirectoryError::Name(0))
        );
        let key = files(1, &entry(b"a", 0x4020, 1)).unwrap_err();
        assert_eq!(
            alloc::format!("{key}"),
            "fw_cfg directory: entry 0 (a) has key 0x4020, which is no file's"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(count in 0usize..8, data in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = files(count, &data);
        }
    }
}
