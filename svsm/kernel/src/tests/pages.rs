//! The page map, with the real memory map below it.

use super::guest::{page, pages, raw_pages};
use super::{check, check_eq, fail, smp, subject};
use core::sync::atomic::{AtomicU64, Ordering};
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize};
use svsm_core::page_map::{PageState, Refused};

const SMALL: PageSize = PageSize::Size4K;

#[svsm_test_macro::svsm_tests(pages)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn ram_is_not_validated_after_boot() {
        let map = &subject()?.kernel.pages;
        for range in map.ram().ranges() {
            check_eq!(
                map.state(range.start),
                PageState::Unvalidated,
                "{:#x}",
                range.start
            );
        }
    }

    #[svsm_test]
    fn what_is_no_ram_is_none() {
        let map = &subject()?.kernel.pages;
        let svsm = crate::mm::base();
        for gpa in [svsm, svsm + 0x7F_F000, 0xFEE0_0000, 1 << 52, u64::MAX] {
            check_eq!(map.state(gpa), PageState::NotRam, "{gpa:#x}");
            check!(
                map.claim(gpa & !0xFFF, SMALL, PageState::Unvalidated)
                    .is_err(),
                "{gpa:#x}"
            );
            check!(!map.is_guest_readable(gpa, 1), "{gpa:#x}");
        }
    }

    #[svsm_test]
    fn a_claim_keeps_others_out_until_it_is_gone() {
        let map = &subject()?.kernel.pages;
        let gpa = raw_pages(1)?;
        let claim = map.claim(gpa, SMALL, PageState::Unvalidated);
        check!(claim.is_ok());
        check_eq!(map.state(gpa), PageState::Busy);
        let second = map.claim(gpa, SMALL, PageState::Unvalidated).err();
        check_eq!(second, Some(Refused::State(PageState::Busy)));
        drop(claim);
        check_eq!(map.state(gpa), PageState::Unvalidated);
    }

    #[svsm_test]
    fn a_settled_claim_is_what_was_said() {
        let map = &subject()?.kernel.pages;
        let gpa = raw_pages(1)?;
        for (from, to) in [
            (PageState::Unvalidated, PageState::Validated),
            (PageState::Validated, PageState::Vmsa),
            (PageState::Vmsa, PageState::Validated),
            (PageState::Validated, PageState::CallingArea),
            (PageState::CallingArea, PageState::Lost),
        ] {
            match map.claim(gpa, SMALL, from) {
                Ok(claim) => claim.settle(to),
                Err(error) => fail!("{from:?}: {error:?}"),
            }
            check_eq!(map.state(gpa), to);
        }
    }

    #[svsm_test]
    fn a_claim_from_another_state_is_refused() {
        let map = &subject()?.kernel.pages;
        let gpa = page()?;
        for from in [
            PageState::Unvalidated,
            PageState::Vmsa,
            PageState::CallingArea,
            PageState::Lost,
        ] {
            let refused = map.claim(gpa, SMALL, from).err();
            check_eq!(
                refused,
                Some(Refused::State(PageState::Validated)),
                "from {from:?}"
            );
        }
    }

    #[svsm_test]
    fn a_large_page_with_one_other_is_mixed() {
        let map = &subject()?.kernel.pages;
        let count = 2 * LARGE_PAGE_SIZE / PAGE_SIZE;
        let first = raw_pages(count)?.next_multiple_of(LARGE_PAGE_SIZE);
        check!(
            map.claim(first, PageSize::Size2M, PageState::Unvalidated)
                .is_ok()
        );
        map.set_at_boot(first + 77 * PAGE_SIZE, 1, PageState::Validated);
        let refused = map
            .claim(first, PageSize::Size2M, PageState::Unvalidated)
            .err();
        check_eq!(refused, Some(Refused::Mixed));
        check_eq!(map.state(first), PageState::Unvalidated);
        let odd = map.claim(first + PAGE_SIZE, PageSize::Size2M, PageState::Unvalidated);
        check_eq!(odd.err(), Some(Refused::State(PageState::NotRam)));
    }

    #[svsm_test]
    fn an_argument_is_readable_where_all_of_it_is_the_guests() {
        let map = &subject()?.kernel.pages;
        let gpa = pages(2)?;
        check!(map.is_guest_readable(gpa, 2 * PAGE_SIZE));
        check!(map.is_guest_readable(gpa + PAGE_SIZE - 4, 8));
        check!(map.is_guest_readable(gpa, 0));
        map.set_at_boot(gpa + PAGE_SIZE, 1, PageState::Vmsa);
        check!(!map.is_guest_readable(gpa + PAGE_SIZE - 4, 8));
        check!(map.is_guest_readable(gpa + PAGE_SIZE - 4, 4));
        map.set_at_boot(gpa + PAGE_SIZE, 1, PageState::CallingArea);
        check!(map.is_guest_readable(gpa + PAGE_SIZE - 4, 8));
        check!(!map.is_guest_readable(gpa, u64::MAX));
    }

    #[svsm_test]
    fn one_cpu_of_all_gets_a_page() {
        static GPA: AtomicU64 = AtomicU64::new(0);
        for _ in 0..50 {
            GPA.store(raw_pages(1)?, Ordering::SeqCst);
            let won = smp::on_all(|_| {
                let Ok(subject) = super::super::subject() else {
                    return 1 << 32;
                };
                let gpa = GPA.load(Ordering::SeqCst);
                match subject
                    .kernel
                    .pages
                    .claim(gpa, SMALL, PageState::Unvalidated)
                {
                    Ok(claim) => {
                        claim.settle(PageState::Validated);
                        1
                    }
                    Err(_) => 0,
                }
            })?;
            check_eq!(smp::each(&won).map(|(_, one)| one).sum::<u64>(), 1);
        }
    }

    #[svsm_test]
    fn neighbours_change_at_the_same_time() {
        static GPA: AtomicU64 = AtomicU64::new(0);
        // Pages of one word of the map, one for each CPU.
        GPA.store(raw_pages(smp::MAX as u64)?, Ordering::SeqCst);
        let wrong = smp::on_all(|index| {
            let Ok(subject) = super::super::subject() else {
                return u64::MAX;
            };
            let gpa = GPA.load(Ordering::SeqCst) + index as u64 * PAGE_SIZE;
            let mut state = PageState::Unvalidated;
            let mut wrong = 0;
            for _ in 0..2000 {
                let next = match state {
                    PageState::Unvalidated => PageState::Validated,
                    _ => PageState::Unvalidated,
                };
                match subject.kernel.pages.claim(gpa, SMALL, state) {
                    Ok(claim) => claim.settle(next),
                    Err(_) => wrong += 1,
                }
                state = next;
                wrong += u64::from(subject.kernel.pages.state(gpa) != state);
            }
            wrong
        })?;
        for (index, count) in smp::each(&wrong) {
            check_eq!(count, 0, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn all_ram_is_in_the_books() {
        let map = &subject()?.kernel.pages;
        let words = map.ram().page_map_words() as u64;
        check!(words * 16 >= map.ram().bytes() / PAGE_SIZE, "{words} words");
    }
}
