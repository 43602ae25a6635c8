//! Finding a table among firmware's (ACPI 6.5 §5.2.5 to §5.2.8).

use crate::{Memory, bytes_at, u16_at, u32_at, u64_at};

/// Where the segment of the extended BIOS data area is kept.
const EBDA_SEGMENT: u64 = 0x40E;
const EBDA_BYTES: u64 = 1024;
const BIOS: (u64, u64) = (0xE_0000, 0x10_0000);
/// Bytes of the first version of the root pointer, and of the second.
const RSDP_V1: u64 = 20;
const RSDP_V2: u64 = 36;
/// Bytes of a table's header.
const HEADER: u32 = 36;
/// The largest table that is believed in, bytes.
pub const MAX_TABLE: u32 = 0x1_0000;

/// A table's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Physical address.
    pub at: u64,
    /// Bytes with the header, [`MAX_TABLE`] at most.
    pub length: u32,
}

/// Why a table was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum AcpiError {
    #[error("ACPI: there is no root pointer")]
    NoRoot,
    #[error("ACPI: the table at {at:#x} is outside of memory")]
    Memory { at: u64 },
    #[error("ACPI: the table at {at:#x} is no {expected}")]
    Signature { at: u64, expected: &'static str },
    #[error("ACPI: the table at {at:#x} has length {length}; 36 to 65536 are possible")]
    Length { at: u64, length: u32 },
    #[error("ACPI: the bytes of the table at {at:#x} do not add up to zero")]
    Checksum { at: u64 },
    #[error("ACPI: there is no such table")]
    NoTable,
}

/// Finds the table with this signature. `rsdp` is where the root pointer is said to be; without, or if there is none, it
/// is searched for.
///
/// The sum of the table itself is not checked: that is for who reads it.
///
/// # Errors
/// There is none, or what leads to it is broken.
pub fn find(
    memory: &impl Memory,
    rsdp: Option<u64>,
    signature: [u8; 4],
) -> Result<Table, AcpiError> {
    let rsdp = rsdp
        .filter(|&at| is_rsdp(memory, at))
        .or_else(|| search(memory))
        .ok_or(AcpiError::NoRoot)?;
    let outside = AcpiError::Memory { at: rsdp };
    let [revision] = bytes_at(memory, rsdp, 15).ok_or(outside)?;
    let xsdt = if revision >= 2 && adds_up(memory, rsdp, RSDP_V2) {
        u64_at(memory, rsdp, 24).ok_or(outside)?
    } else {
        0
    };
    let (root, expected, entry_size) = match xsdt {
        0 => {
            let rsdt = u32_at(memory, rsdp, 16).ok_or(outside)?;
            (u64::from(rsdt), "RSDT", 4)
        }
        at => (at, "XSDT", 8),
    };
    let (found, root) = table(memory, root)?;
    if found != expected.as_bytes() {
        let at = root.at;
        return Err(AcpiError::Signature { at, expected });
    }
    if !adds_up(memory, root.at, root.length.into()) {
        return Err(AcpiError::Checksum { at: root.at });
    }
    for offset in
        (u64::from(HEADER)..=u64::from(root.length) - entry_size).step_by(entry_size as usize)
    {
        let at = if entry_size == 4 {
            u32_at(memory, root.at, offset).map(u64::from)
        } else {
            u64_at(memory, root.at, offset)
        };
        let at = at.ok_or(AcpiError::Memory { at: root.at })?;
        // What is not readable may still be another's table.
        if bytes_at(memory, at, 0) == Some(signature) {
            return table(memory, at).map(|(_, table)| table);
        }
    }
    Err(AcpiError::NoTable)
}

/// Signature and place of the table at `at`.
fn table(memory: &impl Memory, at: u64) -> Result<([u8; 4], Table), AcpiError> {
    let outside = AcpiError::Memory { at };
    let signature = bytes_at(memory, at, 0).ok_or(outside)?;
    let length = u32_at(memory, at, 4).ok_or(outside)?;
    if !(HEADER..=MAX_TABLE).contains(&length) {
        return Err(AcpiError::Length { at, length });
    }
    Ok((signature, Table { at, length }))
}

fn search(memory: &impl Memory) -> Option<u64> {
    let ebda = u16_at(memory, EBDA_SEGMENT, 0).map_or(0, |segment| u64::from(segment) << 4);
    let ebda = (ebda, ebda + if ebda == 0 { 0 } else { EBDA_BYTES });
    [ebda, BIOS]
        .into_iter()
        .flat_map(|(start, end)| (start..end).step_by(16))
        .find(|&at| is_rsdp(memory, at))
}

fn is_rsdp(memory: &impl Memory, at: u64) -> bool {
    bytes_at(memory, at, 0) == Some(*b"RSD PTR ") && adds_up(memory, at, RSDP_V1)
}

