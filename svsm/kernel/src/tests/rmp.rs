//! PVALIDATE and RMPADJUST on pages of the guest's (APM vol. 3), with the real RMP behind them.

use super::guest::{page, pages, raw_pages};
use super::{check, check_eq, only_snp, smp, subject};
use crate::mm;
use core::sync::atomic::{AtomicU64, Ordering};
use snp_abi::rmp::result::{FAIL_INPUT, FAIL_PERMISSION, FAIL_SIZEMISMATCH};
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, RmpPermissions, Vmpl};
use svsm_core::machine::{PageOpError, Validation};

const SMALL: PageSize = PageSize::Size4K;
const LARGE: PageSize = PageSize::Size2M;

#[svsm_test_macro::svsm_tests(rmp)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn the_first_pvalidate_changes_the_page_and_the_second_does_not() {
        only_snp()?;
        let gpa = raw_pages(1)?;
        check_eq!(
            mm::pvalidate_guest(gpa, SMALL, true),
            Ok(Validation::Changed)
        );
        check_eq!(
            mm::pvalidate_guest(gpa, SMALL, true),
            Ok(Validation::Unchanged)
        );
    }

    #[svsm_test]
    fn rescinding_twice_is_told_too() {
        only_snp()?;
        let gpa = page()?;
        check_eq!(
            mm::pvalidate_guest(gpa, SMALL, false),
            Ok(Validation::Changed)
        );
        check_eq!(
            mm::pvalidate_guest(gpa, SMALL, false),
            Ok(Validation::Unchanged)
        );
        check_eq!(
            mm::pvalidate_guest(gpa, SMALL, true),
            Ok(Validation::Changed)
        );
    }

    #[svsm_test]
    fn validation_does_not_change_contents() {
        only_snp()?;
        let gpa = page()?;
        check_eq!(mm::write_guest(gpa, b"contents"), Ok(()));
        check_eq!(
            mm::pvalidate_guest(gpa, SMALL, false),
            Ok(Validation::Changed)
        );
        check_eq!(
            mm::pvalidate_guest(gpa, SMALL, true),
            Ok(Validation::Changed)
        );
        let mut back = [0; 8];
        check_eq!(mm::read_guest(gpa, &mut back), Ok(()));
        check_eq!(&back, b"contents");
    }

    #[svsm_test]
    fn a_large_page_of_small_entries_is_a_mismatch() {
        only_snp()?;
        // Enough that a whole large page lies within.
        let count = 2 * LARGE_PAGE_SIZE / PAGE_SIZE;
        let first = pages(count)?.next_multiple_of(LARGE_PAGE_SIZE);
        let mismatch = Err(PageOpError::Code(FAIL_SIZEMISMATCH));
        check_eq!(mm::pvalidate_guest(first, LARGE, true), mismatch);
        check_eq!(mm::pvalidate_guest(first, LARGE, false), mismatch);
        let adjusted = mm::rmpadjust_guest(first, LARGE, Vmpl::Vmpl2, RmpPermissions::READ, false);
        check_eq!(adjusted, Err(PageOpError::Code(FAIL_SIZEMISMATCH)));
        check_eq!(mm::read_guest(first, &mut [0; 8]), Ok(()));
    }

    #[svsm_test]
    fn rmpadjust_gives_a_lower_level_its_rights() {
        only_snp()?;
        let gpa = page()?;
        for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
            for rights in [
                RmpPermissions::empty(),
                RmpPermissions::READ,
                RmpPermissions::RWX,
            ] {
                check_eq!(
                    mm::rmpadjust_guest(gpa, SMALL, vmpl, rights, false),
                    Ok(()),
                    "{vmpl:?} {rights:?}"
                );
            }
        }
    }

    #[svsm_test]
    fn rmpadjust_refuses_its_own_level() {
        only_snp()?;
        let gpa = page()?;
        let own = mm::rmpadjust_guest(gpa, SMALL, Vmpl::Vmpl0, RmpPermissions::RWX, false);
        check_eq!(own, Err(PageOpError::Code(FAIL_PERMISSION)));
    }

    #[svsm_test]
    fn what_lower_levels_lose_this_one_keeps() {
        only_snp()?;
        let gpa = page()?;
        for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
            check_eq!(
                mm::rmpadjust_guest(gpa, SMALL, vmpl, RmpPermissions::empty(), false),
                Ok(())
            );
        }
        check_eq!(mm::write_guest(gpa, &[3; 16]), Ok(()));
        check_eq!(mm::read_guest(gpa, &mut [0; 16]), Ok(()));
    }

    #[svsm_test]
    fn a_page_that_is_not_validated_cannot_be_adjusted() {
        only_snp()?;
        let gpa = raw_pages(1)?;
        let adjusted = mm::rmpadjust_guest(gpa, SMALL, Vmpl::Vmpl2, RmpPermissions::RWX, false);
        check!(adjusted.is_err(), "{adjusted:?}");
        check_eq!(
            mm::pvalidate_guest(gpa, SMALL, true),
            Ok(Validation::Changed)
        );
    }

    #[svsm_test]
    fn a_vmsa_is_made_and_unmade() {
        only_snp()?;
        let gpa = page()?;
        let as_vmsa =
            |vmsa| mm::rmpadjust_guest(gpa, SMALL, Vmpl::Vmpl2, RmpPermissions::READ, vmsa);
        check_eq!(as_vmsa(true), Ok(()));
        check_eq!(as_vmsa(false), Ok(()));
        check_eq!(mm::write_guest(gpa, &[1; 8]), Ok(()), "it is memory again");
    }

    #[svsm_test]
    fn pages_that_are_not_guest_ram_are_refused() {
        let end = subject()?
            .kernel
            .pages
            .ram()
            .ranges()
            .last()
            .map_or(0, |range| range.end);
        for gpa in [end, mm::base(), mm::base() + 0x10_0000, u64::MAX, 1 << 52] {
            check_eq!(
                mm::pvalidate_guest(gpa, SMALL, true),
                Err(PageOpError::Fault),
                "{gpa:#x}"
            );
            check_eq!(
                mm::pvalidate_guest(gpa, SMALL, false),
                Err(PageOpError::Fault),
                "{gpa:#x}"
            );
            let adjusted = mm::rmpadjust_guest(gpa, SMALL, Vmpl::Vmpl2, RmpPermissions::RWX, false);
            check_eq!(adjusted, Err(PageOpError::Fault), "{gpa:#x}");
        }
        check_eq!(
            mm::pvalidate_guest(end - PAGE_SIZE, LARGE, true),
            Err(PageOpError::Fault),
            "over the end"
        );
    }

    #[svsm_test]
    fn an_address_that_is_not_a_page_s_counts_as_its_page_or_is_refused() {
        only_snp()?;
        let gpa = page()?;
        // APM: bits 11:0 are ignored for small pages; FAIL_INPUT is for what else is wrong.
        let result = mm::pvalidate_guest(gpa + 0x123, SMALL, true);
        check!(
            matches!(
                result,
                Ok(Validation::Unchanged) | Err(PageOpError::Code(FAIL_INPUT) | PageOpError::Fault)
            ),
            "{result:?}"
        );
        check_eq!(mm::read_guest(gpa, &mut [0; 8]), Ok(()));
    }

    #[svsm_test]
    fn one_cpu_of_all_changes_a_page() {
        only_snp()?;
        static GPA: AtomicU64 = AtomicU64::new(0);
        for _ in 0..10 {
            GPA.store(raw_pages(1)?, Ordering::SeqCst);
            let changed = smp::on_all(|_| {
                let result = mm::pvalidate_guest(GPA.load(Ordering::SeqCst), SMALL, true);
                match result {
                    Ok(Validation::Changed) => 1,
                    Ok(Validation::Unchanged) => 0,
                    Err(_) => 1 << 32,
                }
            })?;
            check_eq!(smp::each(&changed).map(|(_, one)| one).sum::<u64>(), 1);
        }
    }
}
