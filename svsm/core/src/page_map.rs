//! Who owns each page of guest RAM: the one place that decides whether a page may be validated, rescinded, made a
//! VMSA or a calling area, or read on the guest's behalf.
//!
//! Four bits a frame, sixteen frames a word, changed by compare-and-swap. A vCPU that works on pages first *claims*
//! them ([`PageState::Busy`]); the claim fails when another vCPU has them, so two can never both validate or convert
//! a page. Because a validated page is never validated again without having been rescinded, the host cannot put a
//! second page under the same address (58019 §7.1, the double-validation attack).

use crate::memory_map::{FRAMES_PER_WORD, RamMap};
use crate::mistake::{Mistake, made, ordering};
use crate::sync::{AtomicU64, Ordering};
use snp_abi::{PAGE_SIZE, PageSize};

/// What a frame of guest RAM is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageState {
    /// Not RAM, or not known.
    NotRam = 0,
    /// RAM that is not validated: the hypervisor's, or rescinded.
    Unvalidated = 1,
    /// Validated and the guest's.
    Validated = 2,
    /// A VMSA that the guest gave: it may read the page, no more.
    Vmsa = 3,
    /// A vCPU's calling area: the guest's, but it stays validated and no VMSA.
    CallingArea = 4,
    /// The SVSM's own, while it boots.
    Svsm = 5,
    /// A vCPU is changing it.
    Busy = 6,
    /// The host broke a promise about it; never used again.
    Lost = 7,
}

impl PageState {
    const fn from_bits(bits: u64) -> PageState {
        match bits {
            1 => PageState::Unvalidated,
            2 => PageState::Validated,
            3 => PageState::Vmsa,
            4 => PageState::CallingArea,
            5 => PageState::Svsm,
            6 => PageState::Busy,
            7 => PageState::Lost,
            _ => PageState::NotRam,
        }
    }

    /// Whether the guest may name the page as an argument's place.
    pub const fn is_guest_readable(self) -> bool {
        matches!(self, PageState::Validated | PageState::CallingArea)
    }
}

const BITS: u64 = 4;
const MASK: u64 = 0xF;

/// A word with all its frames in this state.
const fn filled(state: PageState) -> u64 {
    0x1111_1111_1111_1111 * state as u64
}

/// Why pages could not be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// One of them is in this state, which does not allow it; the worst state where several differ.
    State(PageState),
    /// Some are validated and some are not; only for large pages.
    Mixed,
}

/// The state of all guest RAM.
#[derive(Debug)]
pub struct PageMap<'a> {
    ram: &'a RamMap,
    words: &'a [AtomicU64],
}

/// Pages that this vCPU alone may change, until it is settled what they become. Dropped without that, they go back
/// to what they were.
#[derive(Debug)]
#[must_use]
pub struct Claim<'a> {
    map: &'a PageMap<'a>,
    gpa: u64,
    size: PageSize,
    before: PageState,
}

