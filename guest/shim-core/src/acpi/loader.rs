//! Runs a table-loader script over copies of the files; the caller puts the result into memory.

use alloc::string::String;
use alloc::vec::Vec;

use super::command::{Command, ScriptError, Zone, parse, read_number, write_number};

/// Most bytes of all files together. QEMU's tables take 128 KiB up to some hundred CPUs.
pub const MAX_TOTAL: usize = 512 * 1024;

/// A file in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Blob {
    pub file: String,
    pub zone: Zone,
    /// Where it goes.
    pub gpa: u64,
    /// What goes there.
    pub data: Vec<u8>,
}

/// Something to be written back into a fw_cfg file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct WriteBack {
    pub file: String,
    pub offset: u32,
    /// The number's bytes, little-endian: 1, 2, 4 or 8 of them.
    pub bytes: Vec<u8>,
}

/// What a script makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// In the order of their ALLOCATE commands.
    pub blobs: Vec<Blob>,
    /// In the order of their WRITE_POINTER commands.
    pub write_backs: Vec<WriteBack>,
}

/// Why a script was not run to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum LoadError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("table-loader: cannot read {file}: {reason}")]
    Read { file: String, reason: String },
    #[error("table-loader: {file} is allocated twice")]
    Twice { file: String },
    #[error("table-loader: {file} with {size} bytes makes more than {MAX_TOTAL} bytes of tables")]
    TooLarge { file: String, size: usize },
    #[error("table-loader: no room for {file}: {size} bytes aligned to {align:#x}")]
    NoRoom {
        file: String,
        size: usize,
        align: u32,
    },
    #[error("table-loader: {command} names {file}, which is not allocated")]
    NotAllocated { command: &'static str, file: String },
    #[error(
        "table-loader: {command} reaches outside of {file}: offset {offset:#x}, {length} bytes; the file has {size}"
    )]
    OutOfFile {
        command: &'static str,
        file: String,
        offset: u32,
        length: u32,
        size: usize,
    },
    #[error(
        "table-loader: ADD_POINTER at offset {offset:#x} of {file}: {value:#x} bytes into {source_file}, which has {size}"
    )]
    BadTarget {
        file: String,
        offset: u32,
        source_file: String,
        value: u64,
        size: usize,
    },
    #[error(
        "table-loader: {command} at offset {offset:#x} of {file}: address {value:#x} does not fit {size} bytes"
    )]
    TooWide {
        command: &'static str,
        file: String,
        offset: u32,
        value: u64,
        size: u8,
    },
}

/// What the loader needs from its caller.
pub trait Host {
    /// The bytes of a fw_cfg file of at most `limit` bytes, or why there are none.
    fn read(&mut self, file: &str, limit: usize) -> Result<Vec<u8>, String>;
    /// A place in guest memory for `size` bytes, aligned to `align`; `None` when there is none.
    fn allocate(&mut self, size: u64, align: u64, zone: Zone) -> Option<u64>;
}

/// Runs the script.
pub fn load(script: &[u8], host: &mut dyn Host) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    for command in parse(script)? {
        match command {
            Command::Allocate { file, align, zone } => loaded.allocate(host, file, align, zone)?,
            Command::AddPointer {
                destination,
                source,
                offset,
                size,
            } => loaded.add_pointer(&destination, &source, offset, size)?,
            Command::AddChecksum {
                file,
                offset,
                start,
                length,
            } => loaded.add_checksum(&file, offset, start, length)?,
            Command::WritePointer {
                destination,
                source,
                offset,
                source_offset,
                size,
            } => loaded.write_pointer(destination, &source, offset, source_offset, size)?,
        }
    }
    Ok(loaded)
}

const ADD_POINTER: &str = "ADD_POINTER";
const ADD_CHECKSUM: &str = "ADD_CHECKSUM";
const WRITE_POINTER: &str = "WRITE_POINTER";

