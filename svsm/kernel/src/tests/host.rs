//! What the host and the image hand over: MADT, memory map, parameters, CPUID.

use super::{Stop, check, check_eq, fail, only_native, only_snp, smp, subject};
use crate::arch::cpu;
use crate::arch::percpu::this_cpu;
use crate::kernel;
use crate::mm;
use crate::platform::{Kind, kind};
use boot_abi::{BOOT_PARAMS_MAGIC, GeneralParams, PARAMS_VERSION, layout};
use snp_abi::PAGE_SIZE;
use svsm_core::cpuid::{CpuidResult, CpuidTable};
use svsm_core::madt::{CpuList, MadtError};
use svsm_core::{boot_params, memory_map::RamMap};
use zerocopy::FromBytes;

fn madt() -> Result<&'static [u8], Stop> {
    let params = &subject()?.params;
    mm::parameters(params.madt.base.get(), params.madt.size.get()).ok_or(Stop::Skipped("no MADT"))
}

fn page() -> Result<&'static [u8], Stop> {
    let page = mm::parameters(mm::base() + layout::PARAMETERS_OFFSET, PAGE_SIZE);
    page.ok_or(Stop::Skipped("no parameters"))
}

fn table() -> Result<&'static CpuidTable<'static>, Stop> {
    kernel::cpuid().ok_or(Stop::Skipped("CPUID is not known"))
}

fn boot_id() -> Result<u32, Stop> {
    Ok(subject()?.kernel.vcpus[0].apic_id())
}

/// Copies of the MADT that are changed are put here.
fn changed(change: impl FnOnce(&mut [u8])) -> Result<Result<CpuList, MadtError>, Stop> {
    let madt = madt()?;
    let mut copy = [0; 1024];
    let length = madt.len().min(copy.len());
    copy[..length].copy_from_slice(&madt[..length]);
    change(&mut copy);
    Ok(CpuList::parse(&copy, boot_id()?))
}

