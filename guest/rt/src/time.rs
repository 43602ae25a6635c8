//! Time, for bounded waits: the TSC, measured once against the ACPI PM timer.

use crate::{cpu, io};
use core::sync::atomic::{AtomicU64, Ordering};

/// q35's PM timer: 24 bits at 3.579545 MHz.
const PM_TIMER: u16 = 0x608;
const PM_TIMER_HZ: u64 = 3_579_545;
const PM_TIMER_MASK: u32 = 0xFF_FFFF;

static TICKS_PER_MS: AtomicU64 = AtomicU64::new(0);

/// PM timer and TSC at the same time: of some tries the one that took least, because the host may do something else in
/// between.
fn both() -> (u32, u64) {
    let read = |_| {
        let before = cpu::rdtsc();
        let timer = io::inl(PM_TIMER);
        let took = cpu::rdtsc() - before;
        (took, timer, before + took / 2)
    };
    let best = (0..8).map(read).min_by_key(|(took, ..)| *took);
    best.map_or((0, 0), |(_, timer, tsc)| (timer, tsc))
}

/// TSC ticks per millisecond. The first call takes about 20 ms.
pub fn ticks_per_ms() -> u64 {
    let known = TICKS_PER_MS.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let (start, tsc_start) = both();
    let mut elapsed = 0;
    let mut tsc = tsc_start;
    // The second condition ends the loop if the timer stands still.
    while elapsed < 20 * PM_TIMER_HZ / 1000 && tsc - tsc_start < 10_000_000_000 {
        let (timer, now) = both();
        elapsed = (timer.wrapping_sub(start) & PM_TIMER_MASK) as u64;
        tsc = now;
    }
    let ticks = match elapsed {
        0 => 2_000_000,
        _ => (tsc - tsc_start).saturating_mul(PM_TIMER_HZ) / elapsed / 1000,
    };
    TICKS_PER_MS.store(ticks.max(1), Ordering::Relaxed);
    ticks.max(1)
}

/// A point in time.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(u64);

impl Deadline {
    /// That many milliseconds from now.
    pub fn after_ms(ms: u64) -> Deadline {
        Deadline(cpu::rdtsc() + ms * ticks_per_ms())
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        cpu::rdtsc() >= self.0
    }
}

/// Spins until `done` or the time is up; returns whether it was done.
pub fn wait_until(ms: u64, done: impl Fn() -> bool) -> bool {
    let deadline = Deadline::after_ms(ms);
    loop {
        if done() {
            return true;
        }
        if deadline.passed() {
            return false;
        }
        core::hint::spin_loop();
    }
}

/// Spins that long.
pub fn sleep_ms(ms: u64) {
    wait_until(ms, || false);
}
