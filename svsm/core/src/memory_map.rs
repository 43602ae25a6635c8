//! The guest's RAM, from the memory map that the host supplies as an IGVM parameter.
//!
//! The map is not measured, so nothing in it is believed that could hurt: ranges may not wrap, overlap, reach the
//! SVSM's own memory, or be more than the SVSM keeps books for. A host that leaves RAM out only makes the guest
//! smaller.

use boot_abi::{MemoryMapEntry, memory_type};
use core::ops::Range;
use snp_abi::{PAGE_SIZE, PAGES_PER_LARGE_PAGE};
use zerocopy::FromBytes;

/// Most separate ranges of RAM; real machines have two or three.
pub const MAX_RANGES: usize = 32;

/// Frames of RAM per word of the page map, to which ranges are aligned there.
pub(crate) const FRAMES_PER_WORD: u64 = 16;

/// A range of guest-physical memory that is RAM; whole pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RamRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Number of its first frame in the page map.
    first_index: u64,
}

impl RamRange {
    /// Pages in it.
    pub const fn pages(&self) -> u64 {
        (self.end - self.start) / PAGE_SIZE
    }
}

/// All RAM of the guest: ranges in ascending order that neither overlap nor touch.
#[derive(Clone, Debug)]
pub struct RamMap {
    ranges: [RamRange; MAX_RANGES],
    count: usize,
    /// Words that a page map of it takes.
    words: usize,
}

/// Why a memory map was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum MemoryMapError {
    #[error(
        "memory map: entry {index} starts at page {first:#x} and has {pages:#x} pages, which leaves the address space"
    )]
    Wraps {
        index: usize,
        first: u64,
        pages: u64,
    },
    #[error("memory map: entry {index} ({start:#x}-{end:#x}) overlaps entry {other}")]
    Overlap {
        index: usize,
        other: usize,
        start: u64,
        end: u64,
    },
    #[error(
        "memory map: entry {index} has RAM at {start:#x}-{end:#x}, above the limit of {limit:#x} where the SVSM's memory starts"
    )]
    AboveLimit {
        index: usize,
        start: u64,
        end: u64,
        limit: u64,
    },
    #[error(
        "memory map: more than {MAX_RANGES} separate ranges of RAM; entry {index} starts another at {start:#x}"
    )]
    TooManyRanges { index: usize, start: u64 },
    #[error("memory map: no RAM in its {entries} entries")]
    NoRam { entries: usize },
}

impl RamMap {
    /// Reads the parameter area: entries up to one of zero pages, or to its end. RAM must lie below `limit`.
    pub fn parse(area: &[u8], limit: u64) -> Result<RamMap, MemoryMapError> {
        RamMap::parse_around(area, limit, &[])
    }

    /// The same, where parts of the RAM are the SVSM's own: these are left out.
    pub fn parse_around(
        area: &[u8],
        limit: u64,
        own: &[Range<u64>],
    ) -> Result<RamMap, MemoryMapError> {
        let entries = entries(area);
        let mut map = RamMap {
            ranges: [RamRange::default(); MAX_RANGES],
            count: 0,
            words: 0,
        };
        let mut number = 0;
        for (index, entry) in entries.clone().enumerate() {
            number += 1;
            let (start, end) = bounds(index, entry)?;
            for (other, earlier) in entries.clone().take(index).enumerate() {
                let (other_start, other_end) = bounds(other, earlier)?;
                if start < other_end && other_start < end {
                    return Err(MemoryMapError::Overlap {
                        index,
                        other,
                        start,
                        end,
                    });
                }
            }
            if entry.entry_type.get() != memory_type::MEMORY {
                continue;
            }
            if end > limit {
                return Err(MemoryMapError::AboveLimit {
                    index,
                    start,
                    end,
                    limit,
                });
            }
            map.insert_around(start, end, own)
                .map_err(|()| MemoryMapError::TooManyRanges { index, start })?;
        }
        if map.count == 0 {
            return Err(MemoryMapError::NoRam { entries: number });
        }
        map.number_frames();
        Ok(map)
    }

    /// The ranges, in ascending order.
    pub fn ranges(&self) -> &[RamRange] {
        &self.ranges[..self.count]
    }

    /// Bytes of RAM.
    pub fn bytes(&self) -> u64 {
        self.ranges().iter().map(|r| r.end - r.start).sum()
    }

    /// Whether all of `start..start + size` is RAM.
    pub fn contains(&self, start: u64, size: u64) -> bool {
        start.checked_add(size).is_some_and(|end| {
            self.ranges()
                .iter()
                .any(|r| r.start <= start && end <= r.end)
        })
    }

    /// Words of 64 bits that a page map of this RAM takes.
    pub fn page_map_words(&self) -> usize {
        self.words
    }

