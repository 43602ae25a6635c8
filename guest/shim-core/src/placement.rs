//! Finds places in RAM for what Linux is given.
//!
//! Everything goes below 4 GiB, because the confidential-computing blob and parts of boot_params have 32-bit addresses.
//! The kernel goes as low as it may, all else as high as possible, so that they never meet. Nothing goes below 1 MiB,
//! which Linux needs for its real-mode trampoline.

use crate::bzimage::Header;
use crate::memory_map::MemoryMap;
use crate::range::{PAGE, Range, RangeSet, align_up};

/// End of what 32-bit addresses reach.
pub const FOUR_GIB: u64 = 1 << 32;

/// No room was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for the {what}: {size:#x} bytes in RAM from {floor:#x} to {limit:#x}")]
#[allow(missing_docs)]
pub struct NoRoom {
    pub what: &'static str,
    pub size: u64,
    pub floor: u64,
    pub limit: u64,
}

/// RAM that is still free.
#[derive(Clone, Debug)]
pub struct Placement {
    free: RangeSet,
}

impl Placement {
    /// All RAM above 1 MiB, without the payload's region.
    pub fn new(map: &MemoryMap, region: Range) -> Placement {
        let mut free = map.ram.clone();
        free.remove(Range::new(0, 0x10_0000));
        free.remove(region);
        Placement { free }
    }

    /// Whole pages for `size` bytes (at least one page), as high as possible below `limit` and below 4 GiB.
    pub fn take_high(
        &mut self,
        what: &'static str,
        size: u64,
        align: u64,
        limit: u64,
    ) -> Result<Range, NoRoom> {
        let limit = limit.min(FOUR_GIB);
        let range = align_up(size.max(1), PAGE)
            .and_then(|whole| self.free.find_high(whole, align.max(PAGE), limit))
            .ok_or(NoRoom {
                what,
                size,
                floor: 0x10_0000,
                limit,
            })?;
        self.free.remove(range);
        Ok(range)
    }

    /// Where the kernel runs: `init_size` bytes at its lowest address or above.
    pub fn take_kernel(&mut self, header: &Header) -> Result<Range, NoRoom> {
        let range = align_up(header.init_size, PAGE)
            .and_then(|size| {
                self.free
                    .find_low(size, header.alignment, header.lowest, FOUR_GIB)
            })
            .ok_or(NoRoom {
                what: "kernel",
                size: header.init_size,
                floor: header.lowest,
                limit: FOUR_GIB,
            })?;
        self.free.remove(range);
        Ok(range)
    }

    /// Gives a range back.
    pub fn release(&mut self, range: Range) {
        self.free.insert(range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bzimage;
    use alloc::string::ToString;

    const REGION: Range = Range::new(0x80_0000, 0xA0_0000);

    fn placement(ram: &[Range]) -> Placement {
        let map = MemoryMap {
            ram: ram.iter().copied().collect(),
            reserved: RangeSet::new(),
        };
        Placement::new(&map, REGION)
    }

    fn header() -> Header {
        bzimage::parse(&bzimage::tests::synthetic()).unwrap()
    }

    #[test]
    fn in_half_a_gigabyte_the_kernel_goes_low_and_all_else_high() {
        let mut places = placement(&[Range::new(0, 0xA_0000), Range::new(0xC_0000, 0x2000_0000)]);
        let kernel = places.take_kernel(&header()).unwrap();
        assert_eq!(kernel, Range::new(0x100_0000, 0x4C3_9000));
        let initrd = places
            .take_high("initrd", 0x45_6789, PAGE, header().initrd_limit)
            .unwrap();
        assert_eq!(initrd, Range::new(0x1FBA_9000, 0x2000_0000));
        let page = places.take_high("boot_params", 20, PAGE, FOUR_GIB).unwrap();
        assert_eq!(page, Range::new(0x1FBA_8000, 0x1FBA_9000));
    }

    #[test]
    fn the_initrd_stays_below_the_kernel_s_limit_and_4_gib() {
        let mut places = placement(&[
            Range::new(0, 0xB000_0000),
            Range::new(FOUR_GIB, 0x2_0000_0000),
        ]);
        let initrd = places
            .take_high("initrd", 0x1000, PAGE, header().initrd_limit)
            .unwrap();
        assert_eq!(initrd.end, 0x8000_0000);
        let tables = places.take_high("tables", 0x1000, PAGE, u64::MAX).unwrap();
        assert_eq!(tables.end, 0xB000_0000);
    }

    #[test]
    fn what_finds_no_room_is_named() {
        let mut places = placement(&[Range::new(0, 0x400_0000)]);
        assert_eq!(
            places.take_kernel(&header()).unwrap_err().to_string(),
            "no room for the kernel: 0x3c39000 bytes in RAM from 0x1000000 to 0x100000000"
        );
        assert_eq!(
            places
                .take_high("initrd", u64::MAX, PAGE, 0x8000_0000)
                .unwrap_err()
                .to_string(),
            "no room for the initrd: 0xffffffffffffffff bytes in RAM from 0x100000 to 0x80000000"
        );
    }

    #[test]
    fn places_never_overlap_the_region_or_low_memory() {
        let mut places = placement(&[Range::new(0, 0x100_0000)]);
        let mut taken = RangeSet::new();
        while let Ok(page) = places.take_high("page", 1, PAGE, FOUR_GIB) {
            assert!(!taken.overlaps(&page) && !page.overlaps(&REGION) && page.start >= 0x10_0000);
            taken.insert(page);
        }
        assert_eq!(taken.size(), 0x100_0000 - 0x10_0000 - REGION.size());
        places.release(Range::new(0x20_0000, 0x20_1000));
        assert!(places.take_high("page", 1, PAGE, FOUR_GIB).is_ok());
    }
}
