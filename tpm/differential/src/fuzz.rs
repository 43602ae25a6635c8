//! Mutated commands to the engine alone: it must neither panic nor hang, and its memory must not grow.
//!
//! The workspace's profiles abort on a panic. So the commands since the engine was made are kept, and a panic hook
//! (or the watchdog that waits for a command to end) writes them to a file, one in hex a line.

use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::backend::{Backend, Engine};
use crate::rng::Rng;
use crate::scenario::Generator;
use crate::side::Side;
use crate::step::Action;

/// A command must end after so many milliseconds.
const LONGEST_MS: u64 = 10_000;
/// Heap that the engine may have.
pub const MOST_HEAP: usize = 1 << 20;
/// Actions of one engine.
const LIFE: usize = 3000;

static HISTORY: Mutex<Vec<(u8, Vec<u8>)>> = Mutex::new(Vec::new());
/// Milliseconds since the first command, plus 1, at which the running command began; 0 while none runs.
static RUNNING: AtomicU64 = AtomicU64::new(0);

/// What the engine did with the heap.
#[derive(Debug, Default)]
pub struct Heap {
    now: Cell<usize>,
    peak: Cell<usize>,
    commands: Cell<u64>,
    slowest: Cell<Duration>,
}

impl Heap {
    /// The most bytes that the engine had.
    pub fn peak(&self) -> usize {
        self.peak.get()
    }

    /// The bytes that the engine has.
    pub fn now(&self) -> usize {
        self.now.get()
    }
}

/// An engine whose heap is counted: what changes while it runs is its own, or its store's.
pub struct Measured {
    engine: Engine,
    heap: Rc<Heap>,
    allocated: fn() -> usize,
    start: Instant,
}

impl Measured {
    /// Manufactures an engine. `allocated` tells how much heap the process has.
    pub fn new(seed: u64, allocated: fn() -> usize) -> (Measured, Rc<Heap>) {
        let before = allocated();
        let mut engine = Engine::new(seed);
        engine.tpm.platform().count(allocated);
        let heap = Rc::new(Heap::default());
        heap.now.set(allocated().saturating_sub(before));
        heap.peak.set(heap.now.get());
        let measured = Measured {
            engine,
            heap: heap.clone(),
            allocated,
            start: Instant::now(),
        };
        (measured, heap)
    }

    fn watched<T>(&mut self, act: impl FnOnce(&mut Engine) -> T) -> T {
        let since = self.start.elapsed();
        RUNNING.store(millis() + 1, Ordering::Relaxed);
        let stored = self.engine.tpm.platform().own_heap();
        let before = (self.allocated)() as isize;
        let result = act(&mut self.engine);
        let after = (self.allocated)() as isize;
        let stored = self.engine.tpm.platform().own_heap() - stored;
        RUNNING.store(0, Ordering::Relaxed);
        let now = self
            .heap
            .now
            .get()
            .saturating_add_signed(after - before - stored);
        self.heap.now.set(now);
        self.heap.peak.set(self.heap.peak.get().max(now));
        self.heap.commands.set(self.heap.commands.get() + 1);
        let took = self.start.elapsed().saturating_sub(since);
        self.heap.slowest.set(self.heap.slowest.get().max(took));
        result
    }
}

impl Backend for Measured {
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        if let Ok(mut history) = HISTORY.lock() {
            history.push((locality, command.to_vec()));
        }
        let len = self.watched(|engine| engine.run(locality, command).len());
        let response = self.engine.response()[..len].to_vec();
        ensure!(len >= 10, "a response of {len} bytes");
        let size = u32::from_be_bytes([response[2], response[3], response[4], response[5]]);
        ensure!(
            size as usize == len,
            "a response of {len} bytes says {size}"
        );
        Ok(response)
    }

    fn power_cycle(&mut self) -> Result<()> {
        self.watched(|engine| engine.power_cycle())
    }

    fn hash_sequence(&mut self, data: &[Vec<u8>]) -> Result<()> {
        self.watched(|engine| engine.hash_sequence(data))
    }
}

fn millis() -> u64 {
    static START: Mutex<Option<Instant>> = Mutex::new(None);
    START.lock().map_or(0, |mut start| {
        start.get_or_insert_with(Instant::now).elapsed().as_millis() as u64
    })
}

