//! Entropy for services: RDSEED, or RDRAND where there is no RDSEED, held to the health tests of SP 800-90B. Neither can be
//! intercepted or answered by the hypervisor.

use crate::arch::cpu;
use crate::arch::sync::SpinLock;
use crate::console::log;
use crate::fatal::fatal;
use crate::kernel;
use svsm_abi::termination::Reason;
use svsm_core::cpuid::{RDRAND, RDSEED};
use svsm_core::service::entropy::Health;

/// Attempts until the processor is given up for this time: RDSEED may have nothing at the moment.
const ATTEMPTS: u32 = 10_000;

/// The tests' state, and whether RDSEED is there. Held for a few instructions only.
static SOURCE: SpinLock<Option<(Health, bool)>> = SpinLock::new(None);

/// Finds the source and runs the start-up test. Without entropy there is no vTPM, and so no boot.
pub fn init() {
    let has = |feature| kernel::cpuid().is_some_and(|table| table.has(feature));
    let rdseed = has(RDSEED);
    if !rdseed && !has(RDRAND) {
        fatal!(Reason::Feature, "the processor lacks RDSEED and RDRAND");
    }
    let mut health = Health::new();
    for _ in 0..Health::START_UP_SAMPLES {
        let Some(sample) = sample(rdseed) else {
            fatal!(
                Reason::Feature,
                "the processor's random numbers have run out"
            );
        };
        if let Err(error) = health.accept(sample) {
            fatal!(Reason::Feature, "the processor's random numbers: {error}");
        }
    }
    log!("entropy: {}", if rdseed { "RDSEED" } else { "RDRAND" });
    *SOURCE.lock() = Some((health, rdseed));
}

fn sample(rdseed: bool) -> Option<u64> {
    (0..ATTEMPTS).find_map(|_| cpu::random(rdseed))
}

/// 64 bits; `None` when the processor has none, or when they are not random: then never again.
pub fn word() -> Option<u64> {
    let mut source = SOURCE.lock();
    let (health, rdseed) = source.as_mut()?;
    let sample = sample(*rdseed)?;
    match health.accept(sample) {
        Ok(()) => Some(sample),
        Err(error) => {
            log!("entropy: {error}");
            *source = None;
            None
        }
    }
}
