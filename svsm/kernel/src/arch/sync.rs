//! The ways in which shared state is made: written once during boot, behind a lock, or held by one CPU at a time.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use svsm_core::sync::{Gate, GateGuard, Latch, Spin, SpinGuard};

/// A value that is set once and never changes after.
pub struct Once<T> {
    latch: Latch,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is written by the one whom the latch lets fill it, and read only when the latch is set (modelled in
// `svsm_core`). From then on all CPUs share it, hence T: Sync; it may have been made on another, hence T: Send.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    /// Not yet set.
    pub const fn new() -> Once<T> {
        Once {
            latch: Latch::new(),
            value: UnsafeCell::new(None),
        }
    }

    /// Sets the value and returns it; a second value is refused and given back.
    pub fn set(&self, value: T) -> Result<&T, T> {
        let Some(filling) = self.latch.fill() else {
            return Err(value);
        };
        // SAFETY: there is one right to fill, so nobody else writes, and nobody reads before the latch is set.
        let value = unsafe { (*self.value.get()).insert(value) };
        filling.set();
        Ok(value)
    }

    /// The value, once it is set.
    pub fn get(&self) -> Option<&T> {
        if self.latch.is_set() {
            // SAFETY: once the latch is set, nobody writes any more.
            unsafe { (*self.value.get()).as_ref() }
        } else {
            None
        }
    }
}

/// A lock that is waited for: during boot, or for a few instructions that cannot wait themselves.
pub struct SpinLock<T> {
    lock: Spin,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a hold only, of which the lock gives out one at a time (modelled in `svsm_core`); it
// moves between CPUs, hence Send.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A free lock.
    pub const fn new(value: T) -> SpinLock<T> {
        SpinLock {
            lock: Spin::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock.
    pub fn lock(&self) -> Held<'_, T, SpinGuard<'_>> {
        Held {
            _guard: self.lock.lock(),
            value: &self.value,
        }
    }
}

/// A value that one CPU holds at a time; the others do not wait.
pub struct Exclusive<T> {
    gate: Gate,
    value: UnsafeCell<T>,
}

// SAFETY: as for `SpinLock`.
unsafe impl<T: Send> Sync for Exclusive<T> {}

/// Holds an [`Exclusive`].
pub type Hold<'a, T> = Held<'a, T, GateGuard<'a>>;

impl<T> Exclusive<T> {
    /// A value that nobody holds.
    pub const fn new(value: T) -> Exclusive<T> {
        Exclusive {
            gate: Gate::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes hold of it, unless another CPU has it.
    pub fn try_hold(&self) -> Option<Hold<'_, T>> {
        Some(Held {
            _guard: self.gate.try_enter()?,
            value: &self.value,
        })
    }
}

/// Holds a value, as long as the guard does. It stays on its CPU: the cell makes it neither `Send` nor `Sync`.
pub struct Held<'a, T, G> {
    value: &'a UnsafeCell<T>,
    _guard: G,
}

impl<T, G> Deref for Held<'_, T, G> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: it is the only one there is, by the guard.
        unsafe { &*self.value.get() }
    }
}

impl<T, G> DerefMut for Held<'_, T, G> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: it is the only one there is, by the guard, and it is borrowed mutably.
        unsafe { &mut *self.value.get() }
    }
}
