//! Time for bounded waits: the TSC, measured against the ACPI PM timer.

use super::cpu;
use core::sync::atomic::{AtomicU64, Ordering};

/// q35's PM timer, where SeaBIOS puts it.
const PM_TIMER: u16 = 0x608;
const PM_TIMER_HZ: u64 = 3_579_545;
const PM_TIMER_MASK: u32 = 0xFF_FFFF;
/// Taken when there is no PM timer.
const GUESS_KHZ: u64 = 2_000_000;

static TSC_KHZ: AtomicU64 = AtomicU64::new(GUESS_KHZ);

/// Both clocks at the same time: of some tries the one that took least, because QEMU's host may do something else in between.
fn both() -> (u32, u64) {
    let read = |_| {
        let before = cpu::rdtsc();
        let timer = cpu::in32(PM_TIMER);
        let took = cpu::rdtsc() - before;
        (took, timer, before + took / 2)
    };
    let best = (0..16).map(read).min_by_key(|(took, ..)| *took);
    best.map_or((0, 0), |(_, timer, tsc)| (timer, tsc))
}

/// Measures the TSC over about 5 ms.
pub fn calibrate() {
    let ticks = (PM_TIMER_HZ / 200) as u32;
    let (start, tsc_start) = both();
    for _ in 0..1_000_000 {
        if cpu::in32(PM_TIMER).wrapping_sub(start) & PM_TIMER_MASK >= ticks {
            let (end, tsc) = both();
            let elapsed = end.wrapping_sub(start) & PM_TIMER_MASK;
            let cycles = tsc.wrapping_sub(tsc_start);
            let khz = cycles.saturating_mul(PM_TIMER_HZ) / u64::from(elapsed.max(1)) / 1000;
            if khz > 0 {
                TSC_KHZ.store(khz, Ordering::Relaxed);
            }
            return;
        }
    }
}

/// TSC frequency.
pub fn tsc_khz() -> u64 {
    TSC_KHZ.load(Ordering::Relaxed)
}

/// Time in nanoseconds, by the TSC as the guest's clock has it.
pub fn now() -> u64 {
    let (tsc, khz) = (cpu::rdtsc(), tsc_khz());
    tsc / khz * 1_000_000 + tsc % khz * 1_000_000 / khz
}

/// A point in time after which a wait has failed.
pub struct Deadline(u64);

impl Deadline {
    /// `ms` from now.
    pub fn after_ms(ms: u64) -> Deadline {
        Deadline(cpu::rdtsc().saturating_add(ms * tsc_khz()))
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        cpu::rdtsc() >= self.0
    }
}

/// Waits for `ms`.
pub fn sleep_ms(ms: u64) {
    let deadline = Deadline::after_ms(ms);
    while !deadline.passed() {
        cpu::relax();
    }
}
