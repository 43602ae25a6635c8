//! The memory map that the SVSM hands to its guest: IGVM entries, at first written by the host.
//!
//! The SVSM has checked the map for its own sake. It is checked again here, because what the guest makes of it decides
//! which memory Linux uses.

#[cfg(test)]
use alloc::vec::Vec;

use boot_abi::{MemoryMapEntry, memory_type};
use zerocopy::FromBytes;

use crate::range::{PAGE, Range, RangeSet};

/// The part of low memory that a PC keeps for video RAM: never RAM here.
pub const VIDEO: Range = Range::new(0xA_0000, 0xC_0000);
/// What Linux reads and writes below 1 MiB as private memory, whatever the map says of it: page 0 (BIOS data area),
/// the real-mode trampoline's place, and, looking for an iBFT, the ROM area.
pub const LOW_MEMORY: [Range; 2] = [Range::new(0, 0xA_0000), Range::new(0xC_0000, 0x10_0000)];

/// What is wrong with a memory map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum MapError {
    #[error("memory map: entry {index} ends at page {page:#x} + {pages:#x}, above {limit:#x}")]
    TooHigh {
        index: usize,
        page: u64,
        pages: u64,
        limit: u64,
    },
    #[error("memory map: entry {index} has type {kind}, which is unknown")]
    Type { index: usize, kind: u16 },
    #[error(
        "memory map: entry {index} has reserved bits set (flags {flags:#x}, reserved {reserved:#x})"
    )]
    Reserved {
        index: usize,
        flags: u16,
        reserved: u32,
    },
    #[error("memory map: entry {index} ({range}) overlaps an earlier one")]
    Overlap { index: usize, range: Range },
    #[error("memory map: entry {index} ({range}) overlaps the {what}")]
    Forbidden {
        index: usize,
        range: Range,
        what: &'static str,
    },
    #[error("memory map: no RAM at {range}, which is needed for {what}")]
    Missing { range: Range, what: &'static str },
}

/// A checked memory map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// RAM, without [`VIDEO`].
    pub ram: RangeSet,
    /// What the platform reserves.
    pub reserved: RangeSet,
}

/// What the map is held against.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// First address that cannot be guest memory: the C-bit, or the end of the physical address space if that is lower.
    pub limit: u64,
    /// The payload's region, which must be RAM.
    pub region: Range,
    /// The SVSM's memory, which must not be in the map as RAM.
    pub svsm: Range,
}

/// Reads a map of IGVM entries, which ends with an entry of zero pages or with the slice.
pub fn parse(area: &[u8], bounds: &Bounds) -> Result<MemoryMap, MapError> {
    let mut seen = RangeSet::new();
    let mut map = MemoryMap {
        ram: RangeSet::new(),
        reserved: RangeSet::new(),
    };
    for (index, bytes) in area.chunks_exact(size_of::<MemoryMapEntry>()).enumerate() {
        let Ok(entry) = MemoryMapEntry::read_from_bytes(bytes) else {
            break;
        };
        if entry.number_of_pages.get() == 0 {
            break;
        }
        let range = entry_range(index, &entry, bounds.limit)?;
        if seen.overlaps(&range) {
            return Err(MapError::Overlap { index, range });
        }
        seen.insert(range);
        match entry.entry_type.get() {
            memory_type::MEMORY => {
                if range.overlaps(&bounds.svsm) {
                    let what = "SVSM's memory";
                    return Err(MapError::Forbidden { index, range, what });
                }
                map.ram.insert(range);
            }
            memory_type::PLATFORM_RESERVED
            | memory_type::PERSISTENT
            | memory_type::VTL2_PROTECTABLE => map.reserved.insert(range),
            kind => return Err(MapError::Type { index, kind }),
        }
    }
    map.ram.remove(VIDEO);
    require(&map.ram, bounds.region, "the payload's region")?;
    for range in LOW_MEMORY {
        require(&map.ram, range, "what Linux reads below 1 MiB")?;
    }
    Ok(map)
}

fn entry_range(index: usize, entry: &MemoryMapEntry, limit: u64) -> Result<Range, MapError> {
    let (flags, reserved) = (entry.flags.get(), entry.reserved.get());
    if flags != 0 || reserved != 0 {
        return Err(MapError::Reserved {
            index,
            flags,
            reserved,
        });
    }
    let (page, pages) = (
        entry.starting_gpa_page_number.get(),
        entry.number_of_pages.get(),
    );
    page.checked_add(pages)
        .and_then(|end| Some(Range::new(page.checked_mul(PAGE)?, end.checked_mul(PAGE)?)))
        .filter(|range| range.end <= limit)
        .ok_or(MapError::TooHigh {
            index,
            page,
            pages,
            limit,
        })
}

fn require(ram: &RangeSet, range: Range, what: &'static str) -> Result<(), MapError> {
    if ram.contains(&range) {
        Ok(())
    } else {
        Err(MapError::Missing { range, what })
    }
}

