//! The corpus, without the fuzzer: every input is run, each parser takes some of its own, and all of them are few.

use std::collections::BTreeSet;
use std::path::Path;

use macadamia_fuzz::corpus;
use macadamia_fuzz::targets::TARGETS;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
/// Most bytes of all inputs.
const MOST: usize = 300 * 1024;

#[test]
fn every_input_does_the_same_twice_and_some_are_accepted() {
    let mut bytes = 0;
    for target in TARGETS {
        let mut accepted = 0;
        for (name, input) in corpus::read(Path::new(CORPUS), target.name).unwrap() {
            let outcome = (target.run)(&input);
            assert_eq!((target.run)(&input), outcome, "{} {name}", target.name);
            // It is one that the fuzzer can make.
            assert!(input.len() <= target.most, "{} {name}", target.name);
            accepted += usize::from(outcome.accepted);
            bytes += input.len();
        }
        assert!(accepted > 0, "{} takes nothing of its corpus", target.name);
    }
    assert!(bytes <= MOST, "{bytes} bytes");
}

#[test]
fn targets_and_folders_have_the_same_names() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.into()).collect();
    assert_eq!(names.len(), TARGETS.len());
    let folders: BTreeSet<String> = std::fs::read_dir(CORPUS)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders, names);
}

#[test]
fn no_short_input_panics() {
    for target in TARGETS {
        for length in 0..70 {
            for byte in [0, 1, 0xFF] {
                (target.run)(&vec![byte; length]);
            }
        }
        if let Some(mend) = target.mend {
            for length in 0..70 {
                let mut input = vec![0; length];
                mend(&mut input);
                (target.run)(&input);
            }
        }
    }
}