    /// The number of the frame at `gpa` in the page map.
    pub(crate) fn frame_index(&self, gpa: u64) -> Option<u64> {
        let range = self
            .ranges()
            .iter()
            .find(|r| r.start <= gpa && gpa < r.end)?;
        Some(range.first_index + (gpa - range.start) / PAGE_SIZE)
    }

    /// Adds of a range that overlaps none what is not in `own`.
    fn insert_around(&mut self, start: u64, end: u64, own: &[Range<u64>]) -> Result<(), ()> {
        if start >= end {
            return Ok(());
        }
        match own.split_first() {
            None => self.insert(start, end),
            Some((first, rest)) => {
                self.insert_around(start, end.min(first.start), rest)?;
                self.insert_around(start.max(first.end), end, rest)
            }
        }
    }

    /// Adds a range that overlaps none, joining it to its neighbours where they touch.
    fn insert(&mut self, mut start: u64, mut end: u64) -> Result<(), ()> {
        let mut kept = 0;
        for i in 0..self.count {
            let range = self.ranges[i];
            if range.end == start {
                start = range.start;
            } else if range.start == end {
                end = range.end;
            } else {
                self.ranges[kept] = range;
                kept += 1;
            }
        }
        if kept == MAX_RANGES {
            return Err(());
        }
        self.ranges[kept] = RamRange {
            start,
            end,
            first_index: 0,
        };
        self.count = kept + 1;
        self.ranges[..self.count].sort_unstable_by_key(|r| r.start);
        Ok(())
    }

    /// Numbers the frames so that a frame's number and its page number are equal modulo the frames of a large page's
    /// word: then a large page covers whole words of the page map.
    fn number_frames(&mut self) {
        let mut next = 0;
        for range in &mut self.ranges[..self.count] {
            let phase = range.start / PAGE_SIZE % FRAMES_PER_WORD;
            range.first_index = next + phase;
            next = (range.first_index + range.pages()).next_multiple_of(FRAMES_PER_WORD);
        }
        self.words = (next / FRAMES_PER_WORD) as usize;
    }
}

const _: () = assert!(PAGES_PER_LARGE_PAGE.is_multiple_of(FRAMES_PER_WORD));

/// The entries in use.
fn entries(area: &[u8]) -> impl Iterator<Item = &MemoryMapEntry> + Clone {
    area.as_chunks::<{ size_of::<MemoryMapEntry>() }>()
        .0
        .iter()
        .filter_map(|bytes| MemoryMapEntry::ref_from_bytes(bytes).ok())
        .take_while(|entry| entry.number_of_pages.get() != 0)
}

