//! The ways in which shared state is made: written once during boot, behind a lock, or held by one CPU at a time.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};
use svsm_core::sync::{Gate, GateGuard, Latch};

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
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a guard only, of which there is one at a time; it moves between CPUs, hence Send.
unsafe impl<T: Send> Sync for SpinLock<T> {}

/// Holds a [`SpinLock`]. It is to be shared between CPUs only where a `&mut T` is: the lock's own `Sync` would say more.
pub struct Guard<'a, T>(&'a SpinLock<T>, PhantomData<&'a mut T>);

impl<T> SpinLock<T> {
    /// A free lock.
    pub const fn new(value: T) -> SpinLock<T> {
        SpinLock {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock.
    pub fn lock(&self) -> Guard<'_, T> {
        while self.taken.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        Guard(self, PhantomData)
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard is the only one there is.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only one there is, and it is borrowed mutably.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}

/// A value that one CPU holds at a time; the others do not wait.
pub struct Exclusive<T> {
    gate: Gate,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a hold only, of which the gate gives out one at a time (modelled in `svsm_core`); it
// moves between CPUs, hence Send.
unsafe impl<T: Send> Sync for Exclusive<T> {}

/// Holds an [`Exclusive`].
pub struct Hold<'a, T> {
    value: &'a UnsafeCell<T>,
    _gate: GateGuard<'a>,
}

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
        Some(Hold {
            _gate: self.gate.try_enter()?,
            value: &self.value,
        })
    }
}

impl<T> Deref for Hold<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the hold is the only one there is.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for Hold<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the hold is the only one there is, and it is borrowed mutably.
        unsafe { &mut *self.value.get() }
    }
}
