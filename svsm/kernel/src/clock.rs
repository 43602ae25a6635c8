//! Time: the time-stamp counter, and how fast it runs.
//!
//! Most sources of the rate are the host's, and can lie. Nothing here is for security; what is bounded with it is a service's
//! use of a vCPU, and waiting.

use crate::arch::cpu;
use crate::console::log;
use crate::kernel;
use core::sync::atomic::{AtomicU64, Ordering};
use snp_abi::{SevFeatures, msr};
use svsm_core::clock::{self, PIT_HZ, Source};

/// Ticks in a millisecond. Until it is measured, what processors usually do.
static PER_MS: AtomicU64 = AtomicU64::new(clock::USUAL_TICKS_PER_MS);
/// The counter at the start.
static START: AtomicU64 = AtomicU64::new(0);
/// The latest time that was told: time never goes back, even where counters of two CPUs differ.
static LATEST: AtomicU64 = AtomicU64::new(0);

const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
/// Gate of channel 2 in bit 0, speaker in bit 1, output of channel 2 in bit 5.
const CONTROL: u16 = 0x61;
/// Channel 2, both bytes, mode 0: the output rises when the count ends.
const ONE_SHOT: u8 = 0xB0;
/// How long is measured, in milliseconds.
const MEASURE_MS: u64 = 10;
/// Looks at the timer before it is given up.
const ATTEMPTS: u32 = 200_000;

/// Finds the rate. Which sources there are, and what each is worth: `docs/src/time.md`.
pub fn init(features: SevFeatures) {
    START.store(cpu::tsc(), Ordering::Relaxed);
    let (rate, source) = secure(features)
        .or_else(|| kernel::cpuid().and_then(clock::from_cpuid))
        .or_else(|| Some((measure()?, Source::IntervalTimer)))
        .unwrap_or((clock::USUAL_TICKS_PER_MS, Source::Assumed));
    PER_MS.store(rate, Ordering::Relaxed);
    log!("clock: {} MHz, {source}", rate / 1000);
}

/// What the processor says to a guest whose counter the hypervisor cannot touch.
fn secure(features: SevFeatures) -> Option<(u64, Source)> {
    if !features.contains(SevFeatures::SECURE_TSC) {
        return None;
    }
    let mhz = cpu::rdmsr(msr::GUEST_TSC_FREQ) & 0x3_FFFF;
    Some((clock::plausible(mhz * 1000)?, Source::SecureTsc))
}

fn measure() -> Option<u64> {
    let count = (PIT_HZ * MEASURE_MS / 1000) as u16;
    let control = cpu::in8(CONTROL);
    cpu::out8(CONTROL, control & !3 | 1);
    cpu::out8(COMMAND, ONE_SHOT);
    cpu::out8(CHANNEL_2, count as u8);
    cpu::out8(CHANNEL_2, (count >> 8) as u8);
    let begun = cpu::tsc();
    let ended = (0..ATTEMPTS).any(|_| cpu::in8(CONTROL) & 1 << 5 != 0);
    let ticks = cpu::tsc().wrapping_sub(begun);
    cpu::out8(CONTROL, control);
    ended
        .then(|| clock::plausible(ticks / MEASURE_MS))
        .flatten()
}

/// Ticks in so many milliseconds.
pub fn ticks(milliseconds: u64) -> u64 {
    milliseconds.saturating_mul(PER_MS.load(Ordering::Relaxed))
}

/// So many ticks in nanoseconds.
pub fn nanoseconds(ticks: u64) -> u64 {
    ticks.saturating_mul(1000) / (PER_MS.load(Ordering::Relaxed) / 1000).max(1)
}

/// Milliseconds since the start.
pub fn milliseconds() -> u64 {
    let ticks = cpu::tsc().saturating_sub(START.load(Ordering::Relaxed));
    let now = ticks / PER_MS.load(Ordering::Relaxed).max(1);
    LATEST.fetch_max(now, Ordering::Relaxed).max(now)
}

/// Lets so many microseconds pass.
pub fn wait_us(microseconds: u64) {
    let wanted = microseconds.saturating_mul(PER_MS.load(Ordering::Relaxed)) / 1000;
    let begun = cpu::tsc();
    while cpu::tsc().wrapping_sub(begun) < wanted {
        core::hint::spin_loop();
    }
}
