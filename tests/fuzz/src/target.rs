//! What a parser under test looks like to the fuzzer.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use seeded_rng::Rng;

/// A parser, how to make input for it, and what must hold for any input.
pub struct Target {
    /// Its name, and that of its folder of the corpus.
    pub name: &'static str,
    /// Most bytes of an input.
    pub most: usize,
    /// Bytes of a record, if the format has such: whole ones are moved about.
    pub record: usize,
    /// Words of the format.
    pub words: &'static [&'static [u8]],
    /// A change that keeps to the format, if there is one.
    pub change: Option<fn(&mut Rng, &mut Vec<u8>)>,
    /// Makes lengths and checksums right, so that what lies behind their checks is reached.
    pub mend: Option<fn(&mut Vec<u8>)>,
    /// Parses, uses what was accepted, and panics when something does not hold.
    pub run: fn(&[u8]) -> Outcome,
}

impl Target {
    /// A target of plain bytes.
    pub const fn new(name: &'static str, most: usize, run: fn(&[u8]) -> Outcome) -> Target {
        Target {
            name,
            most,
            record: 8,
            words: &[],
            change: None,
            mend: None,
            run,
        }
    }
}

/// What came of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The parser took it.
    pub accepted: bool,
    /// The same for the same input, whenever it is parsed.
    pub fingerprint: u64,
}

impl Outcome {
    /// Accepted or refused, with something that says what came of it.
    pub fn new(accepted: bool, what: impl Hash) -> Outcome {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Outcome {
            accepted,
            fingerprint: hasher.finish(),
        }
    }

    /// Of a result, by what it prints: this also formats every error.
    pub fn of<T, E: std::fmt::Display>(result: &Result<T, E>) -> Outcome {
        match result {
            Ok(_) => Outcome::new(true, 0),
            Err(error) => Outcome::new(false, error.to_string()),
        }
    }
}