impl<'a> PageMap<'a> {
    /// A map over `words`, all zero, [`RamMap::page_map_words`] of them: all RAM is unvalidated. `None` when the
    /// words are too few.
    pub fn new(ram: &'a RamMap, words: &'a [AtomicU64]) -> Option<PageMap<'a>> {
        let words = words.get(..ram.page_map_words())?;
        let map = PageMap { ram, words };
        for range in ram.ranges() {
            map.set_at_boot(range.start, range.pages(), PageState::Unvalidated);
        }
        Some(map)
    }

    /// The RAM that it covers.
    pub fn ram(&self) -> &'a RamMap {
        self.ram
    }

    /// What the frame at `gpa` is at this moment.
    pub fn state(&self, gpa: u64) -> PageState {
        match self.ram.frame_index(gpa) {
            Some(index) => {
                let (word, shift) = place(index);
                PageState::from_bits(self.words[word].load(Ordering::Acquire) >> shift & MASK)
            }
            None => PageState::NotRam,
        }
    }

    /// Whether all of `gpa..gpa + len` is memory that the guest may name as an argument's place.
    pub fn is_guest_readable(&self, gpa: u64, len: u64) -> bool {
        let Some(end) = gpa.checked_add(len) else {
            return false;
        };
        let mut page = gpa & !(PAGE_SIZE - 1);
        while page < end {
            if !self.state(page).is_guest_readable() {
                return false;
            }
            page += PAGE_SIZE;
        }
        true
    }

    /// Sets the state of pages that no other vCPU can have in hand: before other vCPUs and the guest run. Pages that
    /// are not RAM are left out.
    ///
    /// Whole words at a time where it can be: one by one the frames of 16 GiB would take a second of the boot.
    pub fn set_at_boot(&self, gpa: u64, pages: u64, state: PageState) {
        let index = |page: u64| self.ram.frame_index(gpa.saturating_add(page * PAGE_SIZE));
        let mut page = 0;
        while page < pages {
            let last = page + FRAMES_PER_WORD - 1;
            match index(page) {
                // Frames are numbered upwards, so between these two there is nothing but the word's others.
                Some(first)
                    if first.is_multiple_of(FRAMES_PER_WORD)
                        && last < pages
                        && index(last) == Some(first + FRAMES_PER_WORD - 1) =>
                {
                    let (word, _) = place(first);
                    self.words[word].store(filled(state), Ordering::Release);
                    page = last;
                }
                Some(index) => self.store(index, state),
                None => {}
            }
            page += 1;
        }
    }

    /// Claims the page of `size` at `gpa`, all of which must be in state `from`. The address must be a multiple of
    /// the size.
    pub fn claim(
        &'a self,
        gpa: u64,
        size: PageSize,
        from: PageState,
    ) -> Result<Claim<'a>, Refused> {
        let (Some(index), Some(last)) = (
            self.ram.frame_index(gpa),
            self.ram
                .frame_index(gpa.saturating_add(size.bytes() - PAGE_SIZE)),
        ) else {
            return Err(Refused::State(PageState::NotRam));
        };
        // A large page lies within one range, because ranges that touch are one; its frames are numbered in a row.
        if last - index != size.pages() - 1 || !gpa.is_multiple_of(size.bytes()) {
            return Err(Refused::State(PageState::NotRam));
        }
        match size {
            PageSize::Size4K => self.claim_frame(index, from)?,
            PageSize::Size2M => self.claim_words(index, from)?,
        }
        Ok(Claim {
            map: self,
            gpa,
            size,
            before: from,
        })
    }

    fn claim_frame(&self, index: u64, from: PageState) -> Result<(), Refused> {
        let (word, shift) = place(index);
        let mut current = self.words[word].load(Ordering::Relaxed);
        loop {
            let state = PageState::from_bits(current >> shift & MASK);
            if state != from {
                return Err(Refused::State(state));
            }
            let claimed = current & !(MASK << shift) | (PageState::Busy as u64) << shift;
            if made(Mistake::ClaimUnchecked) {
                self.words[word].store(claimed, Ordering::Relaxed);
                return Ok(());
            }
            let see = ordering(Mistake::ClaimRelaxed, Ordering::Acquire);
            match self.words[word].compare_exchange(current, claimed, see, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => current = changed,
            }
        }
    }

    fn claim_words(&self, index: u64, from: PageState) -> Result<(), Refused> {
        let first = (index / FRAMES_PER_WORD) as usize;
        let words =
            &self.words[first..first + (PageSize::Size2M.pages() / FRAMES_PER_WORD) as usize];
        for (done, word) in words.iter().enumerate() {
            if word
                .compare_exchange(
                    filled(from),
                    filled(PageState::Busy),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_err()
            {
                for claimed in &words[..done] {
                    claimed.store(filled(from), Ordering::Release);
                }
                return Err(self.common_state(words));
            }
        }
        Ok(())
    }

    /// What stands in the way of claiming the frames of a large page.
    fn common_state(&self, words: &[AtomicU64]) -> Refused {
        let mut seen = 0u32;
        for word in words {
            let value = word.load(Ordering::Relaxed);
            for frame in 0..FRAMES_PER_WORD {
                seen |= 1 << (value >> (frame * BITS) & MASK);
            }
        }
        let has = |state: PageState| seen & 1 << state as u32 != 0;
        // One frame that may not be touched decides for all of them.
        for state in [
            PageState::Busy,
            PageState::NotRam,
            PageState::Svsm,
            PageState::Vmsa,
            PageState::Lost,
        ] {
            if has(state) {
                return Refused::State(state);
            }
        }
        match (has(PageState::Unvalidated), has(PageState::CallingArea)) {
            (false, true) => Refused::State(PageState::CallingArea),
            (false, false) => Refused::State(PageState::Validated),
            (true, _) if seen == 1 << PageState::Unvalidated as u32 => {
                Refused::State(PageState::Unvalidated)
            }
            (true, _) => Refused::Mixed,
        }
    }

    /// Stores a state into a frame that is ours.
    fn store(&self, index: u64, state: PageState) {
        let (word, shift) = place(index);
        let mut current = self.words[word].load(Ordering::Relaxed);
        let publish = ordering(Mistake::SettleRelaxed, Ordering::Release);
        // Neighbours in the word may change meanwhile; the frame itself cannot.
        while let Err(changed) = self.words[word].compare_exchange(
            current,
            current & !(MASK << shift) | (state as u64) << shift,
            publish,
            Ordering::Relaxed,
        ) {
            current = changed;
        }
    }
}

