//! Ranges of guest-physical memory and sorted sets of them.

use alloc::vec::Vec;
use core::fmt;

/// Bytes of a page.
pub const PAGE: u64 = 0x1000;
/// Bytes of a large page.
pub const LARGE_PAGE: u64 = 0x20_0000;

/// From `start` up to, and without, `end`. An empty range has `start == end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// First byte behind it; never below `start`.
    pub end: u64,
}

impl Range {
    /// `start..end`; empty when `end` is not above `start`.
    pub const fn new(start: u64, end: u64) -> Range {
        Range {
            start,
            end: if end < start { start } else { end },
        }
    }

    /// `size` bytes from `start`, unless that passes the end of the address space.
    pub const fn sized(start: u64, size: u64) -> Option<Range> {
        match start.checked_add(size) {
            Some(end) => Some(Range { start, end }),
            None => None,
        }
    }

    /// Bytes.
    pub const fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether a byte belongs to both.
    pub const fn overlaps(&self, other: &Range) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether all of `other` lies in here.
    pub const fn contains(&self, other: &Range) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

/// `value` rounded down to a multiple of `align`, a power of two.
pub const fn align_down(value: u64, align: u64) -> u64 {
    value & !(align - 1)
}

/// `value` rounded up to a multiple of `align`, a power of two; `None` past the end of the address space.
pub const fn align_up(value: u64, align: u64) -> Option<u64> {
    match value.checked_add(align - 1) {
        Some(sum) => Some(align_down(sum, align)),
        None => None,
    }
}

/// A set of bytes, kept as sorted ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    // Private, because every operation relies on the order and on the gaps between the ranges.
    ranges: Vec<Range>,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> RangeSet {
        RangeSet { ranges: Vec::new() }
    }

    /// Its ranges in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range> + '_ {
        self.ranges.iter().copied()
    }

    /// How many bytes are in it.
    pub fn size(&self) -> u64 {
        self.iter().map(|range| range.size()).sum()
    }

    /// Adds a range.
    pub fn insert(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        let mut merged = range;
        self.ranges.retain(|old| {
            let joins = old.start <= merged.end && merged.start <= old.end;
            if joins {
                merged = Range::new(old.start.min(merged.start), old.end.max(merged.end));
            }
            !joins
        });
        let at = self.ranges.partition_point(|old| old.start < merged.start);
        self.ranges.insert(at, merged);
    }

    /// Takes a range out, as far as it is in the set.
    pub fn remove(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        let mut kept = Vec::with_capacity(self.ranges.len() + 1);
        for old in &self.ranges {
            let below = Range::new(old.start, old.end.min(range.start));
            let above = Range::new(old.start.max(range.end), old.end);
            kept.extend([below, above].into_iter().filter(|part| !part.is_empty()));
        }
        self.ranges = kept;
    }

    /// Whether the whole range is in the set.
    pub fn contains(&self, range: &Range) -> bool {
        range.is_empty() || self.ranges.iter().any(|own| own.contains(range))
    }

    /// Whether a byte of the range is in the set.
    pub fn overlaps(&self, range: &Range) -> bool {
        self.ranges.iter().any(|own| own.overlaps(range))
    }

    /// The highest place of `size` bytes, aligned to `align`, that ends at or below `limit`.
    pub fn find_high(&self, size: u64, align: u64, limit: u64) -> Option<Range> {
        self.ranges.iter().rev().find_map(|range| {
            let start = align_down(range.end.min(limit).checked_sub(size)?, align);
            (start >= range.start).then_some(Range::new(start, start + size))
        })
    }

    /// The lowest place of `size` bytes, aligned to `align`, that starts at or above `floor` and ends at or below
    /// `limit`.
    pub fn find_low(&self, size: u64, align: u64, floor: u64, limit: u64) -> Option<Range> {
        self.ranges.iter().find_map(|range| {
            let place = Range::sized(align_up(range.start.max(floor), align)?, size)?;
            (place.end <= range.end.min(limit)).then_some(place)
        })
    }
}

impl FromIterator<Range> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> RangeSet {
        let mut set = RangeSet::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges() -> impl Strategy<Value = Vec<Range>> {
        proptest::collection::vec((0u64..64, 0u64..16), 0..12).prop_map(|list| {
            list.into_iter()
                .map(|(s, n)| Range::new(s, s + n))
                .collect()
        })
    }

    fn has(set: &RangeSet, byte: u64) -> bool {
        set.iter()
            .any(|range| range.start <= byte && byte < range.end)
    }

    proptest! {
        #[test]
        fn a_set_behaves_like_one_of_bytes(added in ranges(), removed in ranges()) {
            let mut set: RangeSet = added.iter().copied().collect();
            for range in &removed {
                set.remove(*range);
            }
            for byte in 0..96 {
                let inside = |list: &[Range]| list.iter().any(|r| r.start <= byte && byte < r.end);
                prop_assert_eq!(has(&set, byte), inside(&added) && !inside(&removed));
            }
            let list: Vec<Range> = set.iter().collect();
            prop_assert!(list.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!(list.iter().all(|range| !range.is_empty()));
        }

        #[test]
        fn a_found_place_is_free_aligned_and_the_best(
            free in ranges(), size in 1u64..8, shift in 0u32..4, floor in 0u64..32, limit in 0u64..96,
        ) {
            let set: RangeSet = free.into_iter().collect();
            let align = 1 << shift;
            let fits = |start: u64| start.is_multiple_of(align) && set.contains(&Range::new(start, start + size));
            let high = (0..96).rev().find(|start| fits(*start) && start + size <= limit);
            prop_assert_eq!(set.find_high(size, align, limit).map(|r| r.start), high);
            let low = (floor..96).find(|start| fits(*start) && start + size <= limit);
            prop_assert_eq!(set.find_low(size, align, floor, limit).map(|r| r.start), low);
        }
    }

    #[test]
    fn sizes_near_the_end_of_the_address_space_do_not_wrap() {
        let set: RangeSet = [Range::new(0x1000, u64::MAX)].into_iter().collect();
        assert_eq!(set.find_low(u64::MAX, PAGE, 0, u64::MAX), None);
        assert_eq!(set.find_high(u64::MAX, PAGE, u64::MAX), None);
        assert_eq!(Range::sized(u64::MAX, 2), None);
        assert_eq!(align_up(u64::MAX, PAGE), None);
    }
}
