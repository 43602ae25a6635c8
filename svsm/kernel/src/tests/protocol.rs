//! Calls of the core protocol (58019 §7), with the kernel's real state behind them. What a guest does with its memory is done
//! in its place.

use super::guest::{page, pages, raw_pages};
use super::{Stop, check, check_eq, only_snp, subject};
use crate::mm;
use snp_abi::PAGE_SIZE;
use svsm_abi::{core_call, protocol, pvalidate_entry, result};
use svsm_core::page_map::PageState;
use svsm_core::request::Registers;

/// Makes a call of the core protocol on the boot CPU.
fn call(number: u32, rcx: u64, rdx: u64, r8: u64) -> Result<Registers, Stop> {
    let kernel = subject()?.kernel;
    let mut registers = Registers {
        rax: svsm_abi::call_id(protocol::CORE, number),
        rcx,
        rdx,
        r8,
    };
    kernel
        .core_protocol()
        .call(&kernel.vcpus[0], &mut registers);
    Ok(registers)
}

/// A list for PVALIDATE in guest memory.
fn list(entries: &[u64]) -> Result<u64, Stop> {
    let gpa = page()?;
    let mut bytes = [0; 512];
    bytes[..2].copy_from_slice(&(entries.len() as u16).to_le_bytes());
    for (place, entry) in bytes[8..].chunks_exact_mut(8).zip(entries) {
        place.copy_from_slice(&entry.to_le_bytes());
    }
    check_eq!(mm::write_guest(gpa, &bytes), Ok(()));
    Ok(gpa)
}

/// PVALIDATE of a list: the result, and how many entries were done.
fn pvalidate(entries: &[u64]) -> Result<(u64, u16), Stop> {
    let gpa = list(entries)?;
    let rax = call(core_call::PVALIDATE, gpa, 0, 0)?.rax;
    let mut next = [0; 2];
    check_eq!(mm::read_guest(gpa + 2, &mut next), Ok(()));
    Ok((rax, u16::from_le_bytes(next)))
}