fn write_reproducer(why: &str) {
    let mut text = String::new();
    for (locality, command) in HISTORY.lock().map(|it| it.clone()).unwrap_or_default() {
        let _ = write!(text, "{locality} ");
        command.iter().for_each(|byte| {
            let _ = write!(text, "{byte:02x}");
        });
        text.push('\n');
    }
    let path = std::env::temp_dir().join(format!("tpm-fuzz-{}.txt", std::process::id()));
    let written = std::fs::write(&path, text);
    eprintln!("{why}; the commands are in {}: {written:?}", path.display());
}

/// Throws commands at engines for `time`, and returns one line about it.
///
/// # Errors
/// A response that is malformed, or too much heap. A panic and a hang end the process.
pub fn fuzz(time: Duration, seed: u64, allocated: fn() -> usize) -> Result<String> {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        write_reproducer("a panic");
        before(info);
    }));
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let began = RUNNING.load(Ordering::Relaxed);
            if began != 0 && millis().saturating_sub(began) > LONGEST_MS {
                write_reproducer("a command does not end");
                std::process::exit(1);
            }
        }
    });
    let end = Instant::now() + time;
    let (mut engines, mut commands, mut peak, mut fresh) = (0, 0, 0, 0);
    let mut slowest = Duration::ZERO;
    while Instant::now() < end {
        let (measured, heap) = Measured::new(seed ^ engines, allocated);
        fresh = heap.now();
        live(measured, seed, engines, end)?;
        engines += 1;
        commands += heap.commands.get();
        peak = peak.max(heap.peak());
        slowest = slowest.max(heap.slowest.get());
        ensure!(
            peak <= MOST_HEAP,
            "the engine had {peak} bytes of heap, more than {MOST_HEAP}"
        );
        if let Ok(mut history) = HISTORY.lock() {
            history.clear();
        }
    }
    Ok(format!(
        "{commands} mutated commands to {engines} engines: no panic, no hang (the slowest took {slowest:.0?}), heap of an engine {fresh} bytes when new and {peak} at most (seed {seed})"
    ))
}

/// One engine's life.
fn live(measured: Measured, seed: u64, number: u64, end: Instant) -> Result<()> {
    let mut side = Side::new(Box::new(measured));
    let mut rng = Rng::new(seed, number ^ 0xF022);
    for action in Generator::new(seed, number, true).actions(LIFE) {
        if Instant::now() >= end {
            break;
        }
        let exchanges = side.act(&action)?;
        if !matches!(action, Action::Command(_)) {
            continue;
        }
        for exchange in exchanges {
            for _ in 0..rng.below(3) {
                let mut command = exchange.command.clone();
                spoil(&mut rng, &mut command);
                side.raw(rng.below(6) as u8, &command)?;
            }
        }
        if rng.chance(5) {
            let most = rng.pick(&[40, 40, 40, 40, 5000]);
            let bytes = rng.some_bytes(most);
            side.raw(0, &bytes)?;
        }
    }
    Ok(())
}

/// Any change at all.
fn spoil(rng: &mut Rng, command: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(3) {
        let len = command.len().max(1);
        let at = rng.below(len);
        match rng.below(7) {
            0 => command.truncate(at),
            1 => command.extend(rng.some_bytes(30)),
            2 => {
                let value = rng.pick(&[0, 1, 0x7F, 0x80, 0xFF]);
                command
                    .iter_mut()
                    .skip(at)
                    .take(2)
                    .for_each(|byte| *byte = value);
            }
            3 => {
                let to = rng.below(len);
                let piece: Vec<u8> = command.iter().skip(at).take(8).copied().collect();
                command.splice(to.min(command.len())..to.min(command.len()), piece);
            }
            4 => {
                let end = (at + 1 + rng.below(8)).min(command.len());
                command.drain(at.min(end)..end);
            }
            _ => {
                if let Some(byte) = command.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
    }
    if rng.chance(80) && command.len() >= 6 {
        let size = command.len() as u32;
        command[2..6].copy_from_slice(&size.to_be_bytes());
    }
    // A clear TPM is a dull one.
    if command.get(6..10) == Some(&[0, 0, 1, 0x26]) {
        command[9] = 0x7E;
    }
}
