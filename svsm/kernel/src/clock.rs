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
/// Keeps channel 2's count for reading.
const LATCH: u8 = 0x80;
/// How long is measured, by the timer's count: 10 ms.
const MEASURE_COUNT: u16 = (PIT_HZ / 100) as u16;
/// Looks at the timer before it is given up.
const ATTEMPTS: u32 = 100_000;
/// Readings of which the best is taken.
const READINGS: u32 = 16;
/// Measurements before the timer is given up.
const TRIES: u32 = 5;

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

/// Measures the rate. A host that is busy may stop this CPU at any point, for longer than the timer counts.
fn measure() -> Option<u64> {
    let control = cpu::in8(CONTROL);
    cpu::out8(CONTROL, control & !3 | 1);
    let rate = (0..TRIES).find_map(|_| measure_once());
    cpu::out8(CONTROL, control);
    rate
}

fn measure_once() -> Option<u64> {
    cpu::out8(COMMAND, ONE_SHOT);
    cpu::out8(CHANNEL_2, 0xFF);
    cpu::out8(CHANNEL_2, 0xFF);
    let stale = read().count;
    (0..ATTEMPTS).find(|_| read().count < stale)?; // it counts
    let first = read_well();
    (0..ATTEMPTS).find(|_| first.count.wrapping_sub(read().count) >= MEASURE_COUNT)?;
    let last = read_well();
    let past_zero = cpu::in8(CONTROL) & 1 << 5 != 0;
    let elapsed = u64::from(first.count.checked_sub(last.count)?);
    let ticks = last.tsc.saturating_sub(first.tsc);
    clock::plausible(ticks.saturating_mul(PIT_HZ).checked_div(elapsed)? / 1000)
        .filter(|_| !past_zero)
}

/// The timer's count, and when it was that.
struct Reading {
    count: u16,
    tsc: u64,
    /// How much later it may have been.
    doubt: u64,
}

fn read() -> Reading {
    let tsc = cpu::tsc();
    cpu::out8(COMMAND, LATCH);
    let doubt = cpu::tsc().saturating_sub(tsc);
    let low = cpu::in8(CHANNEL_2);
    let count = u16::from_le_bytes([low, cpu::in8(CHANNEL_2)]);
    Reading { count, tsc, doubt }
}

/// The one of some readings that is least in doubt.
fn read_well() -> Reading {
    (0..READINGS).fold(read(), |best, _| {
        let next = read();
        if next.doubt < best.doubt { next } else { best }
    })
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
