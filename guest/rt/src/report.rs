//! Reporting of test payloads: one line per case, `ok NAME` or `FAIL NAME: expected .. got ..`, and the count at the end.

use crate::println;
use crate::trap::Trap;
use core::fmt::{self, Debug};
use core::sync::atomic::{AtomicU32, Ordering};

static PASSED: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Reports a case whose result must equal what is expected.
pub fn check<T: PartialEq + Debug>(name: &str, expected: T, got: T) {
    if expected == got {
        pass(name);
    } else {
        fail(name, expected, got);
    }
}

/// Reports a case whose result must satisfy a condition; `expected` says which.
pub fn check_that<T: Debug>(name: &str, holds: bool, expected: &str, got: T) {
    if holds {
        pass(name);
    } else {
        fail(name, format_args!("{expected}"), got);
    }
}

/// Reports a success.
pub fn pass(name: &str) {
    PASSED.fetch_add(1, Ordering::Relaxed);
    println!("ok {name}");
}

/// Reports a failure.
pub fn fail(name: &str, expected: impl Debug, got: impl Debug) {
    FAILED.fetch_add(1, Ordering::Relaxed);
    println!("FAIL {name}: expected {expected:x?} got {got:x?}");
}

/// Reports a case that this machine cannot run.
pub fn skip(name: &str, why: &str) {
    println!("skip {name}: {why}");
}

/// Prints the count, under the payload's name.
pub fn close(payload: &str) {
    let (passed, failed) = (
        PASSED.load(Ordering::Relaxed),
        FAILED.load(Ordering::Relaxed),
    );
    println!("{payload}: {passed} passed, {failed} failed");
}

/// An exception, as cases compare it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Vector.
    pub vector: u64,
    /// Error code.
    pub error: u64,
}

impl Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = match self.vector {
            1 => "#DB",
            6 => "#UD",
            8 => "#DF",
            13 => "#GP",
            14 => "#PF",
            29 => "#VC",
            _ => return write!(f, "vector {}({:#x})", self.vector, self.error),
        };
        write!(f, "{name}({:#x})", self.error)
    }
}

impl From<Trap> for Fault {
    fn from(trap: Trap) -> Fault {
        Fault {
            vector: trap.frame.vector,
            error: trap.frame.error,
        }
    }
}

/// #VC with this exit code.
pub const fn vc(error: u64) -> Fault {
    Fault { vector: 29, error }
}

/// #PF with this error code.
pub const fn pf(error: u64) -> Fault {
    Fault { vector: 14, error }
}

/// #GP with this error code.
pub const fn gp(error: u64) -> Fault {
    Fault { vector: 13, error }
}

impl Fault {
    /// As a number, for a job at another VMPL to return.
    pub fn encode(self) -> u64 {
        1 << 63 | self.vector << 48 | self.error & 0xFFFF_FFFF
    }

    /// The inverse of [`Fault::encode`]; numbers with bit 63 clear are successes.
    pub fn decode(value: u64) -> Result<u64, Fault> {
        if value >> 63 == 0 {
            return Ok(value);
        }
        Err(Fault {
            vector: value >> 48 & 0xFF,
            error: value & 0xFFFF_FFFF,
        })
    }
}

/// Encodes a job's result.
pub fn encode(result: Result<u64, Trap>) -> u64 {
    match result {
        Ok(value) => value,
        Err(trap) => Fault::from(trap).encode(),
    }
}

/// Takes the value of a step that a case needs, or reports the case as failed and returns.
#[macro_export]
macro_rules! need {
    ($name:expr, $step:expr) => {
        match $step {
            Ok(value) => value,
            Err(error) => {
                $crate::report::fail(
                    $name,
                    format_args!("{} to succeed", stringify!($step)),
                    error,
                );
                return;
            }
        }
    };
}
