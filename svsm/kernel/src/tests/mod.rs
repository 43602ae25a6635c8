//! The tests that run inside the SVSM, on every platform: after boot, in the guest's place, on the boot CPU, with the others
//! taking part where a test asks them to ([`smp`]).
//!
//! Each prints one line, `test: NAME ok`, `test: NAME FAILED: WHY` or `test: NAME skipped: WHY`; the last line of all counts
//! them. An image that names a test case instead fails in that way, for good ([`provoke`]); what it then prints is
//! compared by who started it.

mod access;
mod clock;
mod console;
mod cpu;
mod entropy;
mod guest;
mod host;
mod ipi;
mod memory;
mod pages;
mod percpu;
mod protocol;
mod provoke;
mod rmp;
mod services;
mod smp;
mod sync;
mod tables;
mod timer;

pub use smp::help;

use crate::arch::sync::{Once, SpinLock};
use crate::console::log;
use crate::kernel::Kernel;
use crate::platform::{self, Kind};
use boot_abi::BootParams;
use core::fmt::{self, Write};

/// All tests.
const GROUPS: [&[Test]; 17] = [
    memory::suite::TESTS,
    tables::suite::TESTS,
    access::suite::TESTS,
    cpu::suite::TESTS,
    percpu::suite::TESTS,
    ipi::suite::TESTS,
    timer::suite::TESTS,
    clock::suite::TESTS,
    sync::suite::TESTS,
    guest::suite::TESTS,
    rmp::suite::TESTS,
    pages::suite::TESTS,
    protocol::suite::TESTS,
    host::suite::TESTS,
    entropy::suite::TESTS,
    console::suite::TESTS,
    services::suite::TESTS,
];

/// A test, as `#[svsm_test]` lists it.
pub struct Test {
    /// `group::function`.
    pub name: &'static str,
    /// The function.
    pub run: fn() -> Outcome,
}

/// Why a test ended early.
#[derive(Debug)]
pub enum Stop {
    /// What was expected is not so; [`REASON`] has the words.
    Failed,
    /// It cannot be made here, for this reason.
    Skipped(&'static str),
}

/// What comes of a test.
pub type Outcome = Result<(), Stop>;

/// What the tests work on.
pub struct Subject {
    /// The measured parameters.
    pub params: BootParams,
    /// The kernel's state.
    pub kernel: &'static Kernel,
}

static SUBJECT: Once<Subject> = Once::new();

/// What the tests work on.
pub fn subject() -> Result<&'static Subject, Stop> {
    SUBJECT.get().ok_or(Stop::Skipped("no subject"))
}

/// The last failure in words.
static REASON: SpinLock<Reason> = SpinLock::new(Reason {
    bytes: [0; 160],
    length: 0,
});

struct Reason {
    bytes: [u8; 160],
    length: usize,
}

impl Write for Reason {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            let Some(place) = self.bytes.get_mut(self.length) else {
                break;
            };
            *place = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// A failure, in words.
pub fn failed(line: u32, text: fmt::Arguments<'_>) -> Stop {
    let mut reason = REASON.lock();
    reason.length = 0;
    let _ = write!(*reason, "line {line}: {text}");
    Stop::Failed
}

/// Ends the test as failed.
macro_rules! fail {
    ($($text:tt)*) => {
        return Err($crate::tests::failed(line!(), format_args!($($text)*)))
    };
}
pub(crate) use fail;

/// Ends the test unless the condition holds.
macro_rules! check {
    ($condition:expr) => { check!($condition, "{}", stringify!($condition)) };
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            $crate::tests::fail!($($text)*);
        }
    };
}
pub(crate) use check;

/// Ends the test unless both are equal: what is, then what is expected.
macro_rules! check_eq {
    ($is:expr, $expected:expr) => { check_eq!($is, $expected, "{}", stringify!($is)) };
    ($is:expr, $expected:expr, $($text:tt)*) => {
        match (&$is, &$expected) {
            (is, expected) => if *is != *expected {
                return Err($crate::tests::failed(line!(),
                    format_args!("{}: {is:x?}, not {expected:x?}", format_args!($($text)*))));
            }
        }
    };
}
pub(crate) use check_eq;

/// Ends the test as one that cannot be made here.
macro_rules! skip {
    ($reason:expr) => {
        return Err($crate::tests::Stop::Skipped($reason))
    };
}
pub(crate) use skip;

/// For tests of what only SEV-SNP has.
pub fn only_snp() -> Outcome {
    match platform::kind() {
        Kind::Snp => Ok(()),
        Kind::Native => skip!("only SEV-SNP has it"),
    }
}

/// For tests of what only the native platform has.
pub fn only_native() -> Outcome {
    match platform::kind() {
        Kind::Native => Ok(()),
        Kind::Snp => skip!("only the native platform has it"),
    }
}

/// Runs all tests, or the test case that the image names.
#[inline(never)]
pub fn run(params: &BootParams, kernel: &'static Kernel) {
    let _ = SUBJECT.set(Subject {
        params: *params,
        kernel,
    });
    smp::gather(kernel);
    let name = params.test_case.split(|&byte| byte == 0).next();
    match core::str::from_utf8(name.unwrap_or_default()) {
        Ok("") => all(),
        Ok(name) => provoke::run(name),
        Err(_) => log!("tests: the test case's name is not text"),
    }
}

/// Runs all tests.
fn all() {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for test in GROUPS.iter().copied().flatten() {
        match (test.run)() {
            Ok(()) => {
                passed += 1;
                log!("test: {} ok", test.name);
            }
            Err(Stop::Skipped(reason)) => {
                skipped += 1;
                log!("test: {} skipped: {reason}", test.name);
            }
            Err(Stop::Failed) => {
                failed += 1;
                let reason = REASON.lock();
                let text = reason.bytes.get(..reason.length).unwrap_or_default();
                log!(
                    "test: {} FAILED: {}",
                    test.name,
                    core::str::from_utf8(text).unwrap_or("not text")
                );
            }
        }
    }
    log!("tests: {passed} passed, {failed} failed, {skipped} skipped");
}
