//! Frames, slices, stacks.

use super::tables::leaf;
use super::{check, check_eq, fail, subject};
use crate::mm;
use boot_abi::layout::{KERNEL_VIRTUAL_BASE, SERVICES_OFFSET, SVSM_SIZE};
use snp_abi::PAGE_SIZE;

/// More frames than there are.
const TOO_MANY: usize = (SVSM_SIZE / PAGE_SIZE) as usize + 1;

#[svsm_test_macro::svsm_tests(memory)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn a_slice_starts_at_a_page() {
        for len in [1, 3, 4096, 5000] {
            let Ok(slice) = mm::allocate_slice(len, |_| 0u8) else {
                fail!("no memory for {len} bytes")
            };
            check_eq!(slice.as_ptr() as u64 % PAGE_SIZE, 0);
            check_eq!(slice.len(), len);
        }
    }

    #[svsm_test]
    fn a_slice_is_made_in_order() {
        let mut next = 0;
        let Ok(slice) = mm::allocate_slice(700, |index| {
            next += 1;
            (index as u64, next)
        }) else {
            fail!("no memory")
        };
        for (index, &(made_with, order)) in slice.iter().enumerate() {
            check_eq!(made_with, index as u64);
            check_eq!(order, index + 1);
        }
    }

    #[svsm_test]
    fn slices_are_apart() {
        let make = |len| mm::allocate_slice(len, |_| 0u64);
        let (Ok(a), Ok(b), Ok(c)) = (make(1), make(513), make(2)) else {
            fail!("no memory")
        };
        let range =
            |slice: &[u64]| slice.as_ptr() as u64..slice.as_ptr() as u64 + slice.len() as u64 * 8;
        let (ra, rb, rc) = (range(a), range(b), range(c));
        for (one, other) in [(&ra, &rb), (&ra, &rc), (&rb, &rc)] {
            check!(
                one.end <= other.start || other.end <= one.start,
                "{one:x?} and {other:x?}"
            );
        }
        a.fill(1);
        b.fill(2);
        c.fill(3);
        check!(a.iter().all(|&x| x == 1) && b.iter().all(|&x| x == 2) && c.iter().all(|&x| x == 3));
    }

    #[svsm_test]
    fn a_slice_takes_whole_pages_and_no_more() {
        for (bytes, pages) in [(1, 1), (4096, 1), (4097, 2), (12_288, 3)] {
            let before = mm::free_kib();
            check!(mm::allocate_slice(bytes, |_| 0u8).is_ok());
            check_eq!(before - mm::free_kib(), pages * 4, "KiB for {bytes} bytes");
        }
    }

    #[svsm_test]
    fn an_empty_slice_takes_nothing() {
        let before = mm::free_kib();
        check_eq!(
            mm::allocate_slice(0, |_| 0u64).map(|slice| slice.len()),
            Ok(0)
        );
        check_eq!(mm::free_kib(), before);
    }

    #[svsm_test]
    fn more_than_there_is_is_refused_and_nothing_taken() {
        let before = mm::free_kib();
        let refused = mm::allocate_slice(TOO_MANY * 4096, |_| 0u8).err();
        check_eq!(refused, Some(mm::OutOfMemory));
        let rest = before as usize / 4 + 1;
        check_eq!(
            mm::allocate_slice(rest * 4096, |_| 0u8).err(),
            Some(mm::OutOfMemory)
        );
        check_eq!(mm::free_kib(), before);
    }

    #[svsm_test]
    fn a_length_that_overflows_is_refused() {
        for len in [usize::MAX, usize::MAX / 8 + 1, usize::MAX / 4] {
            check_eq!(
                mm::allocate_slice(len, |_| 0u64).err(),
                Some(mm::OutOfMemory)
            );
        }
    }

    #[svsm_test]
    fn nothing_is_made_of_a_slice_that_is_refused() {
        let mut made = 0;
        let refused = mm::allocate_slice(TOO_MANY * 4096, |_| {
            made += 1;
            0u8
        });
        check!(refused.is_err());
        check_eq!(made, 0);
    }

    #[svsm_test]
    fn new_frames_are_zero() {
        let Ok(top) = mm::new_stack(3) else {
            fail!("no memory")
        };
        for va in (top - 3 * PAGE_SIZE..top).step_by(8) {
            check_eq!(mm::try_read_own(va), Some(0), "{va:#x}");
        }
    }

    #[svsm_test]
    fn a_stack_has_pages_that_are_not_mapped_around_it() {
        let Ok(top) = mm::new_stack(2) else {
            fail!("no memory")
        };
        let bottom = top - 2 * PAGE_SIZE;
        check!(leaf(bottom - 1).is_none(), "below");
        check!(
            leaf(bottom - PAGE_SIZE).is_none(),
            "the guard page's first byte"
        );
        check!(leaf(top).is_none(), "above");
        check_eq!(mm::try_read_own(bottom - 8), None);
        check_eq!(mm::try_read_own(top), None);
    }

    #[svsm_test]
    fn a_stack_is_writable_and_not_executable() {
        let Ok(top) = mm::new_stack(2) else {
            fail!("no memory")
        };
        for va in [top - 1, top - PAGE_SIZE, top - 2 * PAGE_SIZE] {
            check!(mm::try_rewrite(va), "{va:#x} cannot be written");
            let Some(page) = leaf(va) else {
                fail!("{va:#x} is not mapped")
            };
            check!(page.is_writable() && !page.is_executable() && !page.is_user());
        }
    }

    #[svsm_test]
    fn stacks_have_frames_of_their_own() {
        let (Ok(one), Ok(other)) = (mm::new_stack(1), mm::new_stack(1)) else {
            fail!("no memory")
        };
        check!(one != other);
        let gpa = |top: u64| leaf(top - 1).map(|page| page.gpa);
        check!(gpa(one).is_some() && gpa(one) != gpa(other));
    }

    #[svsm_test]
    fn a_stack_that_does_not_fit_is_refused() {
        let before = mm::free_kib();
        check_eq!(mm::new_stack(TOO_MANY), Err(mm::OutOfMemory));
        check_eq!(mm::free_kib(), before);
    }

    #[svsm_test]
    fn the_svsm_is_where_its_parameters_say() {
        let params = &subject()?.params;
        check_eq!(params.svsm.base.get(), mm::base());
        check_eq!(params.svsm.size.get(), SVSM_SIZE);
        let end = params.kernel_image.base.get() + params.kernel_image.size.get();
        check!(
            mm::image_end() <= end,
            "{:#x} is behind {end:#x}",
            mm::image_end()
        );
    }

    #[svsm_test]
    fn parameters_are_within_their_place() {
        let start = mm::base() + SERVICES_OFFSET;
        let end = mm::base() + SVSM_SIZE;
        check!(mm::parameters(start, end - start).is_some());
        check!(mm::parameters(end - PAGE_SIZE, PAGE_SIZE).is_some());
        for (base, size) in [
            (start - 1, 1),
            (start - PAGE_SIZE, PAGE_SIZE),
            (start, end - start + 1),
            (end, 1),
            (0, PAGE_SIZE),
            (start, u64::MAX),
            (u64::MAX, 2),
        ] {
            check!(
                mm::parameters(base, size).is_none(),
                "{base:#x} with {size:#x} bytes"
            );
        }
    }

    #[svsm_test]
    fn an_early_frame_and_a_late_one_are_both_of_the_svsm() {
        let end = KERNEL_VIRTUAL_BASE + SERVICES_OFFSET;
        let Ok(slice) = mm::allocate_slice(1, |_| 0u8) else {
            fail!("no memory")
        };
        let va = slice.as_ptr() as u64;
        check!((KERNEL_VIRTUAL_BASE..end).contains(&va), "{va:#x}");
        check!(
            mm::image_parts()[1] <= va,
            "{va:#x} is of the image's constants"
        );
    }
}
