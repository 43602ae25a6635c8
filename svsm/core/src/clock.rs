//! What is believed of a measured rate of the time-stamp counter.

/// Rate of the PC's interval timer.
pub const PIT_HZ: u64 = 1_193_182;

/// Ticks in a millisecond where nothing is known.
pub const USUAL_TICKS_PER_MS: u64 = 2_000_000;

/// Slowest and fastest counter that is believed, in ticks of a millisecond: 100 MHz to 20 GHz.
const BELIEVED: core::ops::RangeInclusive<u64> = 100_000..=20_000_000;

/// The rate, if it can be one.
pub fn plausible(ticks_per_ms: u64) -> Option<u64> {
    Some(ticks_per_ms).filter(|rate| BELIEVED.contains(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_cannot_make_a_slice_endless_or_empty() {
        assert_eq!(plausible(2_400_000), Some(2_400_000));
        assert_eq!(plausible(0), None);
        assert_eq!(plausible(u64::MAX), None);
    }
}
