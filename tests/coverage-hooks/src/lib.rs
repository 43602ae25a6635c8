//! The functions that code instrumented by LLVM's SanitizerCoverage calls
//! (<https://clang.llvm.org/docs/SanitizerCoverage.html>), and what they note: how often each edge of the program was
//! taken, and which numbers were compared with each other. Only the fuzzer uses it.
//!
//! `cargo xtask fuzz` builds with the pass switched on, in a target folder of its own. Built without it nothing calls the
//! hooks, and there are no counters: the fuzzer then works blindly.
//!
//! The names of the hooks matter: the pass leaves out functions whose names start with `__sanitizer_`, or they would call
//! themselves. So they use nothing that could be a call: atomics, which are inlined before the pass runs.

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// The linker puts the counters of all crates into one section: its start and length.
static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Pairs of numbers that are kept; later ones overwrite earlier ones.
const PAIRS: usize = 256;
/// Two numbers, and how many bytes they have.
static COMPARED: [[AtomicU64; 2]; PAIRS] = [const { [const { AtomicU64::new(0) }; 2] }; PAIRS];
static WIDTHS: [AtomicU8; PAIRS] = [const { AtomicU8::new(0) }; PAIRS];
/// How many have been noted since [`take`].
static NOTED: AtomicUsize = AtomicUsize::new(0);

/// For constants with which something was compared, by their hash: how many of their bytes were right, a bit for each
/// number. The pass comes after the optimizer, which makes one branch of several comparisons; so that one of them alone
/// holds would otherwise not be seen.
static MATCHED: [AtomicU8; MATCHES] = [const { AtomicU8::new(0) }; MATCHES];
/// How many constants are told apart.
const MATCHES: usize = 1024;
/// The slots of it that are not zero.
static MET: [AtomicUsize; PAIRS] = [const { AtomicUsize::new(0) }; PAIRS];
static MET_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Two numbers that the program compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// One of them.
    pub a: u64,
    /// The other one.
    pub b: u64,
    /// Bytes of either: 1, 2, 4 or 8.
    pub width: usize,
}

/// Called before `main` by every instrumented crate, each time with the bounds of the same section.
// SAFETY: nothing else has this name; it is reserved for the runtime of this pass, of which no other is linked.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    START.store(start, Ordering::Relaxed);
    LENGTH.store(
        (end as usize).wrapping_sub(start as usize),
        Ordering::Relaxed,
    );
}

#[inline(always)]
fn note(a: u64, b: u64, width: u8) {
    if a == b {
        return;
    }
    let at = NOTED.load(Ordering::Relaxed);
    NOTED.store(at.wrapping_add(1), Ordering::Relaxed);
    let at = at & (PAIRS - 1);
    COMPARED[at][0].store(a, Ordering::Relaxed);
    COMPARED[at][1].store(b, Ordering::Relaxed);
    WIDTHS[at].store(width, Ordering::Relaxed);
}

