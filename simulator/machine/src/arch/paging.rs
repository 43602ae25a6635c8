//! The machine's own page tables: its image at its link address, all of memory in the direct map.

use super::frames;
use super::lock::SpinLock;
use super::phys::{DIRECT_MAP_INITIAL, DIRECT_MAP_LIMIT, virt};
use core::arch::asm;

const PRESENT_WRITE: u64 = 3;
const LARGE: u64 = 0x80;
const GIB: u64 = 1 << 30;
const LARGE_PAGE: u64 = 2 << 20;
const DIRECT_MAP_SLOT: usize = 256;
/// The image is linked this far above the start of the top 2 GiB.
const IMAGE_OFFSET: u64 = 0x20_0000;

static ROOT: SpinLock<u64> = SpinLock::new(0);

/// # Safety
/// `table` must be the physical address of a page-table page of the machine, reachable at `window` + `table`.
unsafe fn set(window: u64, table: u64, index: usize, entry: u64) {
    assert!(index < 512);
    // SAFETY: a page table of ours, says the caller.
    unsafe {
        ((window + table) as *mut u64)
            .add(index)
            .write_volatile(entry)
    }
}

/// Builds page tables from frames starting at `next` that map the image to `image` and returns the root and the first
/// free frame. Runs on the first page tables, whose direct map has the low 4 GiB.
///
/// # Safety
/// The frames from `next` on (16 of them) must be free.
pub unsafe fn build(image: u64, image_bytes: u64, mut next: u64) -> (u64, u64) {
    let mut frame = || {
        let frame = next;
        // SAFETY: free, says the caller.
        unsafe { super::phys::zero(frame, 4096) };
        next += 4096;
        frame
    };
    let window = virt(0);
    let root = frame();
    let high_pdpt = frame();
    let high_pd = frame();
    // SAFETY: all of these are frames taken just now.
    unsafe {
        set(window, root, 511, high_pdpt | PRESENT_WRITE);
        set(window, high_pdpt, 510, high_pd | PRESENT_WRITE);
        for i in 0..image_bytes.div_ceil(LARGE_PAGE) {
            let index = ((IMAGE_OFFSET / LARGE_PAGE) + i) as usize;
            set(
                window,
                high_pd,
                index,
                (image + i * LARGE_PAGE) | PRESENT_WRITE | LARGE,
            );
        }
        for slot in 0..(DIRECT_MAP_INITIAL >> 39) {
            let pdpt = frame();
            for i in 0..512 {
                let base = (slot << 39) + i * GIB;
                set(window, pdpt, i as usize, base | PRESENT_WRITE | LARGE);
            }
            set(
                window,
                root,
                DIRECT_MAP_SLOT + slot as usize,
                pdpt | PRESENT_WRITE,
            );
            if slot == 0 {
                // Identity, for the trampoline of the other processors; `drop_identity` takes it away.
                set(window, root, 0, pdpt | PRESENT_WRITE);
            }
        }
    }
    *ROOT.lock() = root;
    (root, next)
}

/// Unmaps the low addresses, so that a null pointer faults.
pub fn drop_identity() {
    let root = ROOT.lock();
    // SAFETY: the root is ours; nothing runs at low addresses any more.
    unsafe {
        set(virt(0), *root, 0, 0);
        asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags));
    }
}

/// Where device memory at `hpa` is mapped; adds to the direct map what it lacks.
pub fn map_device(hpa: u64) -> Option<u64> {
    if hpa < DIRECT_MAP_INITIAL {
        return Some(virt(hpa));
    }
    if hpa >= DIRECT_MAP_LIMIT {
        return None;
    }
    let root = ROOT.lock();
    let slot = hpa >> 39;
    let index = DIRECT_MAP_SLOT + slot as usize;
    // SAFETY: the root is ours.
    let present = unsafe { ((virt(*root)) as *const u64).add(index).read_volatile() } & 1 != 0;
    if !present {
        let pdpt = frames::allocate(1)?;
        for i in 0..512 {
            let base = (slot << 39) + i * GIB;
            // SAFETY: a frame taken just now.
            unsafe { set(virt(0), pdpt, i as usize, base | PRESENT_WRITE | LARGE) };
        }
        // SAFETY: the root is ours; an entry that was absent needs no TLB flush.
        unsafe { set(virt(0), *root, index, pdpt | PRESENT_WRITE) };
    }
    Some(virt(hpa))
}

/// The page-table root for CR3.
pub fn root() -> u64 {
    *ROOT.lock()
}

/// Copies the image and continues in the copy.
///
/// # Safety
/// `root` must map the copy at `to` where the image runs now, and `to` must be free memory.
pub unsafe fn relocate(from: u64, to: u64, bytes: u64, root: u64) {
    unsafe extern "sysv64" {
        fn relocate_image(to: u64, from: u64, quadwords: u64, root: u64);
    }
    // SAFETY: the caller's argument. The stack is part of the image and is copied with the return address on it.
    unsafe { relocate_image(virt(to), virt(from), bytes / 8, root) }
}

core::arch::global_asm!(
    r#"
.global relocate_image
relocate_image:
    mov rax, rcx
    mov rcx, rdx
    rep movsq
    mov cr3, rax
    ret
"#
);
