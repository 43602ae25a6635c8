//! Frames of the SVSM's own memory, and what is made of them. Nothing is ever given back: all allocation happens during
//! boot, and every request can fail.

use super::page_table::{Access, PageTables};
use crate::arch::descriptors::EXCEPTION_STACKS;
use crate::arch::sync::SpinLock;
use boot_abi::layout::{KERNEL_VIRTUAL_BASE, SVSM_BASE};
use core::sync::atomic::{AtomicU64, Ordering};
use snp_abi::PAGE_SIZE;
use svsm_core::frames::FrameBitmap;

/// Guest-physical address of the SVSM's memory.
static BASE: AtomicU64 = AtomicU64::new(SVSM_BASE);

/// Says where the SVSM's memory is. First of all.
pub fn set_base(base: u64) {
    BASE.store(base, Ordering::Relaxed);
}

/// Where the SVSM's memory is.
pub fn base() -> u64 {
    BASE.load(Ordering::Relaxed)
}

/// Where stacks are mapped.
const STACKS: u64 = 0xFFFF_FFFF_C000_0000;

/// The SVSM's memory.
pub(super) struct Memory {
    pub frames: FrameBitmap,
    pub tables: PageTables,
    /// Where the next stack's guard page goes.
    next_stack: u64,
}

/// The only one there is.
pub(super) static MEMORY: SpinLock<Memory> = SpinLock::new(Memory {
    frames: FrameBitmap::new(),
    tables: PageTables::none(),
    next_stack: STACKS,
});

/// The SVSM's memory does not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl core::fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the SVSM's memory does not suffice")
    }
}

/// A frame's number in the SVSM's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame(pub usize);

impl Frame {
    /// Where the kernel has it mapped.
    pub const fn va(self) -> u64 {
        KERNEL_VIRTUAL_BASE + self.0 as u64 * PAGE_SIZE
    }

    /// Its guest-physical address.
    pub fn gpa(self) -> u64 {
        base() + self.0 as u64 * PAGE_SIZE
    }
}

/// Clears frames that were just allocated: PVALIDATE leaves what was there.
fn clear(first: Frame, count: usize) {
    // SAFETY: the frames are validated, mapped writable, and nobody's but the caller's.
    unsafe { core::ptr::write_bytes(first.va() as *mut u8, 0, count * PAGE_SIZE as usize) };
}

impl Memory {
    /// Frames that follow each other, all zero.
    pub fn allocate(&mut self, count: usize) -> Result<Frame, OutOfMemory> {
        let first = Frame(self.frames.allocate(count).ok_or(OutOfMemory)?);
        clear(first, count);
        Ok(first)
    }

    /// A frame that is fit for a VMSA, all zero.
    pub fn allocate_vmsa(&mut self) -> Result<Frame, OutOfMemory> {
        let frame = Frame(self.frames.allocate_vmsa().ok_or(OutOfMemory)?);
        clear(frame, 1);
        Ok(frame)
    }

    /// Maps one page.
    pub fn map(&mut self, va: u64, gpa: u64, size: u64, access: Access) -> Result<(), OutOfMemory> {
        // The table frames come from the same bitmap, hence the split borrow.
        let frames = &mut self.frames;
        self.tables.map(va, gpa, size, access, || {
            let frame = Frame(frames.allocate(1)?);
            clear(frame, 1);
            Some(frame)
        })
    }
}

/// A slice for good, its elements made by `make`. Starts at a page.
pub fn allocate_slice<T>(
    len: usize,
    mut make: impl FnMut(usize) -> T,
) -> Result<&'static mut [T], OutOfMemory> {
    const { assert!(align_of::<T>() <= PAGE_SIZE as usize) };
    let bytes = len.checked_mul(size_of::<T>()).ok_or(OutOfMemory)?;
    if bytes == 0 {
        return Ok(&mut []);
    }
    let count = bytes.div_ceil(PAGE_SIZE as usize);
    let first = MEMORY.lock().allocate(count)?;
    let start = first.va() as *mut T;
    for i in 0..len {
        // SAFETY: element i lies within the frames just allocated, which are nobody else's.
        unsafe { start.add(i).write(make(i)) };
    }
    // SAFETY: all elements are initialised; the frames are never given back nor handed out again.
    Ok(unsafe { core::slice::from_raw_parts_mut(start, len) })
}

