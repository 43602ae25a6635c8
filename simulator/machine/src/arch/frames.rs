//! The machine's own memory: frames of the reserve at the top of low RAM, handed out once and never taken back.

use super::lock::SpinLock;
use super::phys;

struct Reserve {
    next: u64,
    end: u64,
}

static RESERVE: SpinLock<Reserve> = SpinLock::new(Reserve { next: 0, end: 0 });

/// Gives the allocator its frames.
pub fn init(next: u64, end: u64) {
    *RESERVE.lock() = Reserve { next, end };
}

/// Takes `count` contiguous zeroed frames; their physical address.
pub fn allocate(count: u64) -> Option<u64> {
    allocate_aligned(count, 4096)
}

/// The same, at a multiple of `alignment` (a power of two).
pub fn allocate_aligned(count: u64, alignment: u64) -> Option<u64> {
    let mut reserve = RESERVE.lock();
    let start = reserve.next.next_multiple_of(alignment);
    let end = start.checked_add(count.checked_mul(4096)?)?;
    if end > reserve.end {
        return None;
    }
    reserve.next = end;
    drop(reserve);
    // SAFETY: frames that were never handed out hold nothing.
    unsafe { phys::zero(start, (count * 4096) as usize) };
    Some(start)
}

/// Frames left.
pub fn free() -> u64 {
    let reserve = RESERVE.lock();
    (reserve.end - reserve.next) / 4096
}

/// Takes memory for `count` values that are all zero bits and leaks it.
///
/// # Safety
/// All-zero bytes must be a valid `T`.
pub unsafe fn allocate_slice<T>(count: usize) -> Option<&'static mut [T]> {
    let bytes = count.checked_mul(size_of::<T>())? as u64;
    let hpa = allocate(bytes.div_ceil(4096))?;
    // SAFETY: fresh frames, page aligned, zeroed, never handed out again.
    Some(unsafe { core::slice::from_raw_parts_mut(phys::virt(hpa) as *mut T, count) })
}

/// Takes memory for one value that may be all zero bits, and leaks it.
pub fn allocate_value<T: zerocopy::FromZeros>() -> Option<&'static mut T> {
    // SAFETY: `FromZeros` says that zero bytes are a valid value.
    unsafe { allocate_slice(1) }?.first_mut()
}