impl Loaded {
    fn allocate(
        &mut self,
        host: &mut dyn Host,
        file: String,
        align: u32,
        zone: Zone,
    ) -> Result<(), LoadError> {
        if self.blobs.iter().any(|blob| blob.file == file) {
            return Err(LoadError::Twice { file });
        }
        let used: usize = self.blobs.iter().map(|blob| blob.data.len()).sum();
        let limit = MAX_TOTAL - used;
        let data = match host.read(&file, limit) {
            Ok(data) => data,
            Err(reason) => return Err(LoadError::Read { file, reason }),
        };
        let size = data.len();
        if size > limit {
            return Err(LoadError::TooLarge { file, size });
        }
        match host.allocate(size as u64, align.into(), zone) {
            Some(gpa) => self.blobs.push(Blob {
                file,
                zone,
                gpa,
                data,
            }),
            None => return Err(LoadError::NoRoom { file, size, align }),
        }
        Ok(())
    }

    fn add_pointer(
        &mut self,
        destination: &str,
        source: &str,
        offset: u32,
        size: u8,
    ) -> Result<(), LoadError> {
        let target = self.blob(ADD_POINTER, source)?;
        let (base, target_size) = (target.gpa, target.data.len());
        let blob = self.blob(ADD_POINTER, destination)?;
        let value = read_number(&blob.data, offset, size)
            .ok_or_else(|| blob.outside(ADD_POINTER, offset, size.into()))?;
        // The number there is an offset into the source until the address is added.
        if value >= target_size as u64 {
            return Err(LoadError::BadTarget {
                file: destination.into(),
                offset,
                source_file: source.into(),
                value,
                size: target_size,
            });
        }
        let value = base + value;
        write_number(&mut blob.data, offset, size, value).ok_or_else(|| LoadError::TooWide {
            command: ADD_POINTER,
            file: destination.into(),
            offset,
            value,
            size,
        })
    }

    fn add_checksum(
        &mut self,
        file: &str,
        offset: u32,
        start: u32,
        length: u32,
    ) -> Result<(), LoadError> {
        let blob = self.blob(ADD_CHECKSUM, file)?;
        let sum = (start as usize)
            .checked_add(length as usize)
            .and_then(|end| blob.data.get(start as usize..end))
            .map(checksum)
            .ok_or_else(|| blob.outside(ADD_CHECKSUM, start, length))?;
        match blob.data.get_mut(offset as usize) {
            Some(byte) => *byte = byte.wrapping_sub(sum),
            None => return Err(blob.outside(ADD_CHECKSUM, offset, 1)),
        }
        Ok(())
    }

    fn write_pointer(
        &mut self,
        destination: String,
        source: &str,
        offset: u32,
        source_offset: u32,
        size: u8,
    ) -> Result<(), LoadError> {
        let target = self.blob(WRITE_POINTER, source)?;
        if source_offset as usize >= target.data.len() {
            return Err(target.outside(WRITE_POINTER, source_offset, 1));
        }
        let value = target.gpa + u64::from(source_offset);
        let mut bytes = alloc::vec![0; size.into()];
        if write_number(&mut bytes, 0, size, value).is_none() {
            return Err(LoadError::TooWide {
                command: WRITE_POINTER,
                file: destination,
                offset,
                value,
                size,
            });
        }
        self.write_backs.push(WriteBack {
            file: destination,
            offset,
            bytes,
        });
        Ok(())
    }

    fn blob(&mut self, command: &'static str, file: &str) -> Result<&mut Blob, LoadError> {
        self.blobs
            .iter_mut()
            .find(|blob| blob.file == file)
            .ok_or_else(|| LoadError::NotAllocated {
                command,
                file: file.into(),
            })
    }
}

impl Blob {
    fn outside(&self, command: &'static str, offset: u32, length: u32) -> LoadError {
        LoadError::OutOfFile {
            command,
            file: self.file.clone(),
            offset,
            length,
            size: self.data.len(),
        }
    }
}

/// The sum of all bytes.
pub(super) fn checksum(data: &[u8]) -> u8 {
    data.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests;
