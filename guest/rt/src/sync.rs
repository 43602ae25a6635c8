//! A spin lock, and a cell for memory whose users are serialised by other means.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// A lock that spins. Not for use in interrupt handlers.
pub struct SpinLock<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only by the one holder of the lock.
unsafe impl<T: Send> Sync for SpinLock<T> {}

/// Access to a locked value; unlocks when dropped. It may be shared between processors only where a `&mut T` may: the lock's
/// own `Sync` says more.
pub struct SpinGuard<'a, T>(&'a SpinLock<T>, PhantomData<&'a mut T>);

impl<T> SpinLock<T> {
    /// An unlocked value.
    pub const fn new(value: T) -> SpinLock<T> {
        SpinLock {
            locked: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock.
    pub fn lock(&self) -> SpinGuard<'_, T> {
        while self
            .locked
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            core::hint::spin_loop();
        }
        SpinGuard(self, PhantomData)
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: a guard exists only while its lock is held, so there is no other reference.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` keeps this guard from handing out a second reference.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

/// Memory that is reached only through raw pointers: tables that the processor reads, pages of the pool.
#[repr(C, align(4096))]
pub struct RawCell<T>(UnsafeCell<T>);

// SAFETY: it gives out raw pointers only; their users argue for themselves.
unsafe impl<T> Sync for RawCell<T> {}

impl<T> RawCell<T> {
    /// A cell with this value.
    pub const fn new(value: T) -> RawCell<T> {
        RawCell(UnsafeCell::new(value))
    }

    /// The value's address.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}