/// The map's entries as bytes.
#[cfg(test)]
pub(crate) fn encode(entries: &[(Range, u16)]) -> Vec<u8> {
    use zerocopy::IntoBytes;
    let entry = |(range, kind): &(Range, u16)| MemoryMapEntry {
        starting_gpa_page_number: (range.start / PAGE).into(),
        number_of_pages: (range.size() / PAGE).into(),
        entry_type: (*kind).into(),
        ..MemoryMapEntry::default()
    };
    entries
        .iter()
        .flat_map(|item| entry(item).as_bytes().to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_abi::layout;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds {
        limit: 1 << 47,
        region: Range::new(layout::GUEST_BASE, layout::GUEST_BASE + layout::GUEST_SIZE),
        svsm: Range::new(layout::SVSM_BASE, layout::SVSM_BASE + layout::SVSM_SIZE),
    };

    const RAM: u16 = memory_type::MEMORY;

    fn parse_ranges(entries: &[(Range, u16)]) -> Result<MemoryMap, MapError> {
        parse(&encode(entries), &BOUNDS)
    }

    #[test]
    fn ram_has_a_hole_for_video_only() {
        let map = parse_ranges(&[
            (Range::new(0, 0x2000_0000), RAM),
            (Range::new(0xB000_0000, 0xC000_0000), 1),
            (Range::new(0x1_0000_0000, 0x1_8000_0000), RAM),
        ])
        .unwrap();
        let ram: Vec<Range> = map.ram.iter().collect();
        assert_eq!(
            ram,
            [
                Range::new(0, 0xA_0000),
                Range::new(0xC_0000, 0x2000_0000),
                Range::new(0x1_0000_0000, 0x1_8000_0000),
            ]
        );
        assert!(map.reserved.contains(&Range::new(0xB000_0000, 0xC000_0000)));
    }

    #[test]
    fn the_map_ends_with_an_entry_of_no_pages() {
        let mut area = encode(&[(Range::new(0, 0x2000_0000), RAM), (Range::new(0, 0), RAM)]);
        area.extend([0xFF; 240]);
        assert!(parse(&area, &BOUNDS).is_ok());
    }

    #[test]
    fn absurd_maps_are_refused_by_name() {
        let whole = (Range::new(0, 0x2000_0000), RAM);
        let text =
            |entries: &[(Range, u16)]| alloc::format!("{}", parse_ranges(entries).unwrap_err());
        assert_eq!(
            text(&[]),
            "memory map: no RAM at 0x800000..0xa00000, which is needed for the payload's region"
        );
        assert_eq!(
            text(&[(Range::new(0x10_0000, 0x2000_0000), RAM)]),
            "memory map: no RAM at 0x0..0xa0000, which is needed for what Linux reads below 1 MiB"
        );
        assert_eq!(
            text(&[whole, (Range::new(0x1FFF_F000, 0x2000_1000), RAM)]),
            "memory map: entry 1 (0x1ffff000..0x20001000) overlaps an earlier one"
        );
        assert_eq!(
            text(&[whole, (Range::new(0x3000_0000, 0x3000_1000), 9)]),
            "memory map: entry 1 has type 9, which is unknown"
        );
        assert_eq!(
            text(&[whole, (Range::new(0x7F_FFFF_F000, 0x80_0000_1000), RAM)]),
            "memory map: entry 1 (0x7ffffff000..0x8000001000) overlaps the SVSM's memory"
        );
        assert_eq!(
            text(&[whole, (Range::new(0x8000_0000, (1 << 47) + 0x1000), RAM)]),
            "memory map: entry 1 ends at page 0x80000 + 0x7fff80001, above 0x800000000000"
        );
    }

    #[test]
    fn page_numbers_that_wrap_are_refused() {
        let mut area = encode(&[(Range::new(0, 0x2000_0000), RAM)]);
        area[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(
            parse(&area, &BOUNDS),
            Err(MapError::TooHigh { index: 0, .. })
        ));
        area[..8].copy_from_slice(&(1u64 << 52).to_le_bytes());
        assert!(matches!(
            parse(&area, &BOUNDS),
            Err(MapError::TooHigh { index: 0, .. })
        ));
    }

    #[test]
    fn reserved_bits_are_refused() {
        for offset in [18, 20, 23] {
            let mut area = encode(&[(Range::new(0, 0x2000_0000), RAM)]);
            area[offset] = 1;
            let error = parse(&area, &BOUNDS).unwrap_err();
            assert!(matches!(error, MapError::Reserved { index: 0, .. }));
        }
    }

    proptest! {
        #[test]
        fn any_accepted_map_keeps_ram_apart_from_the_svsm_and_below_the_limit(
            data in proptest::collection::vec((0u64..1 << 36, 0u64..1 << 36, 0u16..5), 0..6),
        ) {
            let mut entries: Vec<(Range, u16)> = alloc::vec![(Range::new(0, 0x1000_0000), RAM)];
            entries.extend(data.iter().map(|(page, pages, kind)| (Range::new(page * PAGE, (page + pages) * PAGE), *kind)));
            if let Ok(map) = parse_ranges(&entries) {
                prop_assert!(!map.ram.overlaps(&BOUNDS.svsm));
                prop_assert!(!map.ram.overlaps(&VIDEO));
                prop_assert!(map.ram.iter().all(|range| range.end <= BOUNDS.limit));
                prop_assert!(map.ram.iter().all(|range| !map.reserved.overlaps(&range)));
            }
        }
    }
}
