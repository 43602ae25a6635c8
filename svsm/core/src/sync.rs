//! The lock that orders SVSM calls, the states behind the kernel's cells, and the atomics that everything shared here is
//! made of.
//!
//! The lock guards no data of its own (what is shared is atomic), so it needs no `unsafe`. It is never waited for
//! without bound: the caller answers BUSY and the guest calls again (58019 §5.1), so that a vCPU which the host does
//! not schedule while it holds the lock cannot hang the others inside the SVSM.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::mistake::{Mistake, made, ordering};

/// Attempts before a call is answered with BUSY.
#[cfg(not(loom))]
const ATTEMPTS: u32 = 10_000;
#[cfg(loom)]
const ATTEMPTS: u32 = 2;

const WRITER: u32 = 1 << 31;

/// Many readers or one writer; both give up after a bounded number of attempts.
#[derive(Debug)]
pub struct CallLock {
    /// Number of readers, or [`WRITER`].
    state: AtomicU32,
}

/// Shared hold on a [`CallLock`].
#[derive(Debug)]
#[must_use]
pub struct ReadGuard<'a>(&'a CallLock);

/// Exclusive hold on a [`CallLock`].
#[derive(Debug)]
#[must_use]
pub struct WriteGuard<'a>(&'a CallLock);

impl CallLock {
    /// A free lock.
    #[cfg(not(loom))]
    pub const fn new() -> CallLock {
        CallLock {
            state: AtomicU32::new(0),
        }
    }

    /// A free lock.
    #[cfg(loom)]
    pub fn new() -> CallLock {
        CallLock {
            state: AtomicU32::new(0),
        }
    }

    /// Takes the lock together with other readers; `None` after too many attempts.
    pub fn read(&self) -> Option<ReadGuard<'_>> {
        let see = ordering(Mistake::LockRelaxed, Ordering::Acquire);
        for _ in 0..ATTEMPTS {
            let state = self.state.load(Ordering::Relaxed);
            if state & WRITER == 0
                && self
                    .state
                    .compare_exchange(state, state + 1, see, Ordering::Relaxed)
                    .is_ok()
            {
                return Some(ReadGuard(self));
            }
            pause();
        }
        None
    }

    /// Takes the lock alone; `None` after too many attempts.
    pub fn write(&self) -> Option<WriteGuard<'_>> {
        let see = ordering(Mistake::LockRelaxed, Ordering::Acquire);
        for _ in 0..ATTEMPTS {
            if self
                .state
                .compare_exchange(0, WRITER, see, Ordering::Relaxed)
                .is_ok()
                || made(Mistake::LockUnchecked)
            {
                return Some(WriteGuard(self));
            }
            pause();
        }
        None
    }
}

impl Default for CallLock {
    fn default() -> Self {
        CallLock::new()
    }
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        let publish = ordering(Mistake::UnlockRelaxed, Ordering::Release);
        self.0.state.fetch_sub(1, publish);
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        let publish = ordering(Mistake::UnlockRelaxed, Ordering::Release);
        self.0.state.store(0, publish);
    }
}

/// One holder at a time; whoever finds it held goes away at once. What a vCPU holds while it runs a service.
///
/// Like [`CallLock`] it guards no data of its own: who has entered sees all that the holder before did.
#[derive(Debug)]
pub struct Gate {
    /// 1 while somebody is inside.
    inside: AtomicU32,
}

/// Hold on a [`Gate`].
#[derive(Debug)]
#[must_use]
pub struct GateGuard<'a>(&'a Gate);

impl Gate {
    /// A free gate.
    #[cfg(not(loom))]
    pub const fn new() -> Gate {
        Gate {
            inside: AtomicU32::new(0),
        }
    }

    /// A free gate.
    #[cfg(loom)]
    pub fn new() -> Gate {
        Gate {
            inside: AtomicU32::new(0),
        }
    }

    /// Enters, unless somebody is inside.
    pub fn try_enter(&self) -> Option<GateGuard<'_>> {
        let see = ordering(Mistake::LockRelaxed, Ordering::Acquire);
        let taken = self.inside.compare_exchange(0, 1, see, Ordering::Relaxed);
        // A guard is made only now: dropping one opens the gate, whoever holds it.
        taken.ok().map(|_| GateGuard(self))
    }
}

impl Default for Gate {
    fn default() -> Self {
        Gate::new()
    }
}

impl Drop for GateGuard<'_> {
    fn drop(&mut self) {
        let publish = ordering(Mistake::UnlockRelaxed, Ordering::Release);
        self.0.inside.store(0, publish);
    }
}

/// One holder at a time; others wait. For the few instructions that must not be left out and take a bounded time.
///
/// What is taken while it is held, and what may not be, says the order of locks in `docs/src/soundness.md`.
#[derive(Debug)]
pub struct Spin {
    /// 1 while somebody holds it.
    held: AtomicU32,
}

