//! The table-loader script: entries of 128 bytes, little-endian.

use alloc::string::String;
use alloc::vec::Vec;

use crate::field::{u32_at, u64_at};
use crate::fw_cfg::name_at;

/// Bytes of an entry.
pub const ENTRY_SIZE: usize = 128;
/// Most entries that are read; QEMU uses some forty.
pub const MAX_ENTRIES: usize = 4096;

/// Where a file is to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Anywhere below 4 GiB.
    High,
    /// Where a search for the RSDP looks: 0xF0000 to 0xFFFFF.
    FSegment,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    /// Load `file` into memory.
    Allocate {
        file: String,
        align: u32,
        zone: Zone,
    },
    /// Add the address of `source` to the `size`-byte number at `offset` in `destination`.
    AddPointer {
        destination: String,
        source: String,
        offset: u32,
        size: u8,
    },
    /// Change the byte at `offset` so that the `length` bytes from `start` sum to zero.
    AddChecksum {
        file: String,
        offset: u32,
        start: u32,
        length: u32,
    },
    /// Tell the host, in `destination`, where byte `source_offset` of `source` was put.
    WritePointer {
        destination: String,
        source: String,
        offset: u32,
        source_offset: u32,
        size: u8,
    },
}

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ScriptError {
    #[error(
        "table-loader: {0} bytes is no whole number of {ENTRY_SIZE}-byte entries, or above {MAX_ENTRIES} of them"
    )]
    Length(usize),
    #[error("table-loader: entry {index} has command {command}, which is unknown")]
    Command { index: usize, command: u32 },
    #[error("table-loader: entry {0} has a file name that is empty, unterminated, or not ASCII")]
    Name(usize),
    #[error(
        "table-loader: entry {index} puts {file} into zone {zone}; 1 (high) or 2 (F segment) expected"
    )]
    Zone {
        index: usize,
        file: String,
        zone: u8,
    },
    #[error("table-loader: entry {index} aligns {file} to {align:#x}; a power of two expected")]
    Align {
        index: usize,
        file: String,
        align: u32,
    },
    #[error(
        "table-loader: entry {index} has a pointer of {size} bytes in {file}; 1, 2, 4 or 8 expected"
    )]
    PointerSize {
        index: usize,
        file: String,
        size: u8,
    },
}

/// The commands of a script; entries with command 0 are padding.
pub fn parse(script: &[u8]) -> Result<Vec<Command>, ScriptError> {
    if !script.len().is_multiple_of(ENTRY_SIZE) || script.len() / ENTRY_SIZE > MAX_ENTRIES {
        return Err(ScriptError::Length(script.len()));
    }
    let mut commands = Vec::new();
    for (index, bytes) in script.chunks_exact(ENTRY_SIZE).enumerate() {
        commands.extend(Entry { index, bytes }.command()?);
    }
    Ok(commands)
}

struct Entry<'a> {
    index: usize,
    bytes: &'a [u8],
}

impl Entry<'_> {
    fn command(&self) -> Result<Option<Command>, ScriptError> {
        Ok(Some(match self.number(0) {
            0 => return Ok(None),
            1 => self.allocate()?,
            2 => {
                let destination = self.name(4)?;
                let size = self.pointer_size(120, &destination)?;
                Command::AddPointer {
                    destination,
                    source: self.name(60)?,
                    offset: self.number(116),
                    size,
                }
            }
            3 => Command::AddChecksum {
                file: self.name(4)?,
                offset: self.number(60),
                start: self.number(64),
                length: self.number(68),
            },
            4 => {
                let destination = self.name(4)?;
                let size = self.pointer_size(124, &destination)?;
                Command::WritePointer {
                    destination,
                    source: self.name(60)?,
                    offset: self.number(116),
                    source_offset: self.number(120),
                    size,
                }
            }
            command => {
                let index = self.index;
                return Err(ScriptError::Command { index, command });
            }
        }))
    }

    fn allocate(&self) -> Result<Command, ScriptError> {
        let index = self.index;
        let (file, align) = (self.name(4)?, self.number(60));
        if !align.is_power_of_two() {
            return Err(ScriptError::Align { index, file, align });
        }
        let zone = match self.byte(64) {
            1 => Zone::High,
            2 => Zone::FSegment,
            zone => return Err(ScriptError::Zone { index, file, zone }),
        };
        Ok(Command::Allocate { file, align, zone })
    }

    fn pointer_size(&self, offset: usize, file: &str) -> Result<u8, ScriptError> {
        match self.byte(offset) {
            size @ (1 | 2 | 4 | 8) => Ok(size),
            size => Err(ScriptError::PointerSize {
                index: self.index,
                file: file.into(),
                size,
            }),
        }
    }

    fn name(&self, offset: usize) -> Result<String, ScriptError> {
        name_at(self.bytes, offset)
            .map(String::from)
            .ok_or(ScriptError::Name(self.index))
    }

    // The entry is ENTRY_SIZE long by `chunks_exact` and all offsets are constants inside it: the defaults never
    // come up.
    fn number(&self, offset: usize) -> u32 {
        u32_at(self.bytes, offset).unwrap_or_default()
    }

    fn byte(&self, offset: usize) -> u8 {
        self.bytes.get(offset).copied().unwrap_or_default()
    }
}

/// Reads the `size`-byte number at `offset`; `None` when it is not inside of `data`.
pub(super) fn read_number(data: &[u8], offset: u32, size: u8) -> Option<u64> {
    let field = data.get(offset as usize..(offset as usize).checked_add(size as usize)?)?;
    let mut bytes = [0; 8];
    bytes.get_mut(..field.len())?.copy_from_slice(field);
    u64_at(&bytes, 0)
}

/// Writes `value` as the `size`-byte number at `offset`; `None` when it does not fit in there.
pub(super) fn write_number(data: &mut [u8], offset: u32, size: u8, value: u64) -> Option<()> {
    let field = data.get_mut(offset as usize..(offset as usize).checked_add(size as usize)?)?;
    let bytes = value.to_le_bytes();
    let (low, high) = bytes.split_at_checked(size as usize)?;
    if high.iter().any(|byte| *byte != 0) {
        return None;
    }
    field.copy_from_slice(low);
    Some(())
}
