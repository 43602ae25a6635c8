//! What each CPU has of its own: area, GS, GDT, TSS, stacks, pages shared with the host.

use super::tables::leaf;
use super::{Outcome, check, check_eq, only_snp, smp};
use crate::arch::descriptors::{Gdt, Tss};
use crate::arch::percpu::{STACK_START, this_cpu};
use crate::arch::{cpu, inspect};
use crate::mm;
use core::sync::atomic::{AtomicUsize, Ordering};
use snp_abi::{PAGE_SIZE, msr};

/// Where a TSS has its first interrupt stack (APM vol. 2 §12.2.5).
const IST_1: u64 = 0x24;

fn gs(_: usize) -> u64 {
    cpu::rdmsr(msr::GS_BASE)
}

fn gdt(_: usize) -> u64 {
    inspect::tables().0.get().0
}

/// Base of the TSS, from its descriptor.
fn tss(index: usize) -> u64 {
    let word = |at| mm::try_read_own(gdt(index) + at).unwrap_or(0);
    let (low, high) = (word(0x18), word(0x20));
    low >> 16 & 0xFF_FFFF | low >> 32 & 0xFF00_0000 | high << 32
}

/// An interrupt stack's start; 1 is the first.
fn ist(index: usize, number: u64) -> u64 {
    mm::try_read_own(tss(index) + IST_1 + (number - 1) * 8).unwrap_or(0)
}

fn stack(_: usize) -> u64 {
    inspect::flags_and_stack().1
}

/// All CPUs tell different things.
fn distinct(what: &str, read: smp::Job) -> Outcome {
    let results = smp::on_all(read)?;
    let equal = smp::equal_pair(&results);
    check!(equal.is_none(), "{what} of vCPUs {equal:?} is the same");
    Ok(())
}

/// No other stack is in the page below the one that holds `va`, downwards to where it ends.
fn bottom(mut va: u64) -> u64 {
    while leaf(va).is_some() {
        va -= PAGE_SIZE;
    }
    va & !(PAGE_SIZE - 1)
}

