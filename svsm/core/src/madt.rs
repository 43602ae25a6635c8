//! The processors, from the MADT that the host supplies as an IGVM parameter (ACPI 6.5 §5.2.12).
//!
//! The table is not measured. A host that lies about processors can only withhold them, which it could anyway; so
//! what is checked is that the table keeps within its bounds and makes sense.

/// Most processors that the SVSM can start.
pub const MAX_CPUS: usize = 512;

/// Bytes of the table before its entries.
const HEADER: usize = 44;
/// Entry types: processor local APIC and processor local x2APIC.
const LOCAL_APIC: u8 = 0;
const LOCAL_X2APIC: u8 = 9;
/// Flag of both: the processor can be used.
const ENABLED: u32 = 1;
/// Flag of both: it is not there yet but may be plugged.
const ONLINE_CAPABLE: u32 = 2;

/// The processors that can be used, by APIC ID, in the table's order.
#[derive(Clone, Debug)]
pub struct CpuList {
    ids: [u32; MAX_CPUS],
    count: usize,
    /// How many could be plugged later.
    pub pluggable: usize,
    /// Whether the table's bytes add up to zero. QEMU hands out a table whose sum it leaves to the firmware, so a
    /// wrong one is reported and not refused.
    pub checksum_holds: bool,
}

/// Why a MADT was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum MadtError {
    #[error("MADT: signature is {found:02x?}, not \"APIC\"")]
    Signature { found: [u8; 4] },
    #[error("MADT: length is {length}; it must be {HEADER} to {area} bytes")]
    Length { length: usize, area: usize },
    #[error(
        "MADT: entry of type {entry_type} at offset {offset} has length {length}; {needed} bytes are needed and {left} are left"
    )]
    Entry {
        entry_type: u8,
        offset: usize,
        length: usize,
        needed: usize,
        left: usize,
    },
    #[error("MADT: APIC ID {apic_id} is listed twice, again at offset {offset}")]
    Duplicate { apic_id: u32, offset: usize },
    #[error("MADT: more than {MAX_CPUS} processors, the next at offset {offset}")]
    TooMany { offset: usize },
    #[error("MADT: no enabled processor")]
    NoCpu,
    #[error(
        "MADT: the boot processor (APIC ID {boot_id}) is not among its {count} enabled processors"
    )]
    NoBootCpu { boot_id: u32, count: usize },
}

impl CpuList {
    /// Reads the table at the start of `area`. `boot_id` is the APIC ID of the processor that reads it.
    pub fn parse(area: &[u8], boot_id: u32) -> Result<CpuList, MadtError> {
        let field = |offset| u32_at(area, offset).unwrap_or(0);
        let signature = field(0).to_le_bytes();
        if &signature != b"APIC" {
            return Err(MadtError::Signature { found: signature });
        }
        let length = field(4) as usize;
        let table = match area.get(..length) {
            Some(table) if length >= HEADER => table,
            _ => {
                return Err(MadtError::Length {
                    length,
                    area: area.len(),
                });
            }
        };
        let mut list = CpuList {
            ids: [0; MAX_CPUS],
            count: 0,
            pluggable: 0,
            checksum_holds: table.iter().fold(0u8, |sum, &b| sum.wrapping_add(b)) == 0,
        };
        let mut offset = HEADER;
        while offset < length {
            offset += list.entry(table, offset)?;
        }
        match list.ids().first() {
            None => Err(MadtError::NoCpu),
            Some(_) if !list.ids().contains(&boot_id) => Err(MadtError::NoBootCpu {
                boot_id,
                count: list.count,
            }),
            Some(_) => Ok(list),
        }
    }

    /// APIC IDs.
    pub fn ids(&self) -> &[u32] {
        &self.ids[..self.count]
    }