/// Shadow stacks of one CPU: addresses of their tokens.
#[derive(Clone, Copy, Debug)]
pub struct ShadowStacks {
    /// For what the CPU does in ring 0.
    pub main: u64,
    /// For the moment after an entry from ring 3.
    pub entry: u64,
    /// Address of the table of those that belong to exception stacks.
    pub table: u64,
}

/// Bytes of the page for entries: of its table, and of each shadow stack in it.
const TABLE_BYTES: u64 = 64;
const ENTRY_BYTES: u64 = 192;
const EXCEPTION_BYTES: u64 = 1280;
const _: () =
    assert!(TABLE_BYTES + ENTRY_BYTES + EXCEPTION_STACKS as u64 * EXCEPTION_BYTES <= PAGE_SIZE);

/// Shadow stacks for a CPU: a page for its main one, a page for the others, each above one that is not mapped. Nothing else can
/// write them, under no address.
pub fn new_shadow_stacks() -> Result<ShadowStacks, OutOfMemory> {
    let mut memory = MEMORY.lock();
    let pages = [memory.allocate(1)?, memory.allocate(1)?];
    let [main, others] = [1, 3].map(|page| memory.next_stack + page * PAGE_SIZE);
    memory.next_stack = others + PAGE_SIZE;
    // A token is the address where it lies: the last word of each. The table has one for each exception stack, from 1 on.
    let entry = others + TABLE_BYTES + ENTRY_BYTES - 8;
    let exceptions: [u64; EXCEPTION_STACKS] =
        core::array::from_fn(|i| entry + (i as u64 + 1) * EXCEPTION_BYTES);
    let main_token = main + PAGE_SIZE - 8;
    let put = |page: Frame, offset: u64, value: u64| {
        let to = (page.va() + offset) as *mut u64;
        // SAFETY: within a page that was just allocated and is mapped nowhere else yet.
        unsafe { to.write_volatile(value) };
    };
    put(pages[0], main_token - main, main_token);
    put(pages[1], entry - others, entry);
    for (i, token) in exceptions.into_iter().enumerate() {
        put(pages[1], token - others, token);
        put(pages[1], (i as u64 + 1) * 8, token);
    }
    for (page, va) in pages.into_iter().zip([main, others]) {
        memory.map(page.va(), page.gpa(), PAGE_SIZE, Access::ReadOnly)?;
        memory.map(va, page.gpa(), PAGE_SIZE, Access::ShadowStack)?;
    }
    Ok(ShadowStacks {
        main: main_token,
        entry,
        table: others,
    })
}

/// A stack of this many pages above a page that is not mapped: the address where it starts, downwards.
pub fn new_stack(pages: usize) -> Result<u64, OutOfMemory> {
    let mut memory = MEMORY.lock();
    let first = memory.allocate(pages)?;
    let bottom = memory.next_stack + PAGE_SIZE;
    let top = bottom + pages as u64 * PAGE_SIZE;
    memory.next_stack = top;
    for page in 0..pages {
        let va = bottom + page as u64 * PAGE_SIZE;
        memory.map(
            va,
            Frame(first.0 + page).gpa(),
            PAGE_SIZE,
            Access::ReadWrite,
        )?;
    }
    Ok(top)
}

/// Whether an address is within the stacks made so far.
pub(super) fn is_stack(va: u64) -> bool {
    // All of the window: a report may be made while the lock is held, and addresses that are not mapped fault safely.
    (STACKS..STACKS + (1 << 29)).contains(&va)
}

/// KiB of the SVSM's memory that are free.
pub fn free_kib() -> u64 {
    MEMORY.lock().frames.free_frames() as u64 * PAGE_SIZE / 1024
}
