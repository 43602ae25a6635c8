//! The RSDP and what it leads to (ACPI 6.5 §5.2.5 to §5.2.8).

use alloc::string::String;
use alloc::vec::Vec;

use super::command::Zone;
use super::loader::{Blob, Loaded, checksum};
use crate::field::{bytes, u32_at, u64_at};

/// First bytes of the RSDP.
pub const RSDP_SIGNATURE: [u8; 8] = *b"RSD PTR ";
/// Bytes of a table's header.
pub const HEADER_SIZE: usize = 36;

/// A table that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its signature, such as `APIC`.
    pub signature: [u8; 4],
    /// Its address.
    pub gpa: u64,
    /// Bytes.
    pub length: u32,
}

/// What is wrong with the tables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum TableError {
    #[error("ACPI: no RSDP in the {files} loaded files")]
    NoRsdp { files: usize },
    #[error("ACPI: the RSDP at {gpa:#x} has checksum {sum:#x}, 0 expected")]
    RsdpChecksum { gpa: u64, sum: u8 },
    #[error("ACPI: {pointer} points to {gpa:#x}, where no table is")]
    Pointer { pointer: &'static str, gpa: u64 },
    #[error(
        "ACPI: {pointer} points to {gpa:#x}, a table that says it has {length} bytes; {room} are left in {file}"
    )]
    Length {
        pointer: &'static str,
        gpa: u64,
        length: u32,
        file: String,
        room: usize,
    },
    #[error("ACPI: the table at {gpa:#x} ({length} bytes) has checksum {sum:#x}, 0 expected")]
    Checksum { gpa: u64, length: u32, sum: u8 },
}

/// Finds the RSDP; in the F segment's files first, as a search of that segment would.
pub fn find_rsdp(loaded: &Loaded) -> Result<u64, TableError> {
    let in_zone = |zone: Zone| loaded.blobs.iter().filter(move |blob| blob.zone == zone);
    in_zone(Zone::FSegment)
        .chain(in_zone(Zone::High))
        .find_map(rsdp_in)
        .unwrap_or(Err(TableError::NoRsdp {
            files: loaded.blobs.len(),
        }))
}

fn rsdp_in(blob: &Blob) -> Option<Result<u64, TableError>> {
    let at = (0..blob.data.len())
        .step_by(16)
        .find(|at| bytes(&blob.data, *at) == Some(RSDP_SIGNATURE))?;
    let gpa = blob.gpa + at as u64;
    // The first 20 bytes have a checksum of their own; from revision 2 on, so has the whole.
    let length = match blob.data.get(at + 15)? {
        0 | 1 => 20,
        _ => u32_at(&blob.data, at + 20)? as usize,
    };
    let sums = [20, length].map(|length| {
        blob.data
            .get(at..at.saturating_add(length))
            .map_or(0xFF, checksum)
    });
    Some(match sums.into_iter().find(|sum| *sum != 0) {
        Some(sum) => Err(TableError::RsdpChecksum { gpa, sum }),
        None => Ok(gpa),
    })
}

/// All tables that the RSDP leads to, checked: the root table, what it lists, and the FADT's DSDT.
pub fn walk(loaded: &Loaded, rsdp: u64) -> Result<Vec<Table>, TableError> {
    let root = data_at(loaded, rsdp).ok_or(TableError::NoRsdp {
        files: loaded.blobs.len(),
    })?;
    let xsdt = (root.1.get(15).copied().unwrap_or(0) >= 2)
        .then(|| u64_at(root.1, 24))
        .flatten()
        .filter(|gpa| *gpa != 0);
    let (gpa, width) = match xsdt {
        Some(gpa) => (gpa, 8),
        None => (u32_at(root.1, 16).unwrap_or(0).into(), 4),
    };
    let (table, root) = table_at(loaded, "the RSDP", gpa)?;
    let mut found = alloc::vec![table];
    for entry in root.get(HEADER_SIZE..).unwrap_or(&[]).chunks_exact(width) {
        let gpa = u64_at(entry, 0).or(u32_at(entry, 0).map(u64::from));
        let (table, data) = table_at(loaded, "the root table", gpa.unwrap_or(0))?;
        found.push(table);
        if table.signature == *b"FACP" {
            let wide = u64_at(data, 140).filter(|gpa| *gpa != 0);
            let dsdt = wide.or(u32_at(data, 40).map(u64::from)).unwrap_or(0);
            found.push(table_at(loaded, "the FADT", dsdt)?.0);
        }
    }
    Ok(found)
}

fn data_at(loaded: &Loaded, gpa: u64) -> Option<(&Blob, &[u8])> {
    loaded.blobs.iter().find_map(|blob| {
        let offset = usize::try_from(gpa.checked_sub(blob.gpa)?).ok()?;
        let data = blob.data.get(offset..)?;
        (!data.is_empty()).then_some((blob, data))
    })
}

fn table_at<'a>(
    loaded: &'a Loaded,
    pointer: &'static str,
    gpa: u64,
) -> Result<(Table, &'a [u8]), TableError> {
    let missing = TableError::Pointer { pointer, gpa };
    let (blob, data) = data_at(loaded, gpa).ok_or(missing.clone())?;
    let (Some(signature), Some(length)) = (bytes(data, 0), u32_at(data, 4)) else {
        return Err(missing);
    };
    let content = data
        .get(..length as usize)
        .filter(|content| content.len() >= HEADER_SIZE)
        .ok_or(TableError::Length {
            pointer,
            gpa,
            length,
            file: blob.file.clone(),
            room: data.len(),
        })?;
    match checksum(content) {
        0 => Ok((
            Table {
                signature,
                gpa,
                length,
            },
            content,
        )),
        sum => Err(TableError::Checksum { gpa, length, sum }),
    }
}
