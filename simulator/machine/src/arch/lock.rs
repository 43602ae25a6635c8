//! A spin lock. The machine runs with interrupts off, and NMI handlers take no lock, so it cannot deadlock on one CPU.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// A value that one processor at a time may use.
pub struct SpinLock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the guard is the only way to the value, and there is one guard at a time.
unsafe impl<T: Send> Sync for SpinLock<T> {}

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
            while self.taken.load(Ordering::Relaxed) {
                super::cpu::relax();
            }
        }
        Guard::new(self)
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        // A guard is made only then: dropping one opens the lock, whoever holds it.
        (!self.taken.swap(true, Ordering::Acquire)).then(|| Guard::new(self))
    }
}

/// Access to a locked value. It may be shared between processors only where a `&mut T` may: the lock's own `Sync` says more.
pub struct Guard<'a, T> {
    lock: &'a SpinLock<T>,
    value: PhantomData<&'a mut T>,
}

impl<'a, T> Guard<'a, T> {
    /// For who has just taken the lock.
    fn new(lock: &'a SpinLock<T>) -> Guard<'a, T> {
        Guard {
            lock,
            value: PhantomData,
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard exists, so this processor holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists and is borrowed exclusively, so this processor alone uses the value.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.taken.store(false, Ordering::Release);
    }
}

/// A value written once at start-up, before the other processors run, and only read afterwards.
pub struct Once<T> {
    claimed: AtomicBool,
    ready: AtomicBool,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: after `ready` the value is only read; before it only the one caller of `set` that claimed it touches it.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    /// Not set yet.
    pub const fn new() -> Once<T> {
        Once {
            claimed: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            value: UnsafeCell::new(None),
        }
    }

    /// Sets the value; a second call panics.
    pub fn set(&self, value: T) {
        assert!(!self.claimed.swap(true, Ordering::AcqRel), "set twice");
        // SAFETY: claimed by this call alone, and not ready, so nobody reads.
        unsafe { *self.value.get() = Some(value) };
        self.ready.store(true, Ordering::Release);
    }

    /// The value; panics before it is set.
    pub fn get(&self) -> &T {
        self.try_get().expect("used before start-up set it")
    }

    /// The value, if it is set.
    pub fn try_get(&self) -> Option<&T> {
        if !self.ready.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: ready, so nobody writes any more.
        unsafe { (*self.value.get()).as_ref() }
    }
}
