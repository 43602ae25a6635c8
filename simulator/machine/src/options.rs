//! Run-time options, from `-append`.

use crate::{say, trace, watch};
use snp_model::trace::{Filter, OptionError, options};

/// Takes the options from the command line. What is unknown is reported and ignored.
pub fn parse(line: &str) {
    let mut filter = Filter::default();
    for option in options(line) {
        match (option.name, option.value) {
            ("trace", Some(list)) => filter = Filter::parse(list, |error| say!("{error}")),
            ("count", None) => trace::count_exits(),
            ("watch", Some(list)) => {
                if let Err(range) = watch::set(list) {
                    say!(
                        "watch: '{range}' is not GPA+BYTES in whole pages, hexadecimal, or one too many"
                    );
                }
            }
            (name, _) => say!("{}", OptionError::UnknownOption(name)),
        }
    }
    trace::set(filter);
}
