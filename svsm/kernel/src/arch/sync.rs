//! The two ways in which static state is made: written once during boot, or behind a lock.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// A value that is set once and never changes after.
pub struct Once<T> {
    /// [`EMPTY`], then [`FILLING`], then [`SET`].
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
}

const EMPTY: u8 = 0;
const FILLING: u8 = 1;
const SET: u8 = 2;

// SAFETY: the value is written by whoever moved the state from EMPTY, once, and read only in state SET, which is stored
// after it (release) and loaded before it is read (acquire). From then on all CPUs share it, hence T: Sync; it may have
// been made on another, hence T: Send.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    /// Not yet set.
    pub const fn new() -> Once<T> {
        Once {
            state: AtomicU8::new(EMPTY),
            value: UnsafeCell::new(None),
        }
    }

    /// Sets the value and returns it; a second value is refused and given back.
    pub fn set(&self, value: T) -> Result<&T, T> {
        if self
            .state
            .compare_exchange(EMPTY, FILLING, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            return Err(value);
        }
        // SAFETY: the state is FILLING and was moved there by us, so nobody else writes, and nobody reads before SET.
        let value = unsafe { (*self.value.get()).insert(value) };
        self.state.store(SET, Ordering::Release);
        Ok(value)
    }

    /// The value, once it is set.
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) == SET {
            // SAFETY: in state SET nobody writes any more.
            unsafe { (*self.value.get()).as_ref() }
        } else {
            None
        }
    }
}

/// A lock that is waited for. For boot only: nothing that a guest can reach takes one.
pub struct SpinLock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a guard only, of which there is one at a time; it moves between CPUs, hence Send.
unsafe impl<T: Send> Sync for SpinLock<T> {}

/// Holds a [`SpinLock`].
pub struct Guard<'a, T>(&'a SpinLock<T>);

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
        Guard(self)
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