/// Whether the bytes are there and add up to zero.
fn adds_up(memory: &impl Memory, at: u64, bytes: u64) -> bool {
    let mut sum = 0u8;
    for offset in 0..bytes {
        match bytes_at(memory, at, offset) {
            Some([byte]) => sum = sum.wrapping_add(byte),
            None => return false,
        }
    }
    sum == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_memory::{Ram, mutate};

    const RSDP: u64 = 0x8010;
    const ROOT: u64 = 0x1000;
    const MADT: u64 = 0x2000;

    /// The EBDA has a root pointer of the first version.
    fn firmware() -> Ram {
        let mut ram = Ram::new();
        ram.put(EBDA_SEGMENT, &0x800u16.to_le_bytes());
        ram.put(RSDP, b"RSD PTR ");
        ram.put(RSDP + 16, &(ROOT as u32).to_le_bytes());
        ram.seal(RSDP, RSDP_V1, RSDP + 8);
        header(&mut ram, ROOT, b"RSDT", 36 + 3 * 4);
        ram.put(ROOT + 36, &0xFFFF_FFF0u32.to_le_bytes());
        ram.put(ROOT + 40, &0x3000u32.to_le_bytes());
        ram.put(ROOT + 44, &(MADT as u32).to_le_bytes());
        ram.seal(ROOT, 48, ROOT + 9);
        header(&mut ram, MADT, b"APIC", 100);
        header(&mut ram, 0x3000, b"FACP", 100);
        ram
    }

    fn header(ram: &mut Ram, at: u64, signature: &[u8; 4], length: u32) {
        ram.put(at, signature);
        ram.put(at + 4, &length.to_le_bytes());
    }

    /// The same with a pointer of the second version.
    fn firmware_2() -> Ram {
        let mut ram = firmware();
        ram.put(RSDP + 15, &[2]);
        ram.words(RSDP + 24, &[0x4000]);
        ram.seal(RSDP, RSDP_V1, RSDP + 8);
        ram.seal(RSDP, RSDP_V2, RSDP + 32);
        header(&mut ram, 0x4000, b"XSDT", 36 + 16);
        ram.put(0x4000 + 36, &0x3000u64.to_le_bytes());
        ram.put(0x4000 + 44, &0x5000u64.to_le_bytes());
        ram.seal(0x4000, 52, 0x4009);
        header(&mut ram, 0x5000, b"APIC", 50);
        ram
    }

    #[test]
    fn a_table_is_found_by_search_and_by_pointer() {
        let found = Ok(Table {
            at: MADT,
            length: 100,
        });
        let ram = firmware();
        assert_eq!(find(&ram, None, *b"APIC"), found);
        assert_eq!(find(&ram, Some(RSDP), *b"APIC"), found);
        assert_eq!(find(&ram, Some(u64::MAX), *b"APIC"), found);
        assert_eq!(find(&ram, None, *b"HPET"), Err(AcpiError::NoTable));
    }

    #[test]
    fn the_second_version_is_preferred_unless_it_is_broken() {
        let mut ram = firmware_2();
        let found = find(&ram, None, *b"APIC").unwrap();
        assert_eq!(found.at, 0x5000);
        ram.put(RSDP + 33, &[1]);
        assert_eq!(find(&ram, None, *b"APIC").unwrap().at, MADT);
    }

    #[test]
    fn broken_tables_are_refused() {
        let with = |at: u64, bytes: &[u8], seal: bool| {
            let mut ram = firmware();
            ram.put(at, bytes);
            if seal {
                ram.seal(ROOT, 48, ROOT + 9);
                ram.seal(RSDP, RSDP_V1, RSDP + 8);
            }
            find(&ram, None, *b"APIC").unwrap_err()
        };
        assert_eq!(with(RSDP, b"X", true), AcpiError::NoRoot);
        assert_eq!(with(RSDP + 10, b"X", false), AcpiError::NoRoot);
        assert_eq!(
            with(ROOT, b"X", true),
            AcpiError::Signature {
                at: ROOT,
                expected: "RSDT"
            }
        );
        assert_eq!(
            with(ROOT + 20, b"X", false),
            AcpiError::Checksum { at: ROOT }
        );
        assert_eq!(
            with(ROOT + 4, &[35, 0], true),
            AcpiError::Length {
                at: ROOT,
                length: 35
            }
        );
        assert_eq!(
            with(MADT + 4, &[1, 0, 1], false),
            AcpiError::Length {
                at: MADT,
                length: 0x1_0001
            }
        );
        assert_eq!(
            with(RSDP + 16, &[0xFF; 4], true),
            AcpiError::Memory { at: 0xFFFF_FFFF }
        );
        // A root without entries, and one whose last entry is cut off.
        assert_eq!(
            with(ROOT + 4, &[36, 0], false),
            AcpiError::Checksum { at: ROOT }
        );
        let mut ram = firmware();
        ram.put(ROOT + 4, &[47]);
        ram.seal(ROOT, 47, ROOT + 9);
        assert_eq!(find(&ram, None, *b"APIC"), Err(AcpiError::NoTable));
        ram.put(ROOT + 4, &[36]);
        ram.seal(ROOT, 36, ROOT + 9);
        assert_eq!(find(&ram, None, *b"APIC"), Err(AcpiError::NoTable));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        for good in [firmware(), firmware_2()] {
            let places = [
                EBDA_SEGMENT..EBDA_SEGMENT + 2,
                RSDP + 15..RSDP + RSDP_V2,
                ROOT + 4..ROOT + 48,
                0x4004..0x4034,
                MADT + 4..MADT + 8,
            ];
            mutate(&good, &places, |ram| {
                let mut ram = ram.clone();
                ram.seal(RSDP, RSDP_V1, RSDP + 8);
                ram.seal(RSDP, RSDP_V2, RSDP + 32);
                ram.seal(ROOT, 48, ROOT + 9);
                ram.seal(0x4000, 52, 0x4009);
                if let Ok(table) = find(&ram, None, *b"APIC") {
                    assert!((HEADER..=MAX_TABLE).contains(&table.length));
                }
            });
        }
    }
}
