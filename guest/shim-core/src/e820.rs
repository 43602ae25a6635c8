//! The memory map that Linux is given.
//!
//! What Linux may hand out (type 1) must be private and validated, since it never validates memory itself without EFI.
//! What it must leave alone, but reads as private memory, is reserved (type 2). ACPI tables are type 3: a reserved
//! range would be mapped shared, and a RAM range not mapped at all.

use alloc::vec::Vec;

use crate::memory_map::MemoryMap;
use crate::range::{Range, RangeSet};

/// Most entries that boot_params has room for.
pub const MAX_ENTRIES: usize = 128;
/// Bytes of an entry.
pub const ENTRY_SIZE: usize = 20;

/// What a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Kind {
    Ram = 1,
    Reserved = 2,
    Acpi = 3,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Entry {
    pub range: Range,
    pub kind: Kind,
}

impl Entry {
    /// As it stands in boot_params: base, size, type.
    pub fn to_bytes(self) -> [u8; ENTRY_SIZE] {
        let mut out = [0; ENTRY_SIZE];
        out[0..8].copy_from_slice(&self.range.start.to_le_bytes());
        out[8..16].copy_from_slice(&self.range.size().to_le_bytes());
        out[16..20].copy_from_slice(&(self.kind as u32).to_le_bytes());
        out
    }
}

/// The map has too many entries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory map: {0} E820 entries, boot_params has room for {MAX_ENTRIES}")]
pub struct TooMany(pub usize);

/// Legacy area: no RAM for Linux to use, though all of it but video memory is validated.
const LEGACY: Range = Range::new(0xA_0000, 0x10_0000);

/// Builds the map. `region` is the payload's region, `acpi` holds the ACPI tables, `ecam` PCI's configuration space.
pub fn build(
    map: &MemoryMap,
    region: Range,
    acpi: &RangeSet,
    ecam: Option<Range>,
) -> Result<Vec<Entry>, TooMany> {
    let mut reserved = map.reserved.clone();
    for range in [Some(LEGACY), Some(region), ecam].into_iter().flatten() {
        reserved.insert(range);
    }
    let mut ram = map.ram.clone();
    reserved.iter().for_each(|range| ram.remove(range));
    for range in acpi.iter() {
        ram.remove(range);
        reserved.remove(range);
    }
    let sets = [
        (&ram, Kind::Ram),
        (&reserved, Kind::Reserved),
        (acpi, Kind::Acpi),
    ];
    let mut entries: Vec<Entry> = sets
        .into_iter()
        .flat_map(|(set, kind)| set.iter().map(move |range| Entry { range, kind }))
        .collect();
    entries.sort_by_key(|entry| entry.range);
    if entries.len() > MAX_ENTRIES {
        return Err(TooMany(entries.len()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REGION: Range = Range::new(0x80_0000, 0xA0_0000);
    const ECAM: Range = Range::new(0xB000_0000, 0xC000_0000);

    fn map(ram: &[Range], reserved: &[Range]) -> MemoryMap {
        MemoryMap {
            ram: ram.iter().copied().collect(),
            reserved: reserved.iter().copied().collect(),
        }
    }

    #[test]
    fn half_a_gigabyte_looks_as_linux_needs_it() {
        let map = map(
            &[Range::new(0, 0xA_0000), Range::new(0xC_0000, 0x2000_0000)],
            &[],
        );
        let acpi: RangeSet = [Range::new(0x1FFE_0000, 0x2000_0000)].into_iter().collect();
        let entries = build(&map, REGION, &acpi, Some(ECAM)).unwrap();
        let list: Vec<(u64, u64, Kind)> = entries
            .iter()
            .map(|entry| (entry.range.start, entry.range.end, entry.kind))
            .collect();
        assert_eq!(
            list,
            [
                (0, 0xA_0000, Kind::Ram),
                (0xA_0000, 0x10_0000, Kind::Reserved),
                (0x10_0000, 0x80_0000, Kind::Ram),
                (0x80_0000, 0xA0_0000, Kind::Reserved),
                (0xA0_0000, 0x1FFE_0000, Kind::Ram),
                (0x1FFE_0000, 0x2000_0000, Kind::Acpi),
                (0xB000_0000, 0xC000_0000, Kind::Reserved),
            ]
        );
        assert_eq!(
            entries[5].to_bytes(),
            [
                0, 0, 0xFE, 0x1F, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 3, 0, 0, 0
            ]
        );
    }

    #[test]
    fn too_many_entries_are_refused() {
        let ram: Vec<Range> = (0..130)
            .map(|n| Range::new(n << 24, (n << 24) + 0x1000))
            .collect();
        assert_eq!(
            build(&map(&ram, &[]), REGION, &RangeSet::new(), None),
            Err(TooMany(132))
        );
    }

    proptest! {
        #[test]
        fn only_ram_is_ram_and_no_two_entries_overlap(
            ram in proptest::collection::vec((0u64..0x400, 1u64..0x100), 0..5),
            tables in 0x100u64..0x400,
        ) {
            let ram: Vec<Range> = ram.into_iter().map(|(s, n)| Range::new(s << 12, (s + n) << 12)).collect();
            let map = map(&ram, &[]);
            let region = Range::new(0x20_0000, 0x22_0000);
            let acpi: RangeSet = [Range::new(tables << 12, (tables + 4) << 12)].into_iter().collect();
            let entries = build(&map, region, &acpi, None).unwrap();
            prop_assert!(entries.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
            for entry in entries.iter().filter(|entry| entry.kind == Kind::Ram) {
                prop_assert!(map.ram.contains(&entry.range));
                prop_assert!(!entry.range.overlaps(&region) && !entry.range.overlaps(&LEGACY));
                prop_assert!(!acpi.overlaps(&entry.range));
            }
        }
    }
}
