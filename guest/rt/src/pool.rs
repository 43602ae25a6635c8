//! Pages of the payload's own image, for page tables, stacks, VMSAs, calling areas and shared buffers. They are
//! launched with the image, so they are private, validated and zero at the start.

use crate::sync::{RawCell, SpinLock};

/// Pages in the pool.
pub const PAGES: usize = 320;

static POOL: RawCell<[[u8; 4096]; PAGES]> = RawCell::new([[0; 4096]; PAGES]);

struct Pool {
    used: [bool; PAGES],
}

static STATE: SpinLock<Pool> = SpinLock::new(Pool {
    used: [false; PAGES],
});

/// The pool's first GPA; its pages follow.
pub fn base() -> u64 {
    POOL.get() as u64
}

/// Takes `count` adjacent pages. Their contents are zero unless they were freed and not cleared. None when the pool is
/// exhausted.
pub fn allocate(count: usize) -> Option<u64> {
    let mut pool = STATE.lock();
    let first = (0..=PAGES.checked_sub(count)?)
        .find(|&first| pool.used[first..first + count].iter().all(|used| !used))?;
    pool.used[first..first + count].fill(true);
    Some(base() + first as u64 * 4096)
}

/// Takes `count` adjacent pages.
///
/// # Panics
/// When the pool is exhausted: the payload needs a bigger one.
pub fn pages(count: usize) -> u64 {
    match allocate(count) {
        Some(gpa) => gpa,
        None => panic!("page pool exhausted ({count} adjacent pages wanted)"),
    }
}

/// Takes one page that is not 2 MiB aligned, as KVM demands of a VMSA.
pub fn vmsa_page() -> u64 {
    let page = pages(1);
    if !page.is_multiple_of(snp_abi::LARGE_PAGE_SIZE) {
        return page;
    }
    pages(1)
}

/// Gives pages back. They must be private and valid.
pub fn free(gpa: u64, count: usize) {
    let first = (gpa.wrapping_sub(base()) / 4096) as usize;
    if let Some(used) = STATE.lock().used.get_mut(first..first + count) {
        used.fill(false);
    }
}

/// Fills a page with zeros.
///
/// # Safety
/// Nothing else may be using the page.
pub unsafe fn clear(gpa: u64) {
    // SAFETY: the caller vouches that the page is free; the pool is identity mapped.
    unsafe { (gpa as *mut [u8; 4096]).write_bytes(0, 1) };
}