/// First byte and one past the last of an entry.
fn bounds(index: usize, entry: &MemoryMapEntry) -> Result<(u64, u64), MemoryMapError> {
    let first = entry.starting_gpa_page_number.get();
    let pages = entry.number_of_pages.get();
    first
        .checked_add(pages)
        .and_then(|end| Some((first.checked_mul(PAGE_SIZE)?, end.checked_mul(PAGE_SIZE)?)))
        .ok_or(MemoryMapError::Wraps {
            index,
            first,
            pages,
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;
    use zerocopy::IntoBytes;

    pub(crate) const LIMIT: u64 = 1 << 39;

    pub(crate) fn area(entries: &[(u64, u64, u16)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(first, pages, entry_type) in entries {
            bytes.extend_from_slice(
                MemoryMapEntry {
                    starting_gpa_page_number: first.into(),
                    number_of_pages: pages.into(),
                    entry_type: entry_type.into(),
                    ..Default::default()
                }
                .as_bytes(),
            );
        }
        bytes.resize(bytes.len() + 24, 0);
        bytes
    }

    fn ranges(map: &RamMap) -> Vec<(u64, u64)> {
        map.ranges().iter().map(|r| (r.start, r.end)).collect()
    }

    #[test]
    fn ranges_are_sorted_and_joined() {
        let map = RamMap::parse(
            &area(&[
                (0x100, 0x100, 0),
                (0x10_0000, 8, 0),
                (0, 0xA0, 0),
                (0xA0, 0x60, 0),
            ]),
            LIMIT,
        )
        .unwrap();
        assert_eq!(
            ranges(&map),
            [(0, 0x20_0000), (0x1_0000_0000, 0x1_0000_8000)]
        );
        assert_eq!(map.bytes(), 0x20_8000);
        assert!(map.contains(0x1F_F000, 0x1000));
        assert!(!map.contains(0x1F_F000, 0x1001));
        assert!(!map.contains(u64::MAX, 2));
        assert_eq!(map.page_map_words(), 0x200 / 16 + 1);
    }

    #[test]
    fn what_is_the_svsms_own_is_left_out() {
        let own = [0x2000..0x4000, 0x1_0000..0x2_0000, 0x7_F000..0x9_0000];
        let area = area(&[(0, 0x80, 0), (0x8F, 3, 0), (0x100, 1, 0)]);
        let map = RamMap::parse_around(&area, LIMIT, &own).unwrap();
        assert_eq!(
            ranges(&map),
            [
                (0, 0x2000),
                (0x4000, 0x1_0000),
                (0x2_0000, 0x7_F000),
                (0x9_0000, 0x9_2000),
                (0x10_0000, 0x10_1000)
            ]
        );
        let all = RamMap::parse_around(&area, LIMIT, core::slice::from_ref(&(0..LIMIT)));
        assert_eq!(all.unwrap_err(), MemoryMapError::NoRam { entries: 3 });
    }

    #[test]
    fn only_memory_counts_as_ram() {
        let map = RamMap::parse(
            &area(&[(0, 16, 0), (16, 16, 1), (32, 16, 2), (48, 1, 99)]),
            LIMIT,
        );
        assert_eq!(ranges(&map.unwrap()), [(0, 0x1_0000)]);
    }

    #[test]
    fn an_entry_of_zero_pages_ends_the_map() {
        let map = RamMap::parse(&area(&[(0, 16, 0), (0, 0, 0), (64, 16, 0)]), LIMIT);
        assert_eq!(ranges(&map.unwrap()), [(0, 0x1_0000)]);
    }

    #[test]
    fn large_pages_cover_whole_words_whatever_the_range_starts_with() {
        let map = RamMap::parse(&area(&[(3, 5, 0), (0x203, 0x1000, 0)]), LIMIT).unwrap();
        assert_eq!(map.frame_index(0x3000), Some(3));
        assert_eq!(map.frame_index(0x40_0000).unwrap() % FRAMES_PER_WORD, 0);
        assert_eq!(map.frame_index(0x8000), None);
    }

    #[test]
    fn lies_are_named() {
        let refused =
            |entries: &[(u64, u64, u16)]| RamMap::parse(&area(entries), LIMIT).unwrap_err();
        assert_eq!(
            refused(&[(0, 16, 0), (15, 16, 0)]),
            MemoryMapError::Overlap {
                index: 1,
                other: 0,
                start: 0xF000,
                end: 0x1_F000
            }
        );
        assert_eq!(
            refused(&[(0, 16, 0), (15, 1, 1)]),
            MemoryMapError::Overlap {
                index: 1,
                other: 0,
                start: 0xF000,
                end: 0x1_0000
            }
        );
        assert_eq!(
            refused(&[(u64::MAX, 2, 0)]),
            MemoryMapError::Wraps {
                index: 0,
                first: u64::MAX,
                pages: 2
            }
        );
        assert_eq!(
            refused(&[(1, u64::MAX >> 12, 0)]),
            MemoryMapError::Wraps {
                index: 0,
                first: 1,
                pages: u64::MAX >> 12
            }
        );
        assert_eq!(refused(&[(0, 1, 1)]), MemoryMapError::NoRam { entries: 1 });
        assert_eq!(refused(&[]), MemoryMapError::NoRam { entries: 0 });
        let above = refused(&[(0, (LIMIT >> 12) + 1, 0)]);
        assert!(above.to_string().contains("0x8000000000"), "{above}");
    }

    #[test]
    fn too_many_ranges_are_refused_and_the_last_that_fits_is_not() {
        let entries: Vec<_> = (0..MAX_RANGES as u64 + 1).map(|i| (i * 2, 1, 0)).collect();
        assert!(RamMap::parse(&area(&entries[..MAX_RANGES]), LIMIT).is_ok());
        assert_eq!(
            RamMap::parse(&area(&entries), LIMIT).unwrap_err(),
            MemoryMapError::TooManyRanges {
                index: MAX_RANGES,
                start: MAX_RANGES as u64 * 0x2000
            }
        );
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_sane_map_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(map) = RamMap::parse(&bytes, LIMIT) {
                for pair in map.ranges().windows(2) {
                    prop_assert!(pair[0].end < pair[1].start);
                }
                for range in map.ranges() {
                    prop_assert!(range.start < range.end && range.end <= LIMIT);
                }
            }
        }

        #[test]
        fn every_frame_has_its_own_number(
            starts in proptest::collection::btree_map(0u64..4000, 1u64..40, 1..20)
        ) {
            let mut entries = Vec::new();
            let mut end = 0;
            for (start, pages) in starts {
                if start >= end {
                    entries.push((start, pages, 0));
                    end = start + pages;
                }
            }
            let map = RamMap::parse(&area(&entries), LIMIT).unwrap();
            let mut numbers = Vec::new();
            for (start, pages, _) in entries {
                for page in start..start + pages {
                    let index = map.frame_index(page * PAGE_SIZE).unwrap();
                    prop_assert_eq!(index % FRAMES_PER_WORD, page % FRAMES_PER_WORD);
                    prop_assert!((index / FRAMES_PER_WORD) < map.page_map_words() as u64);
                    numbers.push(index);
                }
            }
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), count);
        }
    }
}
