//! Control registers, MSRs, selectors, descriptor tables: as the policy says, on every CPU.

use super::{Outcome, Stop, check, check_eq, smp};
use crate::arch::inspect::{self, Selectors};
use crate::arch::{cpu, descriptors};
use crate::kernel;
use snp_abi::msr;
use svsm_core::policy::Policy;

/// CR0 (APM vol. 2 §3.1.1).
const CR0_PE: u64 = 1;
const CR0_EM: u64 = 1 << 2;
const CR0_NE: u64 = 1 << 5;
const CR0_WP: u64 = 1 << 16;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
const CR0_PG: u64 = 1 << 31;
/// CR4 (§3.1.3).
const CR4_TSD: u64 = 1 << 2;
const CR4_PAE: u64 = 1 << 5;
const CR4_MCE: u64 = 1 << 6;
const CR4_PCE: u64 = 1 << 8;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_UMIP: u64 = 1 << 11;
const CR4_LA57: u64 = 1 << 12;
const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_PCIDE: u64 = 1 << 17;
const CR4_OSXSAVE: u64 = 1 << 18;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;
const CR4_PKE: u64 = 1 << 22;
const CR4_CET: u64 = 1 << 23;
/// EFER (§3.1.7).
const EFER_SCE: u64 = 1;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;
/// RFLAGS.
const TF: u64 = 1 << 8;
const IF: u64 = 1 << 9;
const DF: u64 = 1 << 10;
const IOPL: u64 = 3 << 12;
const NT: u64 = 1 << 14;
const AC: u64 = 1 << 18;

/// PAT as reset leaves it (§7.8.2); entry 3 is what "not cached" relies on.
const PAT: u32 = 0x277;
const PAT_AT_RESET: u64 = 0x0007_0406_0007_0406;

/// What the processor has of what the policy wants.
fn policy() -> Result<Policy, Stop> {
    match kernel::cpuid() {
        Some(table) => Ok(Policy::of(table)),
        None => Err(Stop::Skipped("CPUID is not known")),
    }
}

/// On every CPU: these bits of a register are set, those are clear.
fn bits(read: smp::Job, set: u64, clear: u64) -> Outcome {
    for (index, value) in smp::each(&smp::on_all(read)?) {
        check_eq!(value & set, set, "vCPU {index}, bits set of {value:#x}");
        check_eq!(value & clear, 0, "vCPU {index}, bits clear of {value:#x}");
    }
    Ok(())
}

fn cr0(_: usize) -> u64 {
    cpu::control_registers().cr0
}

fn cr4(_: usize) -> u64 {
    cpu::control_registers().cr4
}

fn efer(_: usize) -> u64 {
    cpu::rdmsr(msr::EFER)
}

fn rflags(_: usize) -> u64 {
    inspect::flags_and_stack().0
}

/// A protection is on where the processor has it, and off where not.
fn protection(read: smp::Job, bit: u64, has: bool) -> Outcome {
    if has {
        bits(read, bit, 0)
    } else {
        bits(read, 0, bit)
    }
}

