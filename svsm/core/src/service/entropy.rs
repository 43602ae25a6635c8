//! Whether the processor's random numbers can be believed: the continuous health tests of SP 800-90B §4.4 over samples of 64
//! bits. They find a source that is broken (stuck, or with few values), not one that is bad on purpose.
//!
//! The source claims 64 bits of entropy in a sample; the tests are set for one that has half of it ([`CLAIM`]) and for a false
//! alarm in 2^40 samples at most.

/// Bits of entropy in a sample for which the tests are set.
const CLAIM: u32 = 32;
/// Negative binary logarithm of the probability of a false alarm.
const FALSE_ALARM: u32 = 40;

/// Repetition count (§4.4.1): so many equal samples in a row are an alarm, C = 1 + ⌈40 / 32⌉.
const REPETITIONS: u32 = 1 + FALSE_ALARM.div_ceil(CLAIM);

/// Adaptive proportion (§4.4.2): the window for samples that are not bits.
const WINDOW: u32 = 512;
/// So many samples of a window that equal its first, that one included, are an alarm. Two would come by chance once in 2^23
/// windows (511 tries with probability 2^-32), three once in 2^47.
const PROPORTION: u32 = 3;

/// Why the source is not believed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Unhealthy {
    #[error("the same sample {REPETITIONS} times in a row (SP 800-90B §4.4.1)")]
    Repetition,
    #[error("the same sample {PROPORTION} times among {WINDOW} (SP 800-90B §4.4.2)")]
    Proportion,
}

/// State of the tests.
#[derive(Debug, Default)]
pub struct Health {
    last: Option<u64>,
    repetitions: u32,
    first: u64,
    equal: u32,
    seen: u32,
}

impl Health {
    /// Samples that are tested before one is used (§4.3, requirement 4).
    pub const START_UP_SAMPLES: u32 = 1024;

    /// Before the first sample.
    pub const fn new() -> Health {
        Health {
            last: None,
            repetitions: 0,
            first: 0,
            equal: 0,
            seen: 0,
        }
    }

    /// Tests a sample. After an alarm the source must not be used again.
    pub fn accept(&mut self, sample: u64) -> Result<(), Unhealthy> {
        if self.last == Some(sample) {
            self.repetitions += 1;
        } else {
            self.last = Some(sample);
            self.repetitions = 1;
        }
        if self.repetitions >= REPETITIONS {
            return Err(Unhealthy::Repetition);
        }
        if self.seen == 0 {
            self.first = sample;
            self.equal = 0;
        }
        self.seen = (self.seen + 1) % WINDOW;
        if sample == self.first {
            self.equal += 1;
        }
        if self.equal >= PROPORTION {
            return Err(Unhealthy::Proportion);
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A good generator for the purpose: splitmix64.
    fn good(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn first_alarm(samples: impl IntoIterator<Item = u64>) -> Option<(usize, Unhealthy)> {
        let mut health = Health::new();
        let results = samples.into_iter().map(|sample| health.accept(sample));
        results
            .enumerate()
            .find_map(|(i, result)| result.err().map(|error| (i, error)))
    }

    #[test]
    fn a_stuck_source_is_found_by_the_third_sample() {
        for value in [0, u64::MAX, 0x1234] {
            let alarm = first_alarm([value; 8]);
            assert_eq!(alarm, Some((2, Unhealthy::Repetition)));
        }
    }

    #[test]
    fn a_source_that_sticks_later_is_found() {
        let mut state = 1;
        let mut samples: std::vec::Vec<u64> = (0..5000).map(|_| good(&mut state)).collect();
        samples.extend([7; 3]);
        assert_eq!(first_alarm(samples), Some((5002, Unhealthy::Repetition)));
    }

    #[test]
    fn a_source_with_few_values_is_found_within_two_windows() {
        for values in [2u64, 10, 100] {
            let alarm = first_alarm((0..1024).map(|i| i % values));
            assert!(
                matches!(alarm, Some((_, Unhealthy::Proportion))),
                "{values}"
            );
        }
    }

    #[test]
    fn two_equal_samples_are_chance() {
        assert_eq!(first_alarm([5, 5, 6, 7]), None);
        assert_eq!(first_alarm([5, 6, 5, 7]), None);
    }

    #[test]
    fn a_good_source_raises_no_alarm() {
        let mut state = 42;
        assert_eq!(first_alarm((0..1_000_000).map(|_| good(&mut state))), None);
    }
}
