//! The allocator behind `alloc`, for the image loader's lists. It takes chunks from the machine's frames and gives nothing
//! back; all of it is used during start-up.

use super::lock::SpinLock;
use super::{frames, phys};
use core::alloc::{GlobalAlloc, Layout};

const CHUNK: u64 = 256 * 1024;

struct Heap(SpinLock<(u64, u64)>);

#[global_allocator]
static HEAP: Heap = Heap(SpinLock::new((0, 0)));

// SAFETY: every call hands out a part of a chunk that no other call gets; nothing is taken back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Frames are aligned to no more than their size.
        if layout.align() > 4096 {
            return core::ptr::null_mut();
        }
        let mut chunk = self.0.lock();
        let bytes = layout.size() as u64;
        let mut start = chunk.0.next_multiple_of(layout.align() as u64);
        if start + bytes > chunk.1 {
            let size = bytes.max(CHUNK).next_multiple_of(4096);
            let Some(hpa) = frames::allocate(size / 4096) else {
                return core::ptr::null_mut();
            };
            start = phys::virt(hpa);
            chunk.1 = start + size;
        }
        chunk.0 = start + bytes;
        start as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