impl Claim<'_> {
    /// Gives the pages up in their new state.
    pub fn settle(mut self, state: PageState) {
        // What drop restores is the state that they are to have from now on.
        self.before = state;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let Some(index) = self.map.ram.frame_index(self.gpa) else {
            return;
        };
        match self.size {
            PageSize::Size4K => self.map.store(index, self.before),
            PageSize::Size2M => {
                let first = (index / FRAMES_PER_WORD) as usize;
                let count = (PageSize::Size2M.pages() / FRAMES_PER_WORD) as usize;
                for word in &self.map.words[first..first + count] {
                    word.store(filled(self.before), Ordering::Release);
                }
            }
        }
    }
}

/// Word and bit of a frame.
const fn place(index: u64) -> (usize, u64) {
    (
        (index / FRAMES_PER_WORD) as usize,
        index % FRAMES_PER_WORD * BITS,
    )
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::memory_map::tests::{LIMIT, area};
    use std::vec::Vec;

    fn words(ram: &RamMap) -> Vec<AtomicU64> {
        (0..ram.page_map_words())
            .map(|_| AtomicU64::new(0))
            .collect()
    }

    fn ram() -> RamMap {
        RamMap::parse(&area(&[(0, 0x9F, 0), (0x100, 0x900, 0)]), LIMIT).unwrap()
    }

    #[test]
    fn states_set_at_boot_end_where_they_are_said_to() {
        let ram = ram();
        let words = words(&ram);
        let map = PageMap::new(&ram, &words).unwrap();
        for (first, pages) in [
            (0x100, 0x900),
            (0x0, 0x9F),
            (0x103, 40),
            (0x110, 16),
            (0x9D, 0x70),
        ] {
            map.set_at_boot(first * PAGE_SIZE, pages, PageState::Validated);
            for page in 0..0xA10 {
                let is_ram = page < 0x9F || (0x100..0xA00).contains(&page);
                let wanted = match (is_ram, (first..first + pages).contains(&page)) {
                    (false, _) => PageState::NotRam,
                    (true, false) => PageState::Unvalidated,
                    (true, true) => PageState::Validated,
                };
                assert_eq!(map.state(page * PAGE_SIZE), wanted, "page {page:#x}");
            }
            map.set_at_boot(0, 0xA10, PageState::Unvalidated);
        }
    }

    #[test]
    fn ram_starts_unvalidated_and_the_rest_is_not_ram() {
        let (ram, words) = {
            let r = ram();
            let w = words(&r);
            (r, w)
        };
        let map = PageMap::new(&ram, &words).unwrap();
        assert_eq!(map.state(0), PageState::Unvalidated);
        assert_eq!(map.state(0x9_EFFF), PageState::Unvalidated);
        assert_eq!(map.state(0x9_F000), PageState::NotRam);
        assert_eq!(map.state(0x10_0000), PageState::Unvalidated);
        assert_eq!(map.state(0xA0_0000), PageState::NotRam);
        assert_eq!(map.state(u64::MAX), PageState::NotRam);
        assert!(PageMap::new(&ram, &words[1..]).is_none());
    }

    #[test]
    fn a_claim_excludes_others_and_ends_in_what_was_settled() {
        let ram = ram();
        let words = words(&ram);
        let map = PageMap::new(&ram, &words).unwrap();
        let claim = map
            .claim(0x1000, PageSize::Size4K, PageState::Unvalidated)
            .unwrap();
        assert_eq!(
            map.claim(0x1000, PageSize::Size4K, PageState::Unvalidated)
                .unwrap_err(),
            Refused::State(PageState::Busy)
        );
        assert_eq!(map.state(0x2000), PageState::Unvalidated);
        claim.settle(PageState::Validated);
        assert_eq!(map.state(0x1000), PageState::Validated);
        drop(
            map.claim(0x1000, PageSize::Size4K, PageState::Validated)
                .unwrap(),
        );
        assert_eq!(map.state(0x1000), PageState::Validated);
    }

    #[test]
    fn a_large_claim_takes_all_or_nothing() {
        let ram = ram();
        let words = words(&ram);
        let map = PageMap::new(&ram, &words).unwrap();
        map.set_at_boot(0x3F_F000, 1, PageState::Validated);
        assert_eq!(
            map.claim(0x20_0000, PageSize::Size2M, PageState::Unvalidated)
                .unwrap_err(),
            Refused::Mixed
        );
        assert_eq!(map.state(0x20_0000), PageState::Unvalidated);
        let small = map
            .claim(0x3F_F000, PageSize::Size4K, PageState::Validated)
            .unwrap();
        assert_eq!(
            map.claim(0x20_0000, PageSize::Size2M, PageState::Unvalidated)
                .unwrap_err(),
            Refused::State(PageState::Busy)
        );
        small.settle(PageState::Unvalidated);
        map.claim(0x20_0000, PageSize::Size2M, PageState::Unvalidated)
            .unwrap()
            .settle(PageState::Validated);
        assert_eq!(map.state(0x1F_F000), PageState::Unvalidated);
        assert_eq!(map.state(0x20_0000), PageState::Validated);
        assert_eq!(map.state(0x3F_F000), PageState::Validated);
        assert_eq!(map.state(0x40_0000), PageState::Unvalidated);
        assert_eq!(
            map.claim(0x20_0000, PageSize::Size2M, PageState::Unvalidated)
                .unwrap_err(),
            Refused::State(PageState::Validated)
        );
    }

    #[test]
    fn pages_that_leave_ram_or_are_misaligned_are_not_ram() {
        let ram = ram();
        let words = words(&ram);
        let map = PageMap::new(&ram, &words).unwrap();
        for (gpa, size) in [
            (0, PageSize::Size2M),         // a hole inside
            (0x80_0000, PageSize::Size2M), // fine
            (0xA0_0000, PageSize::Size2M), // beyond
            (0x20_1000, PageSize::Size2M), // misaligned
            (0x20_0001, PageSize::Size4K), // misaligned
            (!0x1F_FFFF, PageSize::Size2M),
        ] {
            let claim = map.claim(gpa, size, PageState::Unvalidated);
            assert_eq!(claim.is_ok(), gpa == 0x80_0000, "{gpa:#x}");
        }
    }

    #[test]
    fn readable_means_every_page() {
        let ram = ram();
        let words = words(&ram);
        let map = PageMap::new(&ram, &words).unwrap();
        map.set_at_boot(0x1000, 2, PageState::Validated);
        map.set_at_boot(0x3000, 1, PageState::CallingArea);
        map.set_at_boot(0x4000, 1, PageState::Vmsa);
        assert!(map.is_guest_readable(0x1FFF, 0x2001));
        assert!(!map.is_guest_readable(0x1FFF, 0x2002));
        assert!(!map.is_guest_readable(0xFFF, 2));
        assert!(!map.is_guest_readable(u64::MAX, 2));
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use crate::memory_map::tests::{LIMIT, area};
    use std::vec::Vec;

    /// A map that lives as long as the model's run.
    fn shared(entries: &[(u64, u64, u16)]) -> &'static PageMap<'static> {
        let ram: &'static RamMap = std::boxed::Box::leak(std::boxed::Box::new(
            RamMap::parse(&area(entries), LIMIT).unwrap(),
        ));
        let words: Vec<AtomicU64> = (0..ram.page_map_words())
            .map(|_| AtomicU64::new(0))
            .collect();
        let words: &'static [AtomicU64] = words.leak();
        std::boxed::Box::leak(std::boxed::Box::new(PageMap::new(ram, words).unwrap()))
    }

    #[test]
    fn two_vcpus_never_both_validate_a_page() {
        loom::model(|| {
            let map = shared(&[(0, 4, 0)]);
            let work = move || match map.claim(0x1000, PageSize::Size4K, PageState::Unvalidated) {
                Ok(claim) => {
                    claim.settle(PageState::Validated);
                    1
                }
                Err(_) => 0,
            };
            let other = loom::thread::spawn(work);
            let mine = work();
            assert_eq!(mine + other.join().unwrap(), 1);
            assert_eq!(map.state(0x1000), PageState::Validated);
        });
    }

    #[test]
    fn neighbours_in_a_word_do_not_disturb_each_other() {
        loom::model(|| {
            let map = shared(&[(0, 4, 0)]);
            let other = loom::thread::spawn(move || {
                map.claim(0x2000, PageSize::Size4K, PageState::Unvalidated)
                    .unwrap()
                    .settle(PageState::Vmsa);
            });
            map.claim(0x1000, PageSize::Size4K, PageState::Unvalidated)
                .unwrap()
                .settle(PageState::Validated);
            other.join().unwrap();
            assert_eq!(map.state(0x1000), PageState::Validated);
            assert_eq!(map.state(0x2000), PageState::Vmsa);
            assert_eq!(map.state(0x3000), PageState::Unvalidated);
        });
    }

    #[test]
    fn a_large_claim_and_a_small_one_inside_it_never_both_succeed() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.max_branches = 10_000;
        model.check(|| {
            let map = shared(&[(0, 512, 0)]);
            let other = loom::thread::spawn(move || {
                map.claim(0x1_1000, PageSize::Size4K, PageState::Unvalidated)
                    .map(|claim| claim.settle(PageState::Vmsa))
                    .is_ok()
            });
            let large = map
                .claim(0, PageSize::Size2M, PageState::Unvalidated)
                .map(|claim| claim.settle(PageState::Validated))
                .is_ok();
            let small = other.join().unwrap();
            assert!(!(large && small));
            let (page, rest) = match (large, small) {
                (true, _) => (PageState::Validated, PageState::Validated),
                (_, true) => (PageState::Vmsa, PageState::Unvalidated),
                _ => (PageState::Unvalidated, PageState::Unvalidated),
            };
            assert_eq!(map.state(0x1_1000), page);
            for gpa in [0, 0x1_0000, 0x1_2000, 0x1F_F000] {
                assert_eq!(map.state(gpa), rest);
            }
        });
    }
}