    /// Takes in the entry at `offset`; its length.
    fn entry(&mut self, table: &[u8], offset: usize) -> Result<usize, MadtError> {
        let left = table.len() - offset;
        let entry_type = table[offset];
        let length = table.get(offset + 1).map_or(0, |&b| b as usize);
        let needed = match entry_type {
            LOCAL_APIC => 8,
            LOCAL_X2APIC => 16,
            _ => 2,
        };
        if length < needed || length > left {
            return Err(MadtError::Entry {
                entry_type,
                offset,
                length,
                needed,
                left,
            });
        }
        let field = |at| u32_at(table, offset + at).unwrap_or(0);
        let (apic_id, flags, broadcast) = match entry_type {
            LOCAL_APIC => (table[offset + 3] as u32, field(4), 0xFF),
            LOCAL_X2APIC => (field(4), field(8), u32::MAX),
            _ => return Ok(length),
        };
        if apic_id == broadcast {
            // The broadcast ID stands for "no such processor".
        } else if flags & ENABLED != 0 {
            if self.ids().contains(&apic_id) {
                return Err(MadtError::Duplicate { apic_id, offset });
            }
            *self
                .ids
                .get_mut(self.count)
                .ok_or(MadtError::TooMany { offset })? = apic_id;
            self.count += 1;
        } else if flags & ONLINE_CAPABLE != 0 {
            self.pluggable += 1;
        }
        Ok(length)
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn apic(id: u8, flags: u32) -> Vec<u8> {
        let mut entry = vec![0, 8, 0, id];
        entry.extend_from_slice(&flags.to_le_bytes());
        entry
    }

    fn x2apic(id: u32, flags: u32) -> Vec<u8> {
        let mut entry = vec![9, 16, 0, 0];
        entry.extend_from_slice(&id.to_le_bytes());
        entry.extend_from_slice(&flags.to_le_bytes());
        entry.extend_from_slice(&[0; 4]);
        entry
    }

    fn table(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"APIC".to_vec();
        bytes.resize(HEADER, 0);
        for entry in entries {
            bytes.extend_from_slice(entry);
        }
        let length = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        let sum = bytes.iter().fold(0u8, |sum, &b| sum.wrapping_add(b));
        bytes[9] = 0u8.wrapping_sub(sum);
        bytes
    }

    #[test]
    fn both_kinds_of_entry_are_read_and_others_skipped_by_length() {
        let io_apic = vec![1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0];
        let list = CpuList::parse(
            &table(&[
                apic(0, 1),
                io_apic,
                apic(1, 0),
                apic(2, 2),
                x2apic(300, 1),
                vec![0x80, 3, 7],
                apic(0xFF, 1),
                x2apic(u32::MAX, 1),
            ]),
            0,
        )
        .unwrap();
        assert_eq!(list.ids(), [0, 300]);
        assert_eq!(list.pluggable, 1);
        assert!(list.checksum_holds);
    }

    #[test]
    fn bytes_beyond_the_length_do_not_count() {
        let mut bytes = table(&[apic(0, 1)]);
        bytes.extend_from_slice(&apic(1, 1));
        assert_eq!(CpuList::parse(&bytes, 0).unwrap().ids(), [0]);
    }

    #[test]
    fn a_wrong_checksum_is_noticed() {
        let mut bytes = table(&[apic(0, 1)]);
        bytes[9] ^= 1;
        assert!(!CpuList::parse(&bytes, 0).unwrap().checksum_holds);
    }

    #[test]
    fn lies_are_named() {
        let refused = |bytes: &[u8]| CpuList::parse(bytes, 0).unwrap_err();
        assert_eq!(refused(&[]), MadtError::Signature { found: [0; 4] });
        assert_eq!(refused(b"FACP"), MadtError::Signature { found: *b"FACP" });
        let mut long = table(&[apic(0, 1)]);
        long[4] += 1;
        assert_eq!(
            refused(&long),
            MadtError::Length {
                length: 53,
                area: 52
            }
        );
        let mut short = table(&[apic(0, 1)]);
        short[4] = 43;
        assert_eq!(
            refused(&short),
            MadtError::Length {
                length: 43,
                area: 52
            }
        );
        assert_eq!(refused(&table(&[])), MadtError::NoCpu);
        assert_eq!(
            refused(&table(&[apic(3, 1)])),
            MadtError::NoBootCpu {
                boot_id: 0,
                count: 1
            }
        );
        assert_eq!(
            refused(&table(&[apic(0, 1), x2apic(0, 1)])),
            MadtError::Duplicate {
                apic_id: 0,
                offset: 52
            }
        );
        assert_eq!(
            refused(&table(&[vec![9, 8, 0, 0, 0, 0, 0, 0]])),
            MadtError::Entry {
                entry_type: 9,
                offset: 44,
                length: 8,
                needed: 16,
                left: 8
            }
        );
        assert_eq!(
            refused(&table(&[vec![5, 0]])),
            MadtError::Entry {
                entry_type: 5,
                offset: 44,
                length: 0,
                needed: 2,
                left: 2
            }
        );
        assert_eq!(
            refused(&table(&[vec![5]])),
            MadtError::Entry {
                entry_type: 5,
                offset: 44,
                length: 0,
                needed: 2,
                left: 1
            }
        );
        assert_eq!(
            refused(&table(&[vec![0, 200, 0, 0]])),
            MadtError::Entry {
                entry_type: 0,
                offset: 44,
                length: 200,
                needed: 8,
                left: 4
            }
        );
    }

    #[test]
    fn as_many_processors_as_there_is_room_for() {
        let entries: Vec<_> = (0..MAX_CPUS as u32 + 1).map(|id| x2apic(id, 1)).collect();
        assert_eq!(
            CpuList::parse(&table(&entries[..MAX_CPUS]), 0)
                .unwrap()
                .ids()
                .len(),
            MAX_CPUS
        );
        assert_eq!(
            CpuList::parse(&table(&entries), 0).unwrap_err(),
            MadtError::TooMany {
                offset: HEADER + MAX_CPUS * 16
            }
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = CpuList::parse(&bytes, 0);
            let length = bytes.len() as u32;
            if bytes.len() >= 8 {
                bytes[..4].copy_from_slice(b"APIC");
                bytes[4..8].copy_from_slice(&length.to_le_bytes());
            }
            let _ = CpuList::parse(&bytes, 0);
        }
    }
}
