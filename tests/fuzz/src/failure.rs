//! Inputs that fail: a panic is caught and told from others by its place; an input that does not end is written down by
//! a watchdog, which then ends the process.

use std::fmt;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::corpus;
use crate::target::{Outcome, Target};

/// Milliseconds that an input may take.
const LONGEST: u64 = 10_000;
/// Time for making a failing input smaller.
const SHRINKING: Duration = Duration::from_secs(10);

/// The target and input that run now.
static CURRENT: Mutex<(&str, Vec<u8>)> = Mutex::new(("", Vec::new()));
/// Counts executions; odd while one runs.
static TURN: AtomicU64 = AtomicU64::new(0);
/// What the last panic said, and where.
static PANIC: Mutex<Option<Panic>> = Mutex::new(None);
static LOUD: AtomicBool = AtomicBool::new(false);

/// A panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// File and line.
    pub place: String,
    /// What it says.
    pub message: String,
}

/// An input that fails, written to a file.
#[derive(Debug)]
pub struct Failure {
    target: &'static str,
    panic: Panic,
    file: PathBuf,
    bytes: usize,
    before: usize,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            target,
            panic,
            file,
            bytes,
            before,
        } = self;
        write!(
            f,
            "FAIL {target}: {} at {}\n     {bytes} bytes (of {before} when found): {}\n     \
             again: cargo xtask fuzz --target {target} --replay {}",
            panic.message,
            panic.place,
            file.display(),
            file.display()
        )
    }
}

fn current() -> std::sync::MutexGuard<'static, (&'static str, Vec<u8>)> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes panics over, and starts the watchdog.
pub fn watch(failures: &Path) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // What is not the target's panic is the fuzzer's own.
        if LOUD.load(Ordering::Relaxed) || TURN.load(Ordering::Relaxed).is_multiple_of(2) {
            before(info);
            return;
        }
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("a panic").to_owned();
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(Panic { place, message });
    }));
    let failures = failures.to_path_buf();
    thread::spawn(move || {
        let (mut turn, mut since) = (0, Instant::now());
        loop {
            thread::sleep(Duration::from_millis(200));
            let now = TURN.load(Ordering::Relaxed);
            if now != turn || now.is_multiple_of(2) {
                (turn, since) = (now, Instant::now());
            } else if since.elapsed() > Duration::from_millis(LONGEST) {
                let (target, input) = &*current();
                let file = save(&failures, target, input);
                println!(
                    "FAIL {target}: does not end: {} bytes in {}",
                    input.len(),
                    file.display()
                );
                std::process::exit(1);
            }
        }
    });
}

/// From now on panics are shown as usual.
pub fn loud() {
    LOUD.store(true, Ordering::Relaxed);
}

/// Runs an input.
///
/// # Errors
/// It panicked.
pub fn run(target: &Target, input: &[u8]) -> Result<Outcome, Panic> {
    {
        let mut current = current();
        current.0 = target.name;
        current.1.clear();
        current.1.extend_from_slice(input);
    }
    TURN.fetch_add(1, Ordering::Relaxed);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    TURN.fetch_add(1, Ordering::Relaxed);
    outcome.map_err(|_| {
        let panic = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
        panic.unwrap_or(Panic {
            place: "an unknown place".into(),
            message: "a panic".into(),
        })
    })
}

/// Makes a failing input smaller and writes it down.
pub fn report(target: &Target, input: &[u8], panic: Panic, failures: &Path) -> Failure {
    let small = shrink(target, input, &panic);
    Failure {
        target: target.name,
        file: save(failures, target.name, &small),
        panic,
        bytes: small.len(),
        before: input.len(),
    }
}

fn save(failures: &Path, target: &str, input: &[u8]) -> PathBuf {
    let file = failures.join(format!("fuzz-{target}-{}", corpus::name(input)));
    let written = fs::create_dir_all(failures).and_then(|()| fs::write(&file, input));
    if let Err(error) = written {
        println!("cannot write {}: {error}", file.display());
    }
    file
}

/// The shortest input found that fails at the same place, with as many zeros as may be.
fn shrink(target: &Target, input: &[u8], panic: &Panic) -> Vec<u8> {
    let end = Instant::now() + SHRINKING;
    let mut best = input.to_vec();
    let fails = |input: &[u8]| {
        Instant::now() < end && run(target, input).is_err_and(|other| other.place == panic.place)
    };
    let mut size = best.len().next_power_of_two();
    while size > 0 {
        let mut at = 0;
        while at < best.len() {
            let piece = at..(at + size).min(best.len());
            let mut shorter = best.clone();
            shorter.drain(piece.clone());
            // A mended length may be all that a shorter input lacks.
            let mut mended = shorter.clone();
            if let Some(mend) = target.mend {
                mend(&mut mended);
            }
            let mut zeros = best.clone();
            zeros[piece].fill(0);
            if let Some(found) = [shorter, mended]
                .into_iter()
                .find(|other| other.len() < best.len() && fails(other))
            {
                best = found;
            } else {
                if zeros != best && fails(&zeros) {
                    best = zeros;
                }
                at += size;
            }
        }
        size /= 2;
    }
    best
}