#[svsm_test_macro::svsm_tests(protocol)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn the_core_protocol_is_there_in_version_1() {
        let answer = call(core_call::QUERY_PROTOCOL, 1, 0, 0)?;
        check_eq!((answer.rax, answer.rcx), (result::SUCCESS, 1 << 32 | 1));
    }

    #[svsm_test]
    fn other_protocols_and_versions_are_not() {
        for rcx in [
            0,
            2,
            1 << 32 | 1,
            3 << 32 | 1,
            u64::MAX,
            0x8000_0000 << 32 | 1,
        ] {
            let answer = call(core_call::QUERY_PROTOCOL, rcx, 0, 0)?;
            check_eq!((answer.rax, answer.rcx), (result::SUCCESS, 0), "{rcx:#x}");
        }
    }

    #[svsm_test]
    fn unknown_calls_are_refused() {
        for number in [8, 9, 255, 0x8000_0000, u32::MAX] {
            check_eq!(
                call(number, 0, 0, 0)?.rax,
                result::UNSUPPORTED_CALL,
                "{number}"
            );
        }
    }

    #[svsm_test]
    fn memory_is_neither_taken_nor_given() {
        for number in [core_call::DEPOSIT_MEM, core_call::WITHDRAW_MEM] {
            check_eq!(call(number, 0x1000, 0, 0)?.rax, result::UNSUPPORTED_CALL);
        }
    }

    #[svsm_test]
    fn there_is_no_virtual_top_of_memory() {
        let answer = call(core_call::CONFIGURE_VTOM, 1, 0, 0)?;
        check_eq!((answer.rax, answer.rcx), (result::SUCCESS, 0));
        check_eq!(
            call(core_call::CONFIGURE_VTOM, 0x4000_0002, 0, 0)?.rax,
            result::INVALID_REQUEST
        );
    }

    #[svsm_test]
    fn registers_that_no_result_uses_stay() {
        let answer = call(core_call::QUERY_PROTOCOL, 1, 0x1234, 0x5678)?;
        check_eq!((answer.rdx, answer.r8), (0x1234, 0x5678));
    }

    #[svsm_test]
    fn a_list_must_be_in_the_guests_memory() {
        let end = subject()?
            .kernel
            .pages
            .ram()
            .ranges()
            .last()
            .map_or(0, |range| range.end);
        for gpa in [end, mm::base(), mm::base() + 0x10_0000, !7, raw_pages(1)?] {
            check_eq!(
                call(core_call::PVALIDATE, gpa, 0, 0)?.rax,
                result::INVALID_ADDRESS,
                "{gpa:#x}"
            );
        }
    }

    #[svsm_test]
    fn a_list_must_be_aligned_and_within_a_page() {
        let gpa = pages(2)?;
        check_eq!(mm::zero_guest(gpa, 2 * PAGE_SIZE), Ok(()));
        for offset in [1, 4, 7] {
            let rax = call(core_call::PVALIDATE, gpa + offset, 0, 0)?.rax;
            check_eq!(rax, result::INVALID_ADDRESS, "offset {offset}");
        }
        // 600 entries do not fit a page; nor do two at its end.
        check_eq!(mm::write_guest(gpa, &600u16.to_le_bytes()), Ok(()));
        check!(call(core_call::PVALIDATE, gpa, 0, 0)?.rax != result::SUCCESS);
        check_eq!(
            mm::write_guest(gpa + PAGE_SIZE - 16, &2u16.to_le_bytes()),
            Ok(())
        );
        check!(call(core_call::PVALIDATE, gpa + PAGE_SIZE - 16, 0, 0)?.rax != result::SUCCESS);
    }

    #[svsm_test]
    fn an_empty_list_is_done() {
        let (rax, next) = pvalidate(&[])?;
        check!(
            matches!(
                rax,
                result::SUCCESS | result::INVALID_PARAMETER | result::INVALID_FORMAT
            ),
            "{rax:#x}"
        );
        check_eq!(next, 0);
    }

    #[svsm_test]
    fn reserved_bits_of_an_entry_are_refused() {
        for bit in 4..12 {
            let (rax, next) = pvalidate(&[0x1000 | 1 << bit])?;
            check_eq!((rax, next), (result::INVALID_PARAMETER, 0), "bit {bit}");
        }
        for size in [2, 3] {
            check_eq!(
                pvalidate(&[0x1000 | size])?,
                (result::INVALID_PARAMETER, 0),
                "size {size}"
            );
        }
    }

    #[svsm_test]
    fn pages_that_are_not_the_guests_are_refused() {
        let end = subject()?
            .kernel
            .pages
            .ram()
            .ranges()
            .last()
            .map_or(0, |range| range.end);
        for gpa in [mm::base(), mm::base() + 0x10_0000, end, 0xFEE0_0000] {
            for flags in [pvalidate_entry::VALIDATE, 0] {
                let (rax, next) = pvalidate(&[gpa | flags])?;
                check_eq!((rax, next), (result::INVALID_ADDRESS, 0), "{gpa:#x}");
            }
        }
        check_eq!(
            pvalidate(&[0x1000 | 1 | pvalidate_entry::VALIDATE])?,
            (result::INVALID_ADDRESS, 0)
        );
    }

    #[svsm_test]
    fn a_page_is_validated_cleared_and_rescinded() {
        only_snp()?;
        let gpa = raw_pages(1)?;
        let map = &subject()?.kernel.pages;
        check_eq!(
            pvalidate(&[gpa | pvalidate_entry::VALIDATE])?,
            (result::SUCCESS, 1)
        );
        check_eq!(map.state(gpa), PageState::Validated);
        let mut bytes = [1; 64];
        check_eq!(mm::read_guest(gpa, &mut bytes), Ok(()));
        check_eq!(bytes, [0; 64]);
        check_eq!(pvalidate(&[gpa])?, (result::SUCCESS, 1));
        check_eq!(map.state(gpa), PageState::Unvalidated);
        check!(mm::read_guest(gpa, &mut bytes).is_err());
    }

    #[svsm_test]
    fn a_page_is_not_validated_twice() {
        only_snp()?;
        let gpa = page()?;
        check_eq!(mm::write_guest(gpa, b"kept"), Ok(()));
        let validate = gpa | pvalidate_entry::VALIDATE;
        check_eq!(pvalidate(&[validate])?, (result::PVALIDATE_NO_CHANGE, 0));
        check_eq!(
            pvalidate(&[validate | pvalidate_entry::IGNORE_CF])?,
            (result::SUCCESS, 1)
        );
        let mut bytes = [0; 4];
        check_eq!(mm::read_guest(gpa, &mut bytes), Ok(()));
        check_eq!(&bytes, b"kept");
    }

    #[svsm_test]
    fn a_list_is_done_up_to_its_first_failure() {
        only_snp()?;
        let gpa = raw_pages(2)?;
        let entries = [
            gpa | pvalidate_entry::VALIDATE,
            mm::base() | pvalidate_entry::VALIDATE,
            (gpa + PAGE_SIZE) | pvalidate_entry::VALIDATE,
        ];
        check_eq!(pvalidate(&entries)?, (result::INVALID_ADDRESS, 1));
        let map = &subject()?.kernel.pages;
        check_eq!(map.state(gpa), PageState::Validated);
        check_eq!(map.state(gpa + PAGE_SIZE), PageState::Unvalidated);
    }

    #[svsm_test]
    fn the_list_may_rescind_itself() {
        only_snp()?;
        let gpa = list(&[0])?;
        check_eq!(mm::write_guest(gpa + 8, &gpa.to_le_bytes()), Ok(()));
        let rax = call(core_call::PVALIDATE, gpa, 0, 0)?.rax;
        check_eq!(rax, result::INVALID_ADDRESS, "nowhere to tell");
        check_eq!(subject()?.kernel.pages.state(gpa), PageState::Unvalidated);
    }

    #[svsm_test]
    fn a_vcpu_that_is_not_there_is_not_created() {
        let (vmsa, area) = (page()?, page()?);
        let rax = call(core_call::CREATE_VCPU, vmsa, area, 0xFE)?.rax;
        check_eq!(rax, result::INVALID_PARAMETER);
        check_eq!(subject()?.kernel.pages.state(vmsa), PageState::Validated);
    }

    #[svsm_test]
    fn a_vmsa_must_be_a_page_of_the_guests() {
        let area = page()?;
        let apic_id = subject()?.kernel.vcpus[0].apic_id().into();
        for vmsa in [mm::base(), area, area + 8, raw_pages(1)?, !0xFFF] {
            let rax = call(core_call::CREATE_VCPU, vmsa, area, apic_id)?.rax;
            check_eq!(rax, result::INVALID_ADDRESS, "{vmsa:#x}");
        }
        check_eq!(subject()?.kernel.pages.state(area), PageState::Validated);
    }

    #[svsm_test]
    fn a_calling_area_must_be_a_page_of_the_guests() {
        let vmsa = page()?;
        let apic_id = subject()?.kernel.vcpus[0].apic_id().into();
        for area in [mm::base(), raw_pages(1)?, 4, 1 << 52] {
            let rax = call(core_call::CREATE_VCPU, vmsa, area, apic_id)?.rax;
            check_eq!(rax, result::INVALID_ADDRESS, "{area:#x}");
        }
        check_eq!(subject()?.kernel.pages.state(vmsa), PageState::Validated);
    }

    #[svsm_test]
    fn a_page_of_zeros_is_no_vmsa() {
        only_snp()?;
        let (vmsa, area) = (page()?, page()?);
        check_eq!(mm::zero_guest(vmsa, PAGE_SIZE), Ok(()));
        let apic_id = subject()?.kernel.vcpus[0].apic_id().into();
        let rax = call(core_call::CREATE_VCPU, vmsa, area, apic_id)?.rax;
        check_eq!(rax, result::INVALID_PARAMETER);
        let map = &subject()?.kernel.pages;
        check_eq!(
            (map.state(vmsa), map.state(area)),
            (PageState::Validated, PageState::Validated)
        );
        check!(subject()?.kernel.vcpus[0].vmsa().is_none());
    }

    #[svsm_test]
    fn what_is_no_vmsa_is_not_deleted() {
        for vmsa in [page()?, raw_pages(1)?, mm::base(), 8, u64::MAX] {
            let rax = call(core_call::DELETE_VCPU, vmsa, 0, 0)?.rax;
            check_eq!(rax, result::INVALID_PARAMETER, "{vmsa:#x}");
        }
    }

    #[svsm_test]
    fn a_calling_area_moves_only_with_a_guest() {
        check_eq!(
            call(core_call::REMAP_CA, page()?, 0, 0)?.rax,
            result::INVALID_REQUEST
        );
        check_eq!(
            call(core_call::REMAP_CA, page()? + 8, 0, 0)?.rax,
            result::INVALID_ADDRESS
        );
    }

    #[svsm_test]
    fn a_call_while_another_works_alone_is_told_to_come_again() {
        let kernel = subject()?.kernel;
        let gpa = list(&[])?;
        let alone = kernel.lock.write();
        check!(alone.is_some());
        for number in [
            core_call::PVALIDATE,
            core_call::CREATE_VCPU,
            core_call::DELETE_VCPU,
            core_call::REMAP_CA,
        ] {
            check_eq!(call(number, gpa, 0, 0)?.rax, result::BUSY, "{number}");
        }
        drop(alone);
        check!(call(core_call::PVALIDATE, gpa, 0, 0)?.rax != result::BUSY);
    }
}
