//! What the kernel may do to its own memory and to what is not its: tried by copies, whose faults are caught.

use super::tables::GUEST_RAM;
use super::{check, check_eq, smp};
use crate::mm;
use boot_abi::layout::{KERNEL_VIRTUAL_BASE, SERVICES_OFFSET, SVSM_SIZE};
use core::sync::atomic::{AtomicU64, Ordering};
use snp_abi::PAGE_SIZE;

/// In the image's data and in its constants.
static DATA: AtomicU64 = AtomicU64::new(7);
static CONSTANT: [u64; 4] = [11, 12, 13, 14];

/// The first address that is not canonical.
const HOLE: u64 = 1 << 47;

#[svsm_test_macro::svsm_tests(access)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn text_can_be_read_and_not_written() {
        for va in [KERNEL_VIRTUAL_BASE, mm::image_parts()[0] - PAGE_SIZE] {
            check!(mm::try_read(va, &mut [0; 8]), "{va:#x}");
            check!(!mm::try_rewrite(va), "{va:#x} was written");
        }
    }

    #[svsm_test]
    fn constants_can_be_read_and_not_written() {
        let va = CONSTANT.as_ptr() as u64;
        check_eq!(mm::try_read_own(va), Some(11));
        check!(!mm::try_rewrite(va), "written");
        check_eq!(CONSTANT[0], 11);
    }

    #[svsm_test]
    fn data_can_be_written() {
        let va = &raw const DATA as u64;
        check!(mm::try_rewrite(va));
        check_eq!(DATA.load(Ordering::Relaxed), 7);
    }

    #[svsm_test]
    fn services_images_and_parameters_cannot_be_written() {
        for offset in [
            SVSM_SIZE - 0x1_0000,
            SVSM_SIZE - 0x8000,
            SVSM_SIZE - PAGE_SIZE,
        ] {
            let va = KERNEL_VIRTUAL_BASE + offset;
            check!(mm::try_read(va, &mut [0; 8]), "{va:#x}");
            check!(!mm::try_rewrite(va), "{va:#x} was written");
        }
        check!(!mm::try_rewrite(KERNEL_VIRTUAL_BASE + SERVICES_OFFSET));
    }

    #[svsm_test]
    fn the_null_page_faults() {
        for va in [0, 8, 0xFF8] {
            check!(!mm::try_read(va, &mut [0; 8]), "{va:#x}");
        }
    }

    #[svsm_test]
    fn addresses_that_are_none_fault() {
        // #GP, not #PF.
        for va in [HOLE, HOLE + 8, 1 << 63, GUEST_RAM - 8, GUEST_RAM - 16] {
            check!(!mm::try_read(va, &mut [0; 8]), "{va:#x}");
            check!(!mm::try_rewrite(va), "{va:#x}");
        }
    }

    #[svsm_test]
    fn the_end_of_the_address_space_faults() {
        for va in [u64::MAX, u64::MAX - 7, !0xFFF] {
            check!(!mm::try_read(va, &mut [0; 8]), "{va:#x}");
        }
    }

    #[svsm_test]
    fn what_lies_behind_the_svsms_memory_faults() {
        let end = KERNEL_VIRTUAL_BASE + SVSM_SIZE;
        check!(mm::try_read(end - 8, &mut [0; 8]));
        check!(!mm::try_read(end, &mut [0; 8]));
        check!(!mm::try_read(end - 4, &mut [0; 8]), "over the end");
        check!(!mm::try_read(KERNEL_VIRTUAL_BASE - 8, &mut [0; 8]));
    }

    #[svsm_test]
    fn a_read_for_a_report_is_of_the_svsms_own_memory_only() {
        for va in [
            0,
            0x1000,
            GUEST_RAM + 0x10_0000,
            HOLE,
            KERNEL_VIRTUAL_BASE - 8,
            u64::MAX - 7,
        ] {
            check_eq!(mm::try_read_own(va), None, "{va:#x}");
        }
        check!(mm::try_read_own(KERNEL_VIRTUAL_BASE).is_some());
    }

    #[svsm_test]
    fn a_fault_in_the_middle_keeps_what_was_copied() {
        let guard = mm::image_parts()[2];
        let before = guard - 8;
        let expected = mm::try_read_own(before);
        let mut buffer = [0xAA; 16];
        check!(!mm::try_read(before, &mut buffer));
        let (copied, rest) = buffer.split_at(8);
        check_eq!(copied, expected.unwrap_or(0).to_le_bytes());
        check_eq!(rest, [0xAA; 8]);
    }

    #[svsm_test]
    fn many_faults_in_a_row_are_survived() {
        for round in 0..1000u64 {
            check!(!mm::try_read(round * 8, &mut [0; 1]), "round {round}");
            check!(!mm::try_read(HOLE + round, &mut [0; 1]), "round {round}");
        }
    }

    #[svsm_test]
    fn all_cpus_survive_faults_at_the_same_time() {
        let faults = smp::on_all(|_| {
            let mut faults = 0;
            for round in 0..500u64 {
                let address = if round & 1 == 0 { round } else { HOLE + round };
                faults += u64::from(!mm::try_read(address, &mut [0; 8]));
            }
            faults
        })?;
        for (index, count) in smp::each(&faults) {
            check_eq!(count, 500, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn no_cpu_can_write_text() {
        let written = smp::on_all(|_| u64::from(mm::try_rewrite(KERNEL_VIRTUAL_BASE)))?;
        for (index, count) in smp::each(&written) {
            check_eq!(count, 0, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn all_lengths_and_alignments_are_copied_right() {
        static SOURCE: [u8; 64] = {
            let mut bytes = [0; 64];
            let mut i = 0;
            while i < 64 {
                bytes[i] = i as u8 + 1;
                i += 1;
            }
            bytes
        };
        for start in 0..16 {
            for length in 0..=40 {
                let mut buffer = [0; 48];
                check!(mm::try_read(
                    SOURCE.as_ptr() as u64 + start as u64,
                    &mut buffer[4..4 + length]
                ));
                check_eq!(buffer[..4], [0; 4]);
                check_eq!(
                    buffer[4..4 + length],
                    SOURCE[start..start + length],
                    "{length} bytes from {start}"
                );
                check!(buffer[4 + length..].iter().all(|&byte| byte == 0));
            }
        }
    }
}
