//! Signals between CPUs.

use super::{Outcome, Stop, check, check_eq, skip, smp, subject};
use crate::arch::percpu::this_cpu;
use crate::arch::traps::IPI;
use crate::clock;
use crate::platform::platform;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Signals that each CPU has taken.
static TAKEN: [AtomicU64; smp::MAX] = [const { AtomicU64::new(0) }; smp::MAX];

/// Whether each CPU has begun to wait for one.
static WAITS: [AtomicBool; smp::MAX] = [const { AtomicBool::new(false) }; smp::MAX];

/// The longest that a signal may take: emulated processors may stand still meanwhile.
const PATIENCE_MS: u64 = 3000;

/// The other CPUs.
fn reachable() -> Result<impl Iterator<Item = usize> + Clone, Stop> {
    smp::some_others()
}

fn apic_id(index: usize) -> Option<u32> {
    Some(subject().ok()?.kernel.vcpus.get(index)?.apic_id())
}

fn taken(index: usize) -> u64 {
    TAKEN[index].load(Ordering::SeqCst)
}

/// Waits for a signal and counts it; its vector. Interrupts are off until it waits, so from [`WAITS`] on none is lost.
fn take(index: usize) -> u64 {
    this_cpu().signal.set(0);
    WAITS[index].store(true, Ordering::SeqCst);
    while this_cpu().signal.get() != IPI {
        platform().take_signal();
    }
    TAKEN[index].fetch_add(1, Ordering::SeqCst);
    IPI.into()
}

/// Has a CPU wait for a signal.
fn wait_for_one(index: usize) -> Outcome {
    WAITS[index].store(false, Ordering::SeqCst);
    smp::give(index, take)?;
    check!(waits(index), "vCPU {index} does not begin to wait");
    Ok(())
}

fn waits(index: usize) -> bool {
    smp::wait(|| WAITS[index].load(Ordering::SeqCst))
}

/// Signals a CPU that waits, once: whether it took the signal.
fn signal(index: usize) -> bool {
    let before = taken(index);
    let Some(apic_id) = apic_id(index) else {
        return false;
    };
    if platform().send_ipi(apic_id).is_err() {
        return false;
    }
    let begun = clock::milliseconds();
    while taken(index) == before && clock::milliseconds() - begun < PATIENCE_MS {
        core::hint::spin_loop();
    }
    taken(index) == before + 1
}

/// Has a CPU wait, and signals it.
fn ping(index: usize) -> Outcome {
    wait_for_one(index)?;
    check!(signal(index), "vCPU {index} did not take the signal");
    check_eq!(smp::result(index)?, IPI.into(), "vector on vCPU {index}");
    Ok(())
}

#[svsm_test_macro::svsm_tests(ipi)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn each_cpu_can_signal_itself() {
        let signalled = smp::on_all(|index| {
            this_cpu().signal.set(0);
            let sent = apic_id(index).is_some_and(|id| platform().send_ipi(id).is_ok());
            let begun = clock::milliseconds();
            while this_cpu().signal.get() != IPI && clock::milliseconds() - begun < PATIENCE_MS {
                platform().take_signal();
            }
            u64::from(sent && this_cpu().signal.get() == IPI)
        })?;
        for (index, got) in smp::each(&signalled) {
            check_eq!(got, 1, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn each_cpu_can_be_signalled() {
        for index in reachable()? {
            ping(index)?;
        }
    }

    #[svsm_test]
    fn many_signals_all_arrive() {
        let others = reachable()?;
        for _ in 0..25 {
            for index in others.clone() {
                ping(index)?;
            }
        }
    }

    #[svsm_test]
    fn a_signal_is_for_one_cpu_only() {
        let others = reachable()?;
        for index in others.clone() {
            let before = TAKEN.each_ref().map(|count| count.load(Ordering::SeqCst));
            ping(index)?;
            for other in others.clone().filter(|&other| other != index) {
                check_eq!(taken(other), before[other], "signals of vCPU {other}");
            }
        }
    }

    #[svsm_test]
    fn the_boot_cpu_can_be_signalled() {
        let Some(other) = reachable()?.next() else {
            return Ok(());
        };
        let before = taken(0);
        WAITS[0].store(false, Ordering::SeqCst);
        smp::give(other, |_| u64::from(waits(0) && signal(0)))?;
        check_eq!(take(0), IPI.into());
        check_eq!(smp::result(other)?, 1);
        check_eq!(taken(0), before + 1);
    }

    #[svsm_test]
    fn aps_signal_each_other() {
        let mut others = reachable()?;
        let (Some(one), Some(other)) = (others.next(), others.next()) else {
            skip!("there is only one AP");
        };
        static TARGET: AtomicUsize = AtomicUsize::new(0);
        for (from, to) in [(one, other), (other, one)] {
            TARGET.store(to, Ordering::SeqCst);
            let before = taken(to);
            wait_for_one(to)?;
            smp::give(from, |_| u64::from(signal(TARGET.load(Ordering::SeqCst))))?;
            check_eq!(smp::result(to)?, IPI.into(), "from {from} to {to}");
            check_eq!(smp::result(from)?, 1, "from {from} to {to}");
            check_eq!(taken(to), before + 1);
        }
    }

    #[svsm_test]
    fn all_wait_and_all_are_signalled() {
        let others = reachable()?;
        for index in others.clone() {
            wait_for_one(index)?;
        }
        for index in others.clone() {
            check!(signal(index), "vCPU {index}");
        }
        for index in others {
            check_eq!(smp::result(index)?, IPI.into());
        }
    }

    #[svsm_test]
    fn a_cpu_that_works_is_signalled_when_it_waits() {
        let Some(index) = reachable()?.next() else {
            return Ok(());
        };
        WAITS[index].store(false, Ordering::SeqCst);
        let before = taken(index);
        smp::give(index, |index| {
            this_cpu().signal.set(0);
            WAITS[index].store(true, Ordering::SeqCst);
            // The signal comes now, and stays pending.
            clock::wait_us(20_000);
            while this_cpu().signal.get() != IPI {
                platform().take_signal();
            }
            TAKEN[index].fetch_add(1, Ordering::SeqCst);
            0
        })?;
        check!(waits(index));
        check!(signal(index));
        check_eq!(smp::result(index)?, 0);
        check_eq!(taken(index), before + 1);
    }

    #[svsm_test]
    fn a_signal_to_nobody_harms_nobody() {
        let nobody = 0xFE;
        let kernel = subject()?.kernel;
        check!(kernel.vcpus.iter().all(|vcpu| vcpu.apic_id() != nobody));
        let before = TAKEN.each_ref().map(|count| count.load(Ordering::SeqCst));
        // Whether the host refuses it is its affair.
        let _ = platform().send_ipi(nobody);
        clock::wait_us(2000);
        check_eq!(
            TAKEN.each_ref().map(|count| count.load(Ordering::SeqCst)),
            before
        );
        for index in smp::others() {
            check_eq!(smp::on(index, |index| index as u64)?, index as u64);
        }
    }
}
