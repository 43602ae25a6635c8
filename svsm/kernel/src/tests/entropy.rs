//! Entropy: that there is some, on every CPU, and that it is not evidently bad.

use super::{check, check_eq, fail, smp};
use crate::entropy;
use core::sync::atomic::{AtomicU64, Ordering};

const EACH: usize = 32;

/// What each CPU drew.
static DRAWN: [[AtomicU64; EACH]; smp::MAX] =
    [const { [const { AtomicU64::new(0) }; EACH] }; smp::MAX];

#[svsm_test_macro::svsm_tests(entropy)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn words_do_not_repeat() {
        let words: [Option<u64>; 256] = core::array::from_fn(|_| entropy::word());
        for (index, word) in words.iter().enumerate() {
            check!(word.is_some(), "word {index}");
            check!(
                !words[index + 1..].contains(word),
                "word {index} comes again"
            );
        }
    }

    #[svsm_test]
    fn bits_are_ones_half_the_time() {
        let mut ones = [0u32; 64];
        const WORDS: u32 = 4096;
        for _ in 0..WORDS {
            let Some(word) = entropy::word() else {
                fail!("no entropy")
            };
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += (word >> bit) as u32 & 1;
            }
        }
        // Standard deviation 32; eight of them come by chance once in 10^14 for all bits.
        for (bit, count) in ones.iter().enumerate() {
            check!(
                count.abs_diff(WORDS / 2) < 256,
                "bit {bit}: {count} of {WORDS}"
            );
        }
    }

    #[svsm_test]
    fn cpus_draw_different_words() {
        let drawn = smp::on_all(|index| {
            let mut drawn = 0;
            for place in &DRAWN[index] {
                if let Some(word) = entropy::word() {
                    place.store(word, Ordering::Relaxed);
                    drawn += 1;
                }
            }
            drawn
        })?;
        for (index, count) in smp::each(&drawn) {
            check_eq!(count, EACH as u64, "words of vCPU {index}");
        }
        let all = || {
            DRAWN
                .iter()
                .flatten()
                .map(|word| word.load(Ordering::Relaxed))
                .filter(|&word| word != 0)
        };
        for (index, word) in all().enumerate() {
            check!(
                !all().skip(index + 1).any(|other| other == word),
                "{word:#x} was drawn twice"
            );
        }
    }

    #[svsm_test]
    fn it_does_not_run_dry() {
        let mut last = None;
        for draw in 0..20_000 {
            let word = entropy::word();
            check!(word.is_some() && word != last, "draw {draw}");
            last = word;
        }
    }
}
