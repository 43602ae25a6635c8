//! Lines for people. What comes out, who started the tests sees: it holds these lines to what is expected.

use super::{check_eq, smp};
use crate::console::log;

/// Longer than a line may be.
const LONG: [u8; 600] = [b'x'; 600];
/// Lines that each CPU prints at the same time.
const LINES: u64 = 20;

#[svsm_test_macro::svsm_tests(console)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn a_line_that_is_too_long_is_cut() {
        log!(
            "console: long {} END",
            core::str::from_utf8(&LONG).unwrap_or_default()
        );
        log!("console: after it");
    }

    #[svsm_test]
    fn lines_of_all_cpus_stay_whole() {
        let printed = smp::on_all(|index| {
            for line in 0..LINES {
                log!("console: vCPU {index} line {line} abcdefghijklmnopqrstuvwxyz end");
            }
            LINES
        })?;
        for (index, lines) in smp::each(&printed) {
            check_eq!(lines, LINES, "vCPU {index}");
        }
    }

    #[svsm_test]
    fn an_empty_line_is_one() {
        log!("");
        log!("console: {}", "");
    }
}
