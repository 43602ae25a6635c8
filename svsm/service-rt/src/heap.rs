//! The heap: dlmalloc, on pages that the kernel maps one behind the other as they are needed and never takes back.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use dlmalloc::Dlmalloc;
use service_abi::layout::PAGE_SIZE;

use crate::call;

/// The heap grows by multiples of this many bytes.
const STEP: usize = 4 * PAGE_SIZE as usize;

/// Bytes that the kernel mapped so far.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// Bytes of the heap that are mapped, used or not: the most it ever needed.
pub fn bytes() -> usize {
    MAPPED.load(Ordering::Relaxed)
}

/// The kernel as dlmalloc's source of memory.
struct Pages;

// SAFETY: `alloc` returns pages that the kernel has just mapped, zeroed, for this alone, and that stay; all else is refused.
unsafe impl dlmalloc::Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let pages = size.div_ceil(PAGE_SIZE as usize);
        let Some(address) = call::heap(pages as u64) else {
            return (ptr::null_mut(), 0, 0);
        };
        let size = pages * PAGE_SIZE as usize;
        MAPPED.fetch_add(size, Ordering::Relaxed);
        (ptr::with_exposed_provenance_mut(address as usize), size, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE_SIZE as usize
    }
}

struct Heap(UnsafeCell<Dlmalloc<Pages>>);

// SAFETY: a service has one thread.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(
    const {
        let mut heap = Dlmalloc::new_with_allocator(Pages);
        assert!(heap.set_granularity(STEP));
        heap
    },
));

// SAFETY: dlmalloc is an allocator. The exclusive reference is the only one: there is one thread, nothing interrupts it with
// code of the service, and dlmalloc calls only `Pages`, which does not allocate. The caller's promises are passed on.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: above.
        unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: above.
        unsafe { (*self.0.get()).free(pointer, layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: above.
        unsafe { (*self.0.get()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: above.
        unsafe { (*self.0.get()).realloc(pointer, layout.size(), layout.align(), size) }
    }
}