/// Hold on a [`Spin`].
#[derive(Debug)]
#[must_use]
pub struct SpinGuard<'a>(&'a Spin);

impl Spin {
    /// Free.
    #[cfg(not(loom))]
    pub const fn new() -> Spin {
        Spin {
            held: AtomicU32::new(0),
        }
    }

    /// Free.
    #[cfg(loom)]
    pub fn new() -> Spin {
        Spin {
            held: AtomicU32::new(0),
        }
    }

    /// Waits until it is free.
    pub fn lock(&self) -> SpinGuard<'_> {
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            pause();
        }
    }

    /// Takes it, if it is free.
    pub fn try_lock(&self) -> Option<SpinGuard<'_>> {
        let see = ordering(Mistake::LockRelaxed, Ordering::Acquire);
        let taken = self
            .held
            .compare_exchange(0, 1, see, Ordering::Relaxed)
            .is_ok();
        // A guard is made only now: dropping one opens the lock, whoever holds it.
        taken.then(|| SpinGuard(self))
    }
}

impl Default for Spin {
    fn default() -> Self {
        Spin::new()
    }
}

impl Drop for SpinGuard<'_> {
    fn drop(&mut self) {
        let publish = ordering(Mistake::UnlockRelaxed, Ordering::Release);
        self.0.held.store(0, publish);
    }
}

/// The state of a value that is set once and then only read.
///
/// It holds no value: the kernel's cell does. Who fills it is alone with the cell; who finds it set sees all that was done
/// before it was set, and nobody writes any more.
#[derive(Debug)]
pub struct Latch {
    /// [`EMPTY`], then [`FILLING`], then [`SET`].
    state: AtomicU32,
}

const EMPTY: u32 = 0;
const FILLING: u32 = 1;
const SET: u32 = 2;

/// Who fills the value. Dropped without [`Filling::set`], it stays without one for good.
#[derive(Debug)]
#[must_use]
pub struct Filling<'a>(&'a Latch);

impl Latch {
    /// Not yet set.
    #[cfg(not(loom))]
    pub const fn new() -> Latch {
        Latch {
            state: AtomicU32::new(EMPTY),
        }
    }

    /// Not yet set.
    #[cfg(loom)]
    pub fn new() -> Latch {
        Latch {
            state: AtomicU32::new(EMPTY),
        }
    }

    /// The right to fill the value: there is one.
    pub fn fill(&self) -> Option<Filling<'_>> {
        if made(Mistake::LatchFilledTwice) {
            let empty = self.state.load(Ordering::Acquire) == EMPTY;
            self.state.store(FILLING, Ordering::Relaxed);
            return empty.then_some(Filling(self));
        }
        self.state
            .compare_exchange(EMPTY, FILLING, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| Filling(self))
    }

    /// Whether the value is there for all to read.
    pub fn is_set(&self) -> bool {
        self.state.load(Ordering::Acquire) == SET
    }
}

impl Default for Latch {
    fn default() -> Self {
        Latch::new()
    }
}

impl Filling<'_> {
    /// The value is complete.
    pub fn set(self) {
        let publish = ordering(Mistake::LatchSetRelaxed, Ordering::Release);
        self.0.state.store(SET, publish);
    }
}

pub(crate) fn pause() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let lock = CallLock::new();
        let first = lock.read().unwrap();
        let second = lock.read().unwrap();
        assert!(lock.write().is_none());
        drop(first);
        assert!(lock.write().is_none());
        drop(second);
        let writer = lock.write().unwrap();
        assert!(lock.read().is_none());
        assert!(lock.write().is_none());
        drop(writer);
        assert!(lock.read().is_some());
    }

    #[test]
    fn a_spin_lock_has_one_holder() {
        let spin = Spin::new();
        let held = spin.lock();
        assert!(spin.try_lock().is_none());
        assert!(
            spin.try_lock().is_none(),
            "an attempt does not open the lock"
        );
        drop(held);
        drop(spin.lock());
        assert!(spin.try_lock().is_some());
    }

    #[test]
    fn a_latch_is_filled_once() {
        let latch = Latch::new();
        let filling = latch.fill().unwrap();
        assert!(!latch.is_set() && latch.fill().is_none());
        filling.set();
        assert!(latch.is_set() && latch.fill().is_none());
    }

    #[test]
    fn a_gate_has_one_holder() {
        let gate = Gate::new();
        let inside = gate.try_enter().unwrap();
        for _ in 0..3 {
            assert!(
                gate.try_enter().is_none(),
                "an attempt does not open the gate"
            );
        }
        drop(inside);
        assert!(gate.try_enter().is_some());
        assert!(gate.try_enter().is_some(), "the guard was dropped at once");
    }
}

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, loom))]
mod order;
