//! Run-time options, from `-append`.

use crate::{acpi, calls, memory, platform, say, starts, trace, watch};
use core::sync::atomic::{AtomicBool, Ordering};
use snp_model::trace::{Filter, OptionError, options};

/// Set when the memory's layout is to be printed.
static MEMORY: AtomicBool = AtomicBool::new(false);

/// What can only be done when the guest is in memory.
pub fn after_launch() {
    if MEMORY.load(Ordering::Relaxed) {
        memory::lock().print();
    }
}

/// Takes the options from the command line. What is unknown is reported and ignored.
pub fn parse(line: &str) {
    let mut filter = Filter::default();
    for option in options(line) {
        match (option.name, option.value) {
            ("trace", Some(list)) => filter = Filter::parse(list, |error| say!("{error}")),
            ("count", None) => trace::count_exits(),
            ("calls", every) => {
                if calls::set(every).is_err() {
                    say!(
                        "calls: '{}' is not a number of calls, nor each",
                        every.unwrap_or("")
                    );
                }
            }
            ("memory", None) => MEMORY.store(true, Ordering::Relaxed),
            ("madt", Some(lies)) => {
                if let Err(error) = acpi::lie(lies) {
                    say!("madt: {error}");
                }
            }
            ("ap-delay", Some(_)) => match option.number() {
                Ok(seed) => starts::shuffle(seed),
                Err(error) => say!("{error}"),
            },
            ("ap-late", Some(_)) => match option.number() {
                Ok(ms) => starts::delay_all(ms),
                Err(error) => say!("{error}"),
            },
            ("without", Some("nx")) => platform::hide_nx(),
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
