//! Copies from and to guest RAM, with the faults that guest and host can make.

use super::{Stop, check, check_eq, only_snp, smp, subject};
use crate::mm;
use crate::platform::{Kind, kind, platform};
use core::sync::atomic::{AtomicU64, Ordering};
use snp_abi::{PAGE_SIZE, PageSize, RmpPermissions, Vmpl};
use svsm_core::machine::{MemoryFault, Validation};
use svsm_core::page_map::PageState;

/// Pages of guest RAM that tests have taken, from its end downwards.
static USED: AtomicU64 = AtomicU64::new(0);

/// So many pages of guest RAM that nobody uses, following each other, private by the host's books and not validated.
pub fn raw_pages(count: u64) -> Result<u64, Stop> {
    let kernel = subject()?.kernel;
    let used = USED.fetch_add(count, Ordering::Relaxed) + count;
    // The longest range: small ones may be what the boot left.
    let range = kernel
        .pages
        .ram()
        .ranges()
        .iter()
        .max_by_key(|range| range.pages());
    let Some(range) = range.filter(|range| used < range.pages()) else {
        return Err(Stop::Skipped("too little guest RAM"));
    };
    let first = range.end - used * PAGE_SIZE;
    for gpa in (first..first + count * PAGE_SIZE).step_by(PAGE_SIZE as usize) {
        check_eq!(
            kernel.pages.state(gpa),
            PageState::Unvalidated,
            "state of {gpa:#x}"
        );
        check!(
            platform().make_private(gpa).is_ok(),
            "the host keeps {gpa:#x} shared"
        );
    }
    Ok(first)
}

/// The same, validated and the guest's.
pub fn pages(count: u64) -> Result<u64, Stop> {
    let first = raw_pages(count)?;
    for gpa in (first..first + count * PAGE_SIZE).step_by(PAGE_SIZE as usize) {
        if kind() == Kind::Snp {
            let changed = mm::pvalidate_guest(gpa, PageSize::Size4K, true);
            check_eq!(changed, Ok(Validation::Changed), "PVALIDATE of {gpa:#x}");
            let given = mm::rmpadjust_guest(
                gpa,
                PageSize::Size4K,
                Vmpl::Vmpl2,
                RmpPermissions::RWX,
                false,
            );
            check_eq!(given, Ok(()), "RMPADJUST of {gpa:#x}");
        }
        subject()?
            .kernel
            .pages
            .set_at_boot(gpa, 1, PageState::Validated);
    }
    Ok(first)
}

/// One page, validated and the guest's.
pub fn page() -> Result<u64, Stop> {
    pages(1)
}

/// The end of all guest RAM.
fn end() -> Result<u64, Stop> {
    let ram = subject()?.kernel.pages.ram();
    Ok(ram.ranges().last().map_or(0, |range| range.end))
}

const FAULT: Result<(), MemoryFault> = Err(MemoryFault);

