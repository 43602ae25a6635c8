//! A bounded set of address ranges, for finding overlaps.

use alloc::vec::Vec;

use crate::MAX_LAUNCHED_RANGES;
use crate::error::Problem;

/// Disjoint ranges `[start, end)` in ascending order; neighbours are merged, so that an image's pages make few ranges.
#[derive(Default)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds `[start, end)`, which must not be empty. The error is an overlap, or that there is no room.
    pub(crate) fn add(&mut self, what: &'static str, start: u64, end: u64) -> Result<(), Problem> {
        let at = self.0.partition_point(|&(_, other_end)| other_end <= start);
        if let Some(&(other, _)) = self.0.get(at).filter(|&&(other, _)| other < end) {
            let size = end - start;
            return Err(Problem::Overlap {
                what,
                gpa: start,
                size,
                other: other.max(start),
            });
        }
        let joins_before = at > 0 && self.0[at - 1].1 == start;
        let joins_after = self.0.get(at).is_some_and(|&(other, _)| other == end);
        match (joins_before, joins_after) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = end,
            (false, true) => self.0[at].0 = start,
            (false, false) => {
                if self.0.len() == MAX_LAUNCHED_RANGES {
                    return Err(Problem::TooMany {
                        what: "separate ranges of launched pages",
                        limit: MAX_LAUNCHED_RANGES,
                    });
                }
                let no_memory = Problem::OutOfMemory {
                    what: "ranges",
                    size: size_of::<(u64, u64)>() as u64,
                };
                self.0.try_reserve(1).map_err(|_| no_memory)?;
                self.0.insert(at, (start, end));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_merge_and_overlaps_are_found() {
        let mut ranges = Ranges::default();
        for (start, end) in [(10, 20), (30, 40), (20, 30), (5, 10), (50, 60), (45, 50)] {
            ranges.add("range", start, end).unwrap();
        }
        assert_eq!(ranges.0, [(5, 40), (45, 60)]);
        for (start, end) in [
            (0, 6),
            (39, 41),
            (40, 46),
            (0, 100),
            (7, 8),
            (59, 60),
            (5, 40),
        ] {
            assert!(
                matches!(
                    ranges.add("range", start, end),
                    Err(Problem::Overlap { .. })
                ),
                "{start} {end}"
            );
        }
        ranges.add("range", 40, 45).unwrap();
        ranges.add("range", 0, 5).unwrap();
        assert_eq!(ranges.0, [(0, 60)]);
    }

    #[test]
    fn the_number_of_ranges_is_bounded() {
        let mut ranges = Ranges::default();
        for index in 0..MAX_LAUNCHED_RANGES as u64 {
            ranges.add("range", index * 2, index * 2 + 1).unwrap();
        }
        assert!(matches!(
            ranges.add("range", u64::MAX - 1, u64::MAX),
            Err(Problem::TooMany { .. })
        ));
    }
}