#[svsm_test_macro::svsm_tests(cpu)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn write_protection_is_on_everywhere() {
        bits(cr0, CR0_WP, 0)?;
    }

    #[svsm_test]
    fn paging_and_caches_are_on_everywhere() {
        bits(cr0, CR0_PE | CR0_PG | CR0_NE, CR0_CD | CR0_NW)?;
    }

    #[svsm_test]
    fn floating_point_is_off_everywhere() {
        bits(cr0, CR0_EM, 0)?;
        bits(cr4, 0, CR4_OSFXSR | CR4_OSXSAVE)?;
    }

    #[svsm_test]
    fn smep_is_on_where_the_processor_has_it() {
        protection(cr4, CR4_SMEP, policy()?.smep)?;
    }

    #[svsm_test]
    fn smap_is_on_where_the_processor_has_it() {
        protection(cr4, CR4_SMAP, policy()?.smap)?;
    }

    #[svsm_test]
    fn umip_is_on_where_the_processor_has_it() {
        protection(cr4, CR4_UMIP, policy()?.umip)?;
    }

    #[svsm_test]
    fn shadow_stacks_are_on_where_the_processor_has_them() {
        protection(cr4, CR4_CET, policy()?.shadow_stacks)?;
        let off = smp::on_all(|_| u64::from(cpu::shadow_stack_pointer() == 0))?;
        for (index, off) in smp::each(&off) {
            check_eq!(
                off == 0,
                policy()?.shadow_stacks,
                "shadow stack on vCPU {index}"
            );
        }
    }

    #[svsm_test]
    fn no_execute_is_on_where_the_processor_has_it() {
        protection(efer, EFER_NXE, policy()?.nx)?;
    }

    #[svsm_test]
    fn services_cannot_read_the_time_stamp_counter() {
        bits(cr4, CR4_TSD, CR4_PCE)?;
    }

    #[svsm_test]
    fn machine_checks_are_an_exception() {
        bits(cr4, CR4_MCE, 0)?;
    }

    #[svsm_test]
    fn what_nobody_asked_for_is_off() {
        bits(cr4, CR4_PAE, CR4_LA57 | CR4_PCIDE | CR4_FSGSBASE | CR4_PKE)?;
    }

    #[svsm_test]
    fn long_mode_is_on_and_syscall_off() {
        bits(efer, EFER_LME | EFER_LMA, EFER_SCE)?;
    }

    #[svsm_test]
    fn all_cpus_have_the_same_control_registers() {
        for read in [cr0 as smp::Job, cr4, efer, |_| cpu::control_registers().cr3] {
            let expected = read(0);
            for (index, value) in smp::each(&smp::on_all(read)?) {
                check_eq!(value, expected, "vCPU {index}");
            }
        }
    }

    #[svsm_test]
    fn interrupts_and_traps_are_off_everywhere() {
        bits(rflags, 1 << 1, IF | TF | DF | IOPL | NT | AC)?;
    }

    #[svsm_test]
    fn no_breakpoint_is_set() {
        // On SEV-SNP the host may intercept the register, and the kernel does not touch it.
        super::super::only_native()?;
        // All of DR7's enabling bits; bit 10 always is 1.
        bits(|_| inspect::dr7(), 1 << 10, 0xFF)?;
    }

    #[svsm_test]
    fn the_pat_is_as_reset_left_it() {
        for (index, value) in smp::each(&smp::on_all(|_| cpu::rdmsr(PAT))?) {
            check_eq!(value, PAT_AT_RESET, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn selectors_are_the_kernels_everywhere() {
        // An entry from ring 3 leaves SS null, which is as good in 64-bit mode (APM vol. 2 §8.9.3).
        for (index, wrong) in smp::each(&smp::on_all(|_| {
            let s = inspect::selectors();
            let expected = Selectors {
                cs: descriptors::CODE,
                ss: if s.ss == 0 { 0 } else { descriptors::DATA },
                tr: descriptors::TSS,
                ..Selectors::default()
            };
            u64::from(s != expected)
        })?) {
            check_eq!(
                wrong,
                0,
                "vCPU {index}, where vCPU 0 has {:x?}",
                inspect::selectors()
            );
        }
    }

    #[svsm_test]
    fn fs_and_gs_have_null_selectors_everywhere() {
        let selectors = smp::on_all(|_| {
            let s = inspect::selectors();
            (s.fs | s.gs).into()
        })?;
        for (index, value) in smp::each(&selectors) {
            check_eq!(value, 0, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn the_idt_is_one_with_256_gates() {
        let (base, limit) = descriptors::idt();
        check_eq!(limit, 4095);
        for (index, value) in smp::each(&smp::on_all(|_| inspect::tables().1.get().0)?) {
            check_eq!(value, base, "vCPU {index}");
        }
        for (index, value) in smp::each(&smp::on_all(|_| inspect::tables().1.get().1.into())?) {
            check_eq!(value, 4095, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn gates_are_interrupt_gates_into_the_text() {
        let (base, _) = descriptors::idt();
        let text = boot_abi::layout::KERNEL_VIRTUAL_BASE..crate::mm::image_parts()[0];
        let mut present = 0;
        for vector in 0..256 {
            let word = |at| crate::mm::try_read_own(base + vector * 16 + at).unwrap_or(0);
            let (low, high) = (word(0), word(8));
            if low == 0 && high == 0 {
                continue;
            }
            present += 1;
            let address = low & 0xFFFF | low >> 32 & 0xFFFF_0000 | high << 32;
            check!(text.contains(&address), "vector {vector}: {address:#x}");
            check_eq!(
                low >> 16 & 0xFFFF,
                descriptors::CODE.into(),
                "selector of {vector}"
            );
            // Only the gate for services' calls is open to ring 3 (type and DPL, APM vol. 2 §4.8.4).
            let kind = if vector == u64::from(service_abi::VECTOR) {
                0xEE
            } else {
                0x8E
            };
            check_eq!(low >> 40 & 0xFF, kind, "type of {vector}");
        }
        check!((33..=40).contains(&present), "{present} gates");
    }

    #[svsm_test]
    fn exceptions_that_come_at_any_time_have_stacks_of_their_own() {
        let (base, _) = descriptors::idt();
        for vector in 0..256u64 {
            let low = crate::mm::try_read_own(base + vector * 16).unwrap_or(0);
            let expected = match vector {
                8 => 1,
                2 => 2,
                18 => 3,
                _ => 0,
            };
            check_eq!(low >> 32 & 7, expected, "IST of {vector}");
        }
    }
}
