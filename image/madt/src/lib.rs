//! Makes MADTs, the ACPI table that lists processors (ACPI 6.5 §5.2.12): true ones, and lies of all kinds.
//!
//! This is the host's side. The software SNP machine and the native loader hand a table made here to the image; with the
//! option `madt=LIES` it is one that a hostile host would make ([`Lies`]). The side that reads and doubts the table is
//! `svsm_core::madt`, which shares no code with this.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod lies;
mod random;
#[cfg(test)]
mod tests;

pub use lies::{Answer, BadLie, Lies};
pub use random::Random;

use alloc::vec;
use alloc::vec::Vec;

/// Bytes before the entries: the header that all ACPI tables have, the local APIC's address, flags.
pub const HEADER_BYTES: usize = 44;

/// Types of entries (ACPI 6.5, table 5.21).
pub mod entry_type {
    #![allow(missing_docs)]
    pub const LOCAL_APIC: u8 = 0;
    pub const IO_APIC: u8 = 1;
    pub const INTERRUPT_OVERRIDE: u8 = 2;
    pub const NMI_SOURCE: u8 = 3;
    pub const LOCAL_APIC_NMI: u8 = 4;
    pub const LOCAL_APIC_ADDRESS: u8 = 5;
    pub const LOCAL_X2APIC: u8 = 9;
    pub const LOCAL_X2APIC_NMI: u8 = 10;
}

/// Flag of a processor: it can be used.
pub const ENABLED: u32 = 1;
/// Flag of a processor that is not enabled: it may be plugged while the system runs.
pub const ONLINE_CAPABLE: u32 = 2;

const LOCAL_APIC_ADDRESS: u32 = 0xFEE0_0000;
const IO_APIC_ADDRESS: u32 = 0xFEC0_0000;
/// Flag of the table: there is an 8259 pair, too.
const PCAT_COMPAT: u32 = 1;
/// Active high, level triggered: PCI interrupts.
const LEVEL_HIGH: u16 = 0xD;
/// ISA interrupts that are PCI's on q35.
const PCI_INTERRUPTS: [u8; 4] = [5, 9, 10, 11];
/// From here on an APIC ID does not fit a local APIC entry, whose 255 is the broadcast ID.
const FIRST_WIDE_ID: u32 = 255;

/// A processor as an entry names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// APIC ID.
    pub id: u32,
    /// [`ENABLED`], [`ONLINE_CAPABLE`].
    pub flags: u32,
}

impl Processor {
    /// One that can be used.
    pub const fn enabled(id: u32) -> Processor {
        Processor { id, flags: ENABLED }
    }

    /// Its entry: local APIC, or local x2APIC where the ID needs it or `wide` demands it.
    pub fn entry(self, wide: bool) -> Vec<u8> {
        let [low, ..] = self.id.to_le_bytes();
        let mut entry;
        if wide || self.id >= FIRST_WIDE_ID {
            entry = vec![entry_type::LOCAL_X2APIC, 16, 0, 0];
            entry.extend_from_slice(&self.id.to_le_bytes());
            entry.extend_from_slice(&self.flags.to_le_bytes());
            entry.extend_from_slice(&self.id.to_le_bytes());
        } else {
            entry = vec![entry_type::LOCAL_APIC, 8, low, low];
            entry.extend_from_slice(&self.flags.to_le_bytes());
        }
        entry
    }

    /// The processor of an entry that has one.
    pub fn of(entry: &[u8]) -> Option<Processor> {
        let word = |at: usize| Some(u32::from_le_bytes(*entry.get(at..)?.first_chunk()?));
        match *entry.first()? {
            entry_type::LOCAL_APIC => Some(Processor {
                id: (*entry.get(3)?).into(),
                flags: word(4)?,
            }),
            entry_type::LOCAL_X2APIC => Some(Processor {
                id: word(4)?,
                flags: word(8)?,
            }),
            _ => None,
        }
    }
}

/// A table to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Madt {
    header: [u8; HEADER_BYTES],
    /// The entries, each with its type and length.
    pub entries: Vec<Vec<u8>>,
}

impl Madt {
    /// Nothing but a header.
    pub fn empty() -> Madt {
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(b"APIC");
        header[8] = 5; // revision: ACPI 6.5's is 6, but nothing here is newer than ACPI 4
        header[10..16].copy_from_slice(b"MACADA");
        header[16..24].copy_from_slice(b"MACADAMI");
        header[24] = 1;
        header[28..32].copy_from_slice(b"MACA");
        header[32] = 1;
        header[36..40].copy_from_slice(&LOCAL_APIC_ADDRESS.to_le_bytes());
        header[40..].copy_from_slice(&PCAT_COMPAT.to_le_bytes());
        Madt {
            header,
            entries: Vec::new(),
        }
    }

    /// The truth: these APIC IDs, and QEMU's q35 around them.
    pub fn new(ids: impl IntoIterator<Item = u32>) -> Madt {
        let mut table = Madt::empty();
        let ids = ids.into_iter().map(Processor::enabled);
        table.entries = ids.map(|processor| processor.entry(false)).collect();
        let mut io_apic = vec![entry_type::IO_APIC, 12, 0, 0];
        io_apic.extend_from_slice(&IO_APIC_ADDRESS.to_le_bytes());
        io_apic.extend_from_slice(&0u32.to_le_bytes());
        table.entries.push(io_apic);
        let mut interrupt_override = |irq: u8, gsi: u32, flags: u16| {
            let mut entry = vec![entry_type::INTERRUPT_OVERRIDE, 10, 0, irq];
            entry.extend_from_slice(&gsi.to_le_bytes());
            entry.extend_from_slice(&flags.to_le_bytes());
            table.entries.push(entry);
        };
        interrupt_override(0, 2, 0);
        for irq in PCI_INTERRUPTS {
            interrupt_override(irq, irq.into(), LEVEL_HIGH);
        }
        // LINT1 of all processors is NMI.
        table
            .entries
            .push(vec![entry_type::LOCAL_APIC_NMI, 6, 0xFF, 0, 0, 1]);
        table
    }

    /// Takes a table of somebody else's apart. `None`: it is none, or its entries do not fill it.
    pub fn read(bytes: &[u8]) -> Option<Madt> {
        let header = *bytes.first_chunk::<HEADER_BYTES>()?;
        let length = u32::from_le_bytes(*header[4..].first_chunk()?) as usize;
        let mut rest = bytes.get(HEADER_BYTES..length)?;
        if !header.starts_with(b"APIC") {
            return None;
        }
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(*rest.get(1)?);
            let (entry, after) = rest.split_at_checked(length).filter(|_| length >= 2)?;
            entries.push(entry.to_vec());
            rest = after;
        }
        Some(Madt { header, entries })
    }

    /// The processors, in the entries' order.
    pub fn processors(&self) -> impl Iterator<Item = Processor> {
        self.entries.iter().filter_map(|entry| Processor::of(entry))
    }

    /// The finished table: length and checksum are right.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_vec();
        for entry in &self.entries {
            bytes.extend_from_slice(entry);
        }
        set_length(&mut bytes);
        bytes
    }
}

/// Makes length and checksum right.
pub fn set_length(table: &mut [u8]) {
    let length = table.len() as u32;
    if let Some(field) = table.get_mut(4..8) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    set_checksum(table);
}

/// Makes the checksum right.
pub fn set_checksum(table: &mut [u8]) {
    if let Some(field) = table.get_mut(9) {
        *field = 0;
        let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
        table[9] = sum.wrapping_neg();
    }
}
