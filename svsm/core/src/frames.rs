//! The SVSM's own memory, frame by frame: a bitmap that says which 4 KiB frames of its region are free.
//!
//! Frames are named by their number within the region. First fit: allocation happens at boot and for a handful of
//! objects later, so speed does not matter, and low frames first keeps what is used together.

use snp_abi::PAGE_SIZE;

/// Most frames that an allocator can manage: 8 MiB.
pub const MAX_FRAMES: usize = (boot_abi::layout::SVSM_SIZE / PAGE_SIZE) as usize;

const WORDS: usize = MAX_FRAMES / 64;

/// Which frames are free.
#[derive(Debug)]
pub struct FrameBitmap {
    /// A set bit is a free frame.
    free: [u64; WORDS],
}

impl FrameBitmap {
    /// No frame is free.
    pub const fn new() -> FrameBitmap {
        FrameBitmap { free: [0; WORDS] }
    }

    /// Makes frames `first..first + count` free; those beyond the region are ignored.
    pub fn release(&mut self, first: usize, count: usize) {
        for frame in first..first.saturating_add(count).min(MAX_FRAMES) {
            self.free[frame / 64] |= 1 << (frame % 64);
        }
    }

    /// Takes `count` frames that follow each other; the first one's number.
    pub fn allocate(&mut self, count: usize) -> Option<usize> {
        let first = self.find(count, |_| true)?;
        self.take(first, count);
        Some(first)
    }

    /// Takes one frame that is fit for a VMSA: not the first of a large page, which some processors mishandle
    /// (erratum 1467) and KVM refuses.
    pub fn allocate_vmsa(&mut self) -> Option<usize> {
        let frame = self.find(1, |frame| {
            !frame.is_multiple_of(snp_abi::PAGES_PER_LARGE_PAGE as usize)
        })?;
        self.take(frame, 1);
        Some(frame)
    }

    /// How many frames are free.
    pub fn free_frames(&self) -> usize {
        self.free.iter().map(|w| w.count_ones() as usize).sum()
    }

    fn is_free(&self, frame: usize) -> bool {
        self.free[frame / 64] & 1 << (frame % 64) != 0
    }

    fn take(&mut self, first: usize, count: usize) {
        for frame in first..first + count {
            self.free[frame / 64] &= !(1 << (frame % 64));
        }
    }

    fn find(&self, count: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
        if count == 0 || count > MAX_FRAMES {
            return None;
        }
        let mut run = 0;
        for frame in 0..MAX_FRAMES {
            run = if self.is_free(frame) && (run > 0 || fits(frame)) {
                run + 1
            } else {
                0
            };
            if run == count {
                return Some(frame + 1 - count);
            }
        }
        None
    }
}

impl Default for FrameBitmap {
    fn default() -> Self {
        FrameBitmap::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn allocates_runs_that_follow_each_other() {
        let mut frames = FrameBitmap::new();
        assert_eq!(frames.allocate(1), None);
        frames.release(10, 3);
        frames.release(20, 4);
        assert_eq!(frames.allocate(4), Some(20));
        assert_eq!(frames.allocate(4), None);
        assert_eq!(frames.allocate(3), Some(10));
        assert_eq!(frames.free_frames(), 0);
    }

    #[test]
    fn a_vmsa_is_never_the_first_frame_of_a_large_page() {
        let mut frames = FrameBitmap::new();
        frames.release(512, 2);
        assert_eq!(frames.allocate_vmsa(), Some(513));
        assert_eq!(frames.allocate_vmsa(), None);
        assert_eq!(frames.allocate(1), Some(512));
    }

    #[test]
    fn nothing_beyond_the_region_is_ever_free() {
        let mut frames = FrameBitmap::new();
        frames.release(MAX_FRAMES - 1, usize::MAX);
        assert_eq!(frames.free_frames(), 1);
        assert_eq!(frames.allocate(0), None);
        assert_eq!(frames.allocate(MAX_FRAMES + 1), None);
    }

    proptest! {
        #[test]
        fn no_frame_is_handed_out_twice(sizes in proptest::collection::vec(1usize..40, 1..60)) {
            let mut frames = FrameBitmap::new();
            frames.release(3, 700);
            let mut seen = Vec::new();
            for size in sizes {
                if let Some(first) = frames.allocate(size) {
                    for frame in first..first + size {
                        prop_assert!((3..703).contains(&frame));
                        prop_assert!(!seen.contains(&frame));
                        seen.push(frame);
                    }
                }
            }
            prop_assert_eq!(seen.len() + frames.free_frames(), 700);
        }
    }
}
