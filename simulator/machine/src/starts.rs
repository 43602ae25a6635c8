//! When a created vCPU starts: at once, unless the options have it otherwise. `ap-delay=SEED` lets each wait for a time that
//! looks random, so that they start in another order and at another pace with each seed; `ap-late=MS` lets all start so many
//! milliseconds late; `madt=dead:N` lets some never start.

use crate::arch::time;
use acpi_madt::Random;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The longest delay: 2^26 ns, 67 ms.
const BITS: u64 = 26;
/// Where all delays are of one size, that is 2^22 ns, 4 ms, to the longest: less is no order on a busy host, whose QEMU
/// takes what is due in the processors' own.
const SIZES: u64 = 5;

/// Whether there is a delay by [`SEED`], besides [`LATE_NS`].
static SHUFFLED: AtomicBool = AtomicBool::new(false);
static LATE_NS: AtomicU64 = AtomicU64::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);
/// Number of the first processor that never starts.
static FIRST_DEAD: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Takes the value of `ap-delay`.
pub fn shuffle(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
    SHUFFLED.store(true, Ordering::Relaxed);
}

/// Takes the value of `ap-late`.
pub fn delay_all(ms: u64) {
    LATE_NS.store(ms.saturating_mul(1_000_000), Ordering::Relaxed);
}

/// Whether starts are delayed.
pub fn delayed() -> bool {
    SHUFFLED.load(Ordering::Relaxed) || LATE_NS.load(Ordering::Relaxed) != 0
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
    let late = time::now().saturating_add(LATE_NS.load(Ordering::Relaxed));
    if !SHUFFLED.load(Ordering::Relaxed) {
        return Some(late);
    }
    let mut all = Random::new(SEED.load(Ordering::Relaxed));
    // With one seed in two all are of the same size, which mixes them best; else some come at once and some late.
    let common = BITS - all.below(SIZES);
    let together = all.once_in(2);
    let mut own = Random::new(all.next() ^ index as u64);
    let delay = if together {
        own.below(1 << common)
    } else {
        own.of_any_size(BITS + 1)
    };
    Some(late.saturating_add(delay))
}