#[svsm_test_macro::svsm_tests(guest)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn what_is_written_is_read() {
        let gpa = page()?;
        let bytes: [u8; 256] = core::array::from_fn(|i| i as u8 ^ 0x5A);
        check_eq!(mm::write_guest(gpa, &bytes), Ok(()));
        let mut back = [0; 256];
        check_eq!(mm::read_guest(gpa, &mut back), Ok(()));
        check!(back == bytes);
    }

    #[svsm_test]
    fn any_place_in_a_page_can_be_written_and_nothing_else_is() {
        let gpa = page()?;
        check_eq!(mm::zero_guest(gpa, PAGE_SIZE), Ok(()));
        for offset in [0, 1, 7, 8, 100, 4095 - 3] {
            check_eq!(mm::write_guest(gpa + offset, &[0xEE; 3]), Ok(()));
            let mut page = [0u8; 4096];
            check_eq!(mm::read_guest(gpa, &mut page), Ok(()));
            let at = offset as usize;
            check!(page[at..at + 3] == [0xEE; 3]);
            check_eq!(
                page.iter().filter(|&&byte| byte != 0).count(),
                3,
                "bytes after a write to {offset}"
            );
            check_eq!(mm::write_guest(gpa + offset, &[0; 3]), Ok(()));
        }
    }

    #[svsm_test]
    fn a_copy_may_straddle_pages() {
        let gpa = pages(2)?;
        let bytes: [u8; 100] = core::array::from_fn(|i| i as u8 + 1);
        check_eq!(mm::write_guest(gpa + PAGE_SIZE - 50, &bytes), Ok(()));
        let mut back = [0; 50];
        check_eq!(mm::read_guest(gpa + PAGE_SIZE, &mut back), Ok(()));
        check!(back == bytes[50..]);
    }

    #[svsm_test]
    fn a_whole_page_is_copied() {
        let gpa = page()?;
        let bytes: [u8; 4096] = core::array::from_fn(|i| (i / 3) as u8);
        check_eq!(mm::write_guest(gpa, &bytes), Ok(()));
        let mut back = [0; 4096];
        check_eq!(mm::read_guest(gpa, &mut back), Ok(()));
        check!(back == bytes);
    }

    #[svsm_test]
    fn a_page_is_cleared_and_its_neighbours_are_not() {
        let gpa = pages(3)?;
        for page in 0..3 {
            check_eq!(
                mm::write_guest(gpa + page * PAGE_SIZE, &[0xAB; 4096]),
                Ok(())
            );
        }
        check_eq!(mm::zero_guest(gpa + PAGE_SIZE, PAGE_SIZE), Ok(()));
        for page in 0..3 {
            let mut back = [1; 4096];
            check_eq!(mm::read_guest(gpa + page * PAGE_SIZE, &mut back), Ok(()));
            let expected = if page == 1 { 0 } else { 0xAB };
            check!(back.iter().all(|&byte| byte == expected), "page {page}");
        }
    }

    #[svsm_test]
    fn only_whole_pages_are_cleared() {
        let gpa = page()?;
        check_eq!(mm::write_guest(gpa, &[0xCD; 4096]), Ok(()));
        for (at, bytes) in [
            (gpa, 0),
            (gpa, 1),
            (gpa, PAGE_SIZE - 1),
            (gpa, PAGE_SIZE + 1),
            (gpa + 1, PAGE_SIZE),
            (gpa + 8, PAGE_SIZE - 8),
        ] {
            check_eq!(mm::zero_guest(at, bytes), FAULT, "{bytes} bytes at {at:#x}");
        }
        let mut back = [0; 4096];
        check_eq!(mm::read_guest(gpa, &mut back), Ok(()));
        check!(back.iter().all(|&byte| byte == 0xCD));
    }

    #[svsm_test]
    fn nothing_behind_the_ram_is_copied() {
        let end = end()?;
        let mut buffer = [0x77; 8];
        for gpa in [end, end + PAGE_SIZE, end - 4, end - 7] {
            check_eq!(mm::read_guest(gpa, &mut buffer), FAULT, "{gpa:#x}");
            check_eq!(mm::write_guest(gpa, &[0; 8]), FAULT, "{gpa:#x}");
        }
        check_eq!(buffer, [0x77; 8]);
        check_eq!(mm::zero_guest(end, PAGE_SIZE), FAULT);
        check_eq!(mm::zero_guest(end - PAGE_SIZE, 2 * PAGE_SIZE), FAULT);
    }

    #[svsm_test]
    fn addresses_that_wrap_are_refused() {
        let mut buffer = [0; 16];
        for gpa in [
            u64::MAX,
            u64::MAX - 15,
            u64::MAX - 16,
            1 << 63,
            1 << 52,
            1 << 47,
        ] {
            check_eq!(mm::read_guest(gpa, &mut buffer), FAULT, "{gpa:#x}");
            check_eq!(mm::write_guest(gpa, &buffer), FAULT, "{gpa:#x}");
        }
        check_eq!(mm::zero_guest(!0xFFF, PAGE_SIZE), FAULT);
        check_eq!(mm::zero_guest(0x10_0000, !0xFFF), FAULT);
    }

    #[svsm_test]
    fn the_svsms_memory_is_not_the_guests() {
        let mut buffer = [0; 8];
        for offset in [0, 0x1000, boot_abi::layout::SVSM_SIZE - 8] {
            let gpa = mm::base() + offset;
            check_eq!(mm::read_guest(gpa, &mut buffer), FAULT, "{gpa:#x}");
            check_eq!(mm::write_guest(gpa, &buffer), FAULT, "{gpa:#x}");
        }
        check_eq!(mm::zero_guest(mm::base() + 0x10_0000, PAGE_SIZE), FAULT);
        check_eq!(
            mm::read_guest(mm::base() - 4, &mut buffer),
            FAULT,
            "into it"
        );
    }

    #[svsm_test]
    fn devices_are_not_guest_ram() {
        let mut buffer = [0; 4];
        for gpa in [0xFEE0_0000, 0xFEC0_0000, 0xA_0000] {
            check_eq!(mm::read_guest(gpa, &mut buffer), FAULT, "{gpa:#x}");
            check_eq!(mm::write_guest(gpa, &buffer), FAULT, "{gpa:#x}");
        }
    }

    #[svsm_test]
    fn gaps_between_ranges_are_not_ram() {
        let ram = subject()?.kernel.pages.ram();
        let mut buffer = [0; 8];
        for pair in ram.ranges().windows(2) {
            check!(pair[0].end < pair[1].start, "{:#x}", pair[1].start);
            check_eq!(mm::read_guest(pair[0].end, &mut buffer), FAULT);
            check_eq!(mm::read_guest(pair[1].start - 8, &mut buffer), FAULT);
            check_eq!(mm::read_guest(pair[0].end - 4, &mut buffer), FAULT);
        }
    }

    #[svsm_test]
    fn a_page_that_is_not_validated_faults_and_nothing_more() {
        only_snp()?;
        let gpa = raw_pages(1)?;
        let mut buffer = [0x11; 64];
        check_eq!(mm::read_guest(gpa, &mut buffer), FAULT);
        check_eq!(buffer, [0x11; 64]);
        check_eq!(mm::write_guest(gpa, &buffer), FAULT);
        check_eq!(mm::write_guest(gpa + 13, &buffer[..1]), FAULT);
        check_eq!(mm::zero_guest(gpa, PAGE_SIZE), FAULT);
    }

    #[svsm_test]
    fn a_copy_into_a_page_that_is_not_validated_stops_at_it() {
        only_snp()?;
        let gpa = raw_pages(2)?;
        check_eq!(
            mm::pvalidate_guest(gpa, PageSize::Size4K, true),
            Ok(Validation::Changed)
        );
        check_eq!(mm::zero_guest(gpa, PAGE_SIZE), Ok(()));
        check_eq!(mm::write_guest(gpa + PAGE_SIZE - 16, &[9; 32]), FAULT);
        let mut back = [0; 16];
        check_eq!(mm::read_guest(gpa + PAGE_SIZE - 16, &mut back), Ok(()));
        check_eq!(back, [9; 16]);
        check_eq!(mm::zero_guest(gpa, 2 * PAGE_SIZE), FAULT);
    }

    #[svsm_test]
    fn a_rescinded_page_faults() {
        only_snp()?;
        let gpa = page()?;
        check_eq!(mm::write_guest(gpa, &[1; 8]), Ok(()));
        check_eq!(
            mm::pvalidate_guest(gpa, PageSize::Size4K, false),
            Ok(Validation::Changed)
        );
        check_eq!(mm::read_guest(gpa, &mut [0; 8]), FAULT);
    }

    #[svsm_test]
    fn all_cpus_see_one_memory() {
        static GPA: AtomicU64 = AtomicU64::new(0);
        GPA.store(page()?, Ordering::SeqCst);
        check_eq!(
            mm::zero_guest(GPA.load(Ordering::SeqCst), PAGE_SIZE),
            Ok(())
        );
        let wrote = smp::on_all(|index| {
            let at = GPA.load(Ordering::SeqCst) + index as u64 * 64;
            mm::write_guest(at, &[index as u8 + 1; 64]).is_ok().into()
        })?;
        for (index, ok) in smp::each(&wrote) {
            check_eq!(ok, 1, "vCPU {index}");
            let mut back = [0; 64];
            check_eq!(
                mm::read_guest(GPA.load(Ordering::SeqCst) + index as u64 * 64, &mut back),
                Ok(())
            );
            check_eq!(back, [index as u8 + 1; 64], "of vCPU {index}");
        }
    }

    #[svsm_test]
    fn an_empty_copy_is_no_access() {
        let gpa = raw_pages(1)?;
        check_eq!(mm::read_guest(gpa, &mut []), Ok(()));
        check_eq!(mm::write_guest(gpa, &[]), Ok(()));
    }
}