#[svsm_test_macro::svsm_tests(host)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn the_vcpus_are_those_of_the_madt() {
        let list = CpuList::parse(madt()?, boot_id()?);
        let Ok(list) = list else {
            fail!("{:?}", list.err())
        };
        let vcpus = subject()?.kernel.vcpus;
        check_eq!(vcpus.len(), list.ids().len());
        for vcpu in vcpus {
            check!(
                list.ids().contains(&vcpu.apic_id()),
                "APIC ID {}",
                vcpu.apic_id()
            );
        }
    }

    #[svsm_test]
    fn no_apic_id_is_there_twice() {
        let vcpus = subject()?.kernel.vcpus;
        for (index, vcpu) in vcpus.iter().enumerate() {
            let again = vcpus
                .iter()
                .skip(index + 1)
                .any(|other| other.apic_id() == vcpu.apic_id());
            check!(!again, "APIC ID {}", vcpu.apic_id());
        }
    }

    #[svsm_test]
    fn the_boot_cpu_is_the_first_and_it_is_this_one() {
        check_eq!(this_cpu().index.get(), 0);
        if kind() == Kind::Native {
            check_eq!(boot_id()?, cpu::cpuid(1, 0).ebx >> 24);
        } else {
            check_eq!(boot_id()?, 0);
        }
    }

    #[svsm_test]
    fn each_cpu_has_the_apic_id_that_the_table_says() {
        only_native()?;
        let vcpus = subject()?.kernel.vcpus;
        for (index, id) in smp::each(&smp::on_all(|_| (cpu::cpuid(1, 0).ebx >> 24).into())?) {
            check_eq!(id, u64::from(vcpus[index].apic_id() & 0xFF), "vCPU {index}");
        }
    }

    #[svsm_test]
    fn all_vcpus_are_online() {
        for vcpu in subject()?.kernel.vcpus {
            check!(vcpu.is_online(), "APIC ID {}", vcpu.apic_id());
            check!(
                vcpu.vmsa().is_none() && vcpu.calling_area().is_none(),
                "it has a guest"
            );
        }
    }

    #[svsm_test]
    fn the_madt_has_its_signature_and_fits_its_area() {
        let madt = madt()?;
        check_eq!(&madt[..4], b"APIC");
        let length = madt[4..8]
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        check!(
            length >= 44 && length as usize <= madt.len(),
            "{length} bytes"
        );
    }

    #[svsm_test]
    fn a_madt_that_is_cut_off_is_refused() {
        for length in [0, 1, 43, 45, 46] {
            let result = changed(|table| table[4..8].copy_from_slice(&u32::to_le_bytes(length)))?;
            check!(result.is_err(), "{length} bytes");
        }
    }

    #[svsm_test]
    fn a_madt_with_an_entry_of_no_length_is_refused() {
        let result = changed(|table| table[45] = 0)?;
        check!(matches!(result, Err(MadtError::Entry { offset: 44, .. })));
    }

    #[svsm_test]
    fn a_madt_without_this_cpu_is_refused() {
        let result = CpuList::parse(madt()?, 0xFE);
        check!(matches!(
            result,
            Err(MadtError::NoBootCpu { boot_id: 0xFE, .. })
        ));
    }

    #[svsm_test]
    fn a_madt_of_another_name_is_refused() {
        check!(matches!(
            changed(|table| table[0] = b'B')?,
            Err(MadtError::Signature { .. })
        ));
    }

    #[svsm_test]
    fn the_memory_map_is_the_ram_that_the_kernel_has() {
        let params = &subject()?.params;
        let area = mm::parameters(params.memory_map.base.get(), params.memory_map.size.get());
        let own = [&params.svsm, &params.boot_stage].map(|range| {
            let base = range.base.get();
            base..base + range.size.get()
        });
        let parsed = match kind() {
            Kind::Snp => RamMap::parse(area.unwrap_or_default(), layout::SVSM_BASE),
            Kind::Native => RamMap::parse_around(area.unwrap_or_default(), layout::SVSM_BASE, &own),
        };
        let Ok(parsed) = parsed else {
            fail!("{:?}", parsed.err())
        };
        let ram = subject()?.kernel.pages.ram();
        check_eq!(parsed.ranges().len(), ram.ranges().len());
        for (one, other) in parsed.ranges().iter().zip(ram.ranges()) {
            check_eq!((one.start, one.end), (other.start, other.end));
        }
    }

    #[svsm_test]
    fn ram_is_whole_pages_in_ascending_ranges_apart_from_the_svsm() {
        let ram = subject()?.kernel.pages.ram();
        let mut last = 0;
        for range in ram.ranges() {
            check!(range.start.is_multiple_of(PAGE_SIZE) && range.end.is_multiple_of(PAGE_SIZE));
            check!(
                range.start < range.end && range.start >= last,
                "{:#x}",
                range.start
            );
            let svsm = mm::base();
            check!(
                range.end <= svsm || svsm + layout::SVSM_SIZE <= range.start,
                "{:#x}",
                range.start
            );
            last = range.end;
        }
        check!(ram.bytes() >= 64 << 20, "{} bytes", ram.bytes());
    }

    #[svsm_test]
    fn the_parameters_are_of_this_version() {
        let params = &subject()?.params;
        check_eq!(params.magic, BOOT_PARAMS_MAGIC);
        check_eq!(params.version.get(), PARAMS_VERSION);
        check_eq!(params.test_case, [0; 32]);
        check_eq!(params.serial_port.get(), 0x3F8);
    }

    #[svsm_test]
    fn the_parameters_hold_and_none_may_be_spoilt() {
        let good = page()?;
        check!(boot_params::check(good, mm::base(), mm::image_end()).is_ok());
        // Bytes of the magic, the version, the SVSM's place, the image's.
        for at in [0, 7, 8, 16 + 2, 16 + 11, 32 + 2] {
            let mut copy = [0; 4096];
            copy.copy_from_slice(good);
            copy[at] ^= 0x40;
            check!(
                boot_params::check(&copy, mm::base(), mm::image_end()).is_err(),
                "byte {at}"
            );
        }
        check!(boot_params::check(good, mm::base() + PAGE_SIZE, mm::image_end()).is_err());
        check!(boot_params::check(&good[..64], mm::base(), mm::image_end()).is_err());
    }

    #[svsm_test]
    fn the_host_announced_as_many_cpus_as_there_are_or_more() {
        let gpa = subject()?.params.general_params_gpa.get();
        let general = mm::parameters(gpa, PAGE_SIZE)
            .and_then(|page| GeneralParams::read_from_prefix(page).ok());
        let Some((general, _)) = general else {
            fail!("no general parameters")
        };
        check!(general.vp_count.get() as usize >= subject()?.kernel.vcpus.len());
    }

    #[svsm_test]
    fn cpuid_has_the_leaves_that_the_kernel_asks_for() {
        for leaf in [0, 1, 7, 0x8000_0000, 0x8000_0001] {
            check!(
                table()?.get(leaf, 0) != CpuidResult::default(),
                "leaf {leaf:#x}"
            );
        }
        check!(table()?.get(0, 0).eax >= 7);
    }

    #[svsm_test]
    fn cpuid_lacks_what_is_not_listed() {
        for leaf in [0x2000_0000, 0x4321_0000, u32::MAX] {
            check_eq!(
                table()?.get(leaf, 0),
                CpuidResult::default(),
                "leaf {leaf:#x}"
            );
        }
    }

    #[svsm_test]
    fn the_instruction_agrees_with_the_table() {
        // On SEV-SNP the instruction raises #VC, which is answered from the table; elsewhere the table was made of it.
        for leaf in [0, 7, 0x8000_0000, 0x8000_0001, 0x8000_0008] {
            check_eq!(cpu::cpuid(leaf, 0), table()?.get(leaf, 0), "leaf {leaf:#x}");
        }
    }

    #[svsm_test]
    fn the_instruction_agrees_on_every_cpu() {
        for (index, told) in smp::each(&smp::on_all(|_| {
            let vendor = cpu::cpuid(0, 0);
            u64::from(vendor.ebx) << 32 | u64::from(vendor.ecx ^ vendor.edx)
        })?) {
            let vendor = table()?.get(0, 0);
            check_eq!(
                told,
                u64::from(vendor.ebx) << 32 | u64::from(vendor.ecx ^ vendor.edx),
                "vCPU {index}"
            );
        }
    }

    #[svsm_test]
    fn a_leaf_that_the_firmware_does_not_vouch_for_is_zero() {
        only_snp()?;
        for leaf in [0x2000_0000, 0x8765_4321] {
            check_eq!(
                cpu::cpuid(leaf, 0),
                CpuidResult::default(),
                "leaf {leaf:#x}"
            );
        }
    }

    #[svsm_test]
    fn ports_are_reached_by_exceptions_and_come_back() {
        only_snp()?;
        // The line status of the first serial port: the transmitter takes a byte some time.
        const LINE_STATUS: u16 = 0x3FD;
        check!(smp::wait(|| cpu::in8(LINE_STATUS) & 1 << 5 != 0));
        for (index, in_vc) in smp::each(&smp::on_all(|_| {
            let _ = cpu::in8(LINE_STATUS);
            this_cpu().in_vc.get().into()
        })?) {
            check_eq!(in_vc, 0, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn many_exceptions_on_all_cpus_are_answered() {
        only_snp()?;
        let wrong = smp::on_all(|_| {
            let expected = kernel::cpuid().map(|table| table.get(7, 0));
            (0..200)
                .filter(|_| Some(cpu::cpuid(7, 0)) != expected)
                .count() as u64
        })?;
        for (index, count) in smp::each(&wrong) {
            check_eq!(count, 0, "vCPU {index}");
        }
    }
}