#[svsm_test_macro::svsm_tests(percpu)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn each_cpu_knows_its_number() {
        for (index, told) in smp::each(&smp::on_all(|_| this_cpu().index.get() as u64)?) {
            check_eq!(told, index as u64);
        }
    }

    #[svsm_test]
    fn areas_are_apart() {
        distinct("GS", gs)?;
        for (index, base) in smp::each(&smp::on_all(gs)?) {
            check_eq!(base % 64, 0, "alignment of vCPU {index}'s");
        }
    }

    #[svsm_test]
    fn an_area_starts_with_its_own_address() {
        for (index, base) in smp::each(&smp::on_all(gs)?) {
            check_eq!(mm::try_read_own(base), Some(base), "vCPU {index}");
        }
    }

    #[svsm_test]
    fn gdt_and_tss_lie_in_the_area() {
        for read in [gdt as smp::Job, tss] {
            let (bases, areas) = (smp::on_all(read)?, smp::on_all(gs)?);
            for ((index, base), (_, area)) in smp::each(&bases).zip(smp::each(&areas)) {
                check!(
                    (area..area + 1024).contains(&base),
                    "vCPU {index}: {base:#x}, area {area:#x}"
                );
            }
            distinct("GDT or TSS", read)?;
        }
    }

    #[svsm_test]
    fn limits_are_those_of_the_tables() {
        for (index, limit) in smp::each(&smp::on_all(|_| inspect::tables().0.get().1.into())?) {
            check_eq!(limit, Gdt::LIMIT.into(), "GDT of vCPU {index}");
        }
        let limits = smp::on_all(|index| {
            let descriptor = mm::try_read_own(gdt(index) + 0x18).unwrap_or(0);
            descriptor & 0xFFFF | descriptor >> 32 & 0xF_0000
        })?;
        for (index, limit) in smp::each(&limits) {
            check_eq!(limit, Tss::LIMIT.into(), "TSS of vCPU {index}");
        }
    }

    #[svsm_test]
    fn the_tss_is_busy_as_it_is_loaded() {
        let types =
            smp::on_all(|index| mm::try_read_own(gdt(index) + 0x18).unwrap_or(0) >> 40 & 0xFF)?;
        for (index, kind) in smp::each(&types) {
            // Present, busy 64-bit TSS; a VMSA may have loaded it without marking it.
            check!(matches!(kind, 0x8B | 0x89), "vCPU {index}: {kind:#x}");
        }
    }

    #[svsm_test]
    fn stacks_are_apart() {
        let stacks = smp::on_all(|index| bottom(stack(index)))?;
        let equal = smp::equal_pair(&stacks);
        check!(equal.is_none(), "vCPUs {equal:?} are on one stack");
    }

    #[svsm_test]
    fn below_each_stack_nothing_is_mapped() {
        for (index, guard) in smp::each(&smp::on_all(|index| bottom(stack(index)))?) {
            check_eq!(mm::try_read_own(guard), None, "vCPU {index}");
            check!(!mm::try_rewrite(guard + PAGE_SIZE - 1), "vCPU {index}");
        }
    }

    #[svsm_test]
    fn exception_stacks_are_apart() {
        for number in 1..=3u64 {
            let job: smp::Job = [
                |i| bottom(ist(i, 1)),
                |i| bottom(ist(i, 2)),
                |i| bottom(ist(i, 3)),
            ][number as usize - 1];
            distinct("an exception stack", job)?;
        }
        for (index, equal) in smp::each(&smp::on_all(|i| {
            u64::from(ist(i, 1) == ist(i, 2) || ist(i, 2) == ist(i, 3) || ist(i, 1) == ist(i, 3))
        })?) {
            check_eq!(equal, 0, "vCPU {index} has one stack for two exceptions");
        }
    }

    #[svsm_test]
    fn exception_stacks_are_not_the_usual_one() {
        let same = smp::on_all(|index| {
            let own = bottom(stack(index));
            (1..=3)
                .filter(|&number| bottom(ist(index, number)) == own)
                .count() as u64
        })?;
        for (index, count) in smp::each(&same) {
            check_eq!(count, 0, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn an_exception_stack_starts_below_its_area_s_address() {
        for number in 0..3 {
            let found = smp::on_all(
                [
                    |i| u64::from(mm::try_read_own(ist(i, 1)) == Some(gs(i))),
                    |i| u64::from(mm::try_read_own(ist(i, 2)) == Some(gs(i))),
                    |i| u64::from(mm::try_read_own(ist(i, 3)) == Some(gs(i))),
                ][number],
            )?;
            for (index, is) in smp::each(&found) {
                check_eq!(is, 1, "vCPU {index}, IST {}", number + 1);
            }
        }
        check_eq!(STACK_START, 16);
    }

    #[svsm_test]
    fn exception_stacks_are_aligned() {
        let odd = smp::on_all(|i| (1..=3).map(|number| ist(i, number) % 16).sum())?;
        for (index, sum) in smp::each(&odd) {
            check_eq!(sum, 0, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn below_each_exception_stack_nothing_is_mapped() {
        let room = smp::on_all(|i| {
            let least = (1..=3).map(|number| ist(i, number) - bottom(ist(i, number)) - PAGE_SIZE);
            least.min().unwrap_or(0)
        })?;
        for (index, bytes) in smp::each(&room) {
            check!(
                (4096..=8192).contains(&bytes),
                "vCPU {index}: {bytes} bytes"
            );
        }
    }

    #[svsm_test]
    fn what_one_cpu_writes_no_other_sees() {
        static WRITTEN: AtomicUsize = AtomicUsize::new(0);
        WRITTEN.store(0, Ordering::SeqCst);
        let seen = smp::on_all(|index| {
            let before = this_cpu().signal.replace(0x30 + index as u8);
            WRITTEN.fetch_add(1, Ordering::SeqCst);
            let all = smp::everyone().count();
            smp::wait(|| WRITTEN.load(Ordering::SeqCst) == all);
            this_cpu().signal.replace(before).into()
        })?;
        for (index, value) in smp::each(&seen) {
            check_eq!(value, 0x30 + index as u64, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn no_cpu_is_in_a_handler_or_failing() {
        let state = smp::on_all(|_| {
            u64::from(this_cpu().in_vc.get()) | u64::from(this_cpu().failing.get()) << 1
        })?;
        for (index, value) in smp::each(&state) {
            check_eq!(value, 0, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn each_cpu_has_a_ghcb_and_a_doorbell_of_its_own() {
        only_snp()?;
        let ghcb: smp::Job = |_| this_cpu().ghcb.get().map_or(0, |page| page.gpa());
        let doorbell: smp::Job = |_| this_cpu().doorbell.get().map_or(0, |page| page.gpa());
        for read in [ghcb, doorbell] {
            for (index, gpa) in smp::each(&smp::on_all(read)?) {
                check!(gpa != 0, "vCPU {index} has none");
            }
            distinct("a shared page", read)?;
        }
        let same = smp::on_all(|_| {
            u64::from(
                this_cpu().ghcb.get().map(|page| page.gpa())
                    == this_cpu().doorbell.get().map(|page| page.gpa()),
            )
        })?;
        for (index, value) in smp::each(&same) {
            check_eq!(value, 0, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn services_run_with_interrupts_where_the_timer_is_one() {
        let expected = match crate::platform::kind() {
            crate::platform::Kind::Native => 1 << 9,
            crate::platform::Kind::Snp => 0,
        };
        for (index, flags) in smp::each(&smp::on_all(|_| this_cpu().service_flags.get())?) {
            check_eq!(flags, expected, "vCPU {index}");
        }
    }
}
