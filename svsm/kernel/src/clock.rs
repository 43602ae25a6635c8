//! Time: the time-stamp counter, and how fast it runs.
//!
//! The rate is measured once against the interval timer of the PC, which is the hypervisor's: like every source of time that
//! all SNP hosts have, it can lie. Nothing here is for security; what is bounded with it is a service's use of a vCPU.

use crate::arch::cpu;
use crate::console::log;
use core::sync::atomic::{AtomicU64, Ordering};
use svsm_core::clock::{self, PIT_HZ};

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

/// Measures the rate.
pub fn init() {
    START.store(cpu::tsc(), Ordering::Relaxed);
    match measure() {
        Some(rate) => PER_MS.store(rate, Ordering::Relaxed),
        None => log!(
            "clock: the interval timer says nothing useful; assuming {} MHz",
            clock::USUAL_TICKS_PER_MS / 1000
        ),
    }
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
