//! The heap: memory is handed out from the front, and only what was handed out last is taken back, which is enough for a
//! program that runs for a second.
//!
//! It starts with a small part of the image, for the memory map; [`extend`] adds RAM once there is some.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;

use guest_rt::sync::{RawCell, SpinLock};
use shim_core::range::{Range, align_up};

use crate::ram::Claim;

const FIRST_SIZE: usize = 128 * 1024;

static FIRST: RawCell<[u8; FIRST_SIZE]> = RawCell::new([0; FIRST_SIZE]);

struct Heap(SpinLock<Option<Range>>);

#[global_allocator]
static HEAP: Heap = Heap(SpinLock::new(None));

/// From here on memory comes from the claimed range. What was allocated before stays where it is.
pub fn extend(claim: Claim) {
    *HEAP.0.lock() = Some(claim.leak());
}

// SAFETY: every allocation is cut from the front of a range that is mapped, private, valid, and nobody else's, and the
// range grows again only by what its last owner gave back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.0.lock();
        let start = FIRST.get() as u64;
        let left = heap.unwrap_or(Range::new(start, start + FIRST_SIZE as u64));
        let place = align_up(left.start, layout.align() as u64)
            .and_then(|start| Range::sized(start, layout.size() as u64))
            .filter(|place| place.end <= left.end);
        match place {
            Some(place) => {
                *heap = Some(Range::new(place.end, left.end));
                place.start as *mut u8
            }
            None => null_mut(),
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // What was taken last is given back: short-lived lists, one after the other, cost nothing.
        let mut heap = self.0.lock();
        if let Some(left) = &mut *heap
            && at as u64 + layout.size() as u64 == left.start
        {
            left.start = at as u64;
        }
    }
}