/// Small constants are no magic numbers: they are compared with sizes and counters all the time.
#[inline(always)]
fn matched(constant: u64, other: u64) {
    if constant >> 16 == 0 {
        return;
    }
    let wrong = constant ^ other;
    let mut right = 0;
    let mut shift = 0;
    while shift < u64::BITS {
        right += u32::from(wrong >> shift & 0xFF == 0);
        shift += 8;
    }
    let slot = (constant.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as usize;
    let before = MATCHED[slot].load(Ordering::Relaxed);
    if before == 0 {
        let at = MET_COUNT.load(Ordering::Relaxed);
        MET_COUNT.store(at.wrapping_add(1), Ordering::Relaxed);
        MET[at & (PAIRS - 1)].store(slot, Ordering::Relaxed);
    }
    MATCHED[slot].store(before | 1 << (8 - right.max(1)), Ordering::Relaxed);
}

macro_rules! compare {
    ($($name:ident $number:ty $(, $matched:ident)?);*) => {
        $(
            // SAFETY: nothing else has this name; see above.
            #[unsafe(no_mangle)]
            extern "C" fn $name(a: $number, b: $number) {
                note(a as u64, b as u64, size_of::<$number>() as u8);
                $($matched(a as u64, b as u64);)?
            }
        )*
    };
}

compare!(
    __sanitizer_cov_trace_cmp1 u8;
    __sanitizer_cov_trace_cmp2 u16;
    __sanitizer_cov_trace_cmp4 u32;
    __sanitizer_cov_trace_cmp8 u64;
    __sanitizer_cov_trace_const_cmp1 u8;
    __sanitizer_cov_trace_const_cmp2 u16;
    __sanitizer_cov_trace_const_cmp4 u32, matched;
    __sanitizer_cov_trace_const_cmp8 u64, matched
);

/// A `switch`: the edges tell which case was taken, and the fuzzer's dictionaries have the cases.
// SAFETY: nothing else has this name; see above. The pointer is not used.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_switch(_value: u64, _cases: *const u64) {}

/// Bytes of a word of counters.
const WORD: usize = size_of::<AtomicU64>();
/// Words that are looked at together.
const BLOCK: usize = 32;

/// The counters: single ones up to a word's boundary, words of them, single ones. None when the program is not
/// instrumented.
fn counters() -> (
    &'static [AtomicU8],
    &'static [AtomicU64],
    &'static [AtomicU8],
) {
    let start = START.load(Ordering::Relaxed);
    if start.is_null() {
        return (&[], &[], &[]);
    }
    // SAFETY: START and LENGTH are the bounds of the section that holds the counters: bytes that are there, initialised,
    // and not unmapped, as long as the process lives, and that nothing else in Rust refers to. Any bytes are an AtomicU64.
    // The instrumented code changes them meanwhile, as those of atomics may be; it does so by plain additions to bytes, so
    // that a count may get lost, which costs the fuzzer a hint.
    unsafe {
        std::slice::from_raw_parts(start.cast::<AtomicU8>(), LENGTH.load(Ordering::Relaxed))
            .align_to::<AtomicU64>()
    }
}

/// Numbers that [`take`] has for what a program does: its edges, and constants that were met. 0 when it is not
/// instrumented.
pub fn features() -> usize {
    match edges() {
        0 => 0,
        edges => edges + MATCHES,
    }
}

/// How many edges the program has; 0 when it is not instrumented.
pub fn edges() -> usize {
    let (head, words, tail) = counters();
    head.len() + words.len() * WORD + tail.len()
}

/// Tells `see` the number of each edge that was taken since the last call, and the class of how often (a bit for each
/// class: once, twice, and so on); for each constant, after the edges, how much of it was met, in the same way. Then
/// forgets it, and what was compared.
pub fn take(mut see: impl FnMut(usize, u8)) {
    let (head, words, tail) = counters();
    let middle = words.len() * WORD;
    let mut single = |first: usize, counters: &[AtomicU8]| {
        for (edge, counter) in (first..).zip(counters) {
            match counter.swap(0, Ordering::Relaxed) {
                0 => {}
                count => see(edge, class(count)),
            }
        }
    };
    single(0, head);
    single(head.len() + middle, tail);
    let first = head.len() + middle + tail.len();
    for slot in MET
        .iter()
        .take(MET_COUNT.swap(0, Ordering::Relaxed).min(PAIRS))
    {
        let slot = slot.load(Ordering::Relaxed);
        see(first + slot, MATCHED[slot].swap(0, Ordering::Relaxed));
    }
    let mut several = |first: usize, words: &[AtomicU64]| {
        for (edge, word) in (first..).step_by(WORD).zip(words) {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            for (edge, count) in (edge..).zip(word.swap(0, Ordering::Relaxed).to_ne_bytes()) {
                if count != 0 {
                    see(edge, class(count));
                }
            }
        }
    };
    // This function is instrumented as well. Most words are zero: to look at many at a time makes for few comparisons.
    let (many, rest) = words.as_chunks::<BLOCK>();
    several(head.len() + many.len() * BLOCK * WORD, rest);
    for (first, words) in (head.len()..).step_by(BLOCK * WORD).zip(many) {
        if words
            .iter()
            .fold(0, |any, word| any | word.load(Ordering::Relaxed))
            != 0
        {
            several(first, words);
        }
    }
    NOTED.store(0, Ordering::Relaxed);
}

/// Classes of counts, a bit each.
const fn class(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128.. => 128,
    }
}

/// The last pairs of different numbers that were compared since [`take`].
pub fn compared() -> impl Iterator<Item = Pair> {
    let count = NOTED.load(Ordering::Relaxed).min(PAIRS);
    COMPARED
        .iter()
        .zip(&WIDTHS)
        .take(count)
        .map(|(pair, width)| Pair {
            a: pair[0].load(Ordering::Relaxed),
            b: pair[1].load(Ordering::Relaxed),
            width: width.load(Ordering::Relaxed).into(),
        })
}
