//! In which steps memory is validated: 2 MiB entries where a whole large page is wanted, 4 KiB entries elsewhere,
//! cut into batches that fit both a page state change request and the SVSM's list.

use snp_abi::PageSize;

use crate::range::{LARGE_PAGE, PAGE, Range, RangeSet};

/// A page to be validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its address, a multiple of its size.
    pub gpa: u64,
    /// Its size.
    pub size: PageSize,
}

/// Entries that fit a list for the SVSM's PVALIDATE, directly behind the header of the calling area (58019 §7.1).
pub const MAX_PVALIDATE_ENTRIES: usize = (4096 - 8 - 8) / 8;
/// Entries of a batch: what fits both requests, so that each batch is one of either.
pub const BATCH: usize = snp_abi::ghcb::PSC_MAX_ENTRIES;

/// The chunks of one range, in ascending order. What is outside of whole pages is left out.
pub fn chunks(range: Range) -> impl Iterator<Item = Chunk> {
    let mut next = crate::range::align_up(range.start, PAGE).unwrap_or(u64::MAX);
    core::iter::from_fn(move || {
        let left = range.end.checked_sub(next)?;
        let size = if next.is_multiple_of(LARGE_PAGE) && left >= LARGE_PAGE {
            PageSize::Size2M
        } else if left >= PAGE {
            PageSize::Size4K
        } else {
            return None;
        };
        let gpa = next;
        next += size.bytes();
        Some(Chunk { gpa, size })
    })
}

/// The chunks of all ranges of a set.
pub fn all_chunks(set: &RangeSet) -> impl Iterator<Item = Chunk> + '_ {
    set.iter().flat_map(chunks)
}

/// The 4 KiB pages of a chunk, for when the RMP does not have it as a large page.
pub fn split(chunk: Chunk) -> impl Iterator<Item = Chunk> {
    (chunk.gpa..chunk.gpa + chunk.size.bytes())
        .step_by(PAGE as usize)
        .map(|gpa| Chunk {
            gpa,
            size: PageSize::Size4K,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn a_batch_fits_both_requests() {
        // 56421 §4.1.6: 2032 bytes hold an 8-byte header and 253 entries. 58019 §7.1: the list stays in its page.
        assert_eq!(BATCH, 253);
        assert_eq!(MAX_PVALIDATE_ENTRIES, 510);
    }

    #[test]
    fn half_a_gigabyte_takes_few_entries() {
        let low = Range::new(0, 0xA_0000);
        let rest = Range::new(0xC_0000, 0x2000_0000);
        assert_eq!(chunks(low).count(), 160);
        assert_eq!(chunks(rest).count(), (0x20_0000 - 0xC_0000) / 0x1000 + 255);
    }

    #[test]
    fn a_large_page_splits_into_512() {
        let pages: Vec<Chunk> = split(Chunk {
            gpa: 0x40_0000,
            size: PageSize::Size2M,
        })
        .collect();
        assert_eq!(pages.len(), 512);
        assert_eq!(pages[511].gpa, 0x5F_F000);
    }

    proptest! {
        #[test]
        fn chunks_cover_the_whole_pages_of_a_range_once(start in 0u64..0x80_0000, size in 0u64..0x200_0000) {
            let range = Range::new(start, start + size);
            let mut next = start.next_multiple_of(PAGE);
            for chunk in chunks(range) {
                prop_assert_eq!(chunk.gpa, next);
                prop_assert!(chunk.gpa.is_multiple_of(chunk.size.bytes()));
                next += chunk.size.bytes();
                prop_assert!(next <= range.end);
            }
            prop_assert!(next + PAGE > range.end);
        }
    }

    #[test]
    fn the_end_of_the_address_space_is_no_trap() {
        assert_eq!(chunks(Range::new(u64::MAX - 0x800, u64::MAX)).count(), 0);
    }
}
