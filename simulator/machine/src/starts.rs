//! When a created vCPU starts: at once, unless the options have it otherwise. `ap-delay=SEED` lets each wait for a time that
//! looks random, so that they start in another order and at another pace with each seed; `madt=dead:N` lets some never start.

use crate::arch::time;
use acpi_madt::Random;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Delays are below 2^10 to 2^26 ns (1 µs to 67 ms): from together to far apart.
const SHORTEST_BITS: u64 = 10;
const SCALES: u64 = 17;

static DELAYED: AtomicBool = AtomicBool::new(false);
static SEED: AtomicU64 = AtomicU64::new(0);
/// Number of the first processor that never starts.
static FIRST_DEAD: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Takes the option's value.
pub fn delay(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
    DELAYED.store(true, Ordering::Relaxed);
}

/// Whether starts are delayed.
pub fn delayed() -> bool {
    DELAYED.load(Ordering::Relaxed)
}

/// From processor `first` on none starts.
pub fn set_first_dead(first: usize) {
    FIRST_DEAD.store(first, Ordering::Relaxed);
}

/// When vCPU `index`, which is created now, is to start, in nanoseconds; `None`: never.
pub fn due(index: usize) -> Option<u64> {
    if index >= FIRST_DEAD.load(Ordering::Relaxed) {
        return None;
    }
    if !delayed() {
        return Some(0);
    }
    let mut random = Random::new(SEED.load(Ordering::Relaxed));
    let mut random = Random::new(random.next() ^ index as u64);
    let scale = SHORTEST_BITS + random.below(SCALES);
    Some(time::now() + random.below(1 << scale))
}
