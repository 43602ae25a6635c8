//! The SVSM's own pages: from launch to the final page tables, shared pages, VMSAs.

use super::OwnPageError;
use super::foreign::{FAULTED, UNCHANGED, foreign_pvalidate, foreign_rmpadjust, read_at};
use super::frames::{Frame, MEMORY, OutOfMemory, base};
use super::page_table::{Access, PageTables};
use crate::arch::cpu;
use boot_abi::layout::{KERNEL_VIRTUAL_BASE, SERVICES_OFFSET, SVSM_SIZE};
use core::arch::asm;
use core::ops::Range;
use snp_abi::rmp::result::FAIL_SIZEMISMATCH;
use snp_abi::vmsa::Vmsa;
use snp_abi::{PAGE_SIZE, PageSize, RmpPermissions, Vmpl};
use zerocopy::{FromBytes, IntoBytes};

unsafe extern "C" {
    static __text_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __boot_stack_guard: u8;
    static __early_frames_start: u8;
    static __early_frames_end: u8;
    static __image_end: u8;
}

/// Address of a symbol of the linker script.
macro_rules! symbol {
    ($name:ident) => {
        // Only the address is taken.
        (&raw const $name) as u64
    };
}

/// The first call here: makes the image's early frames available. On the boot stage's tables.
pub fn release_early_frames() {
    let frame = |va: u64| ((va - KERNEL_VIRTUAL_BASE) / PAGE_SIZE) as usize;
    let first = frame(symbol!(__early_frames_start));
    let count = frame(symbol!(__early_frames_end)) - first;
    MEMORY.lock().frames.release(first, count);
}

/// Copies a launched page in low memory, which the firmware filled. Before [`switch_tables`].
pub fn adopt<T: FromBytes>(gpa: u64) -> Result<&'static mut T, OutOfMemory> {
    const { assert!(size_of::<T>() == PAGE_SIZE as usize && align_of::<T>() == 1) };
    assert!(gpa + PAGE_SIZE <= LOW_MEMORY);
    let frame = MEMORY.lock().allocate(1)?;
    let page = frame.va() as *mut T;
    // SAFETY: the boot stage maps low memory as it is; the page is private, launched, and only this CPU runs. The frame is
    // ours for good, and any bytes are a T.
    unsafe {
        core::ptr::copy_nonoverlapping(gpa as *const T, page, 1);
        Ok(&mut *page)
    }
}

/// What the boot stage maps of low memory.
const LOW_MEMORY: u64 = 2 << 20;

/// One past the last byte of the image.
pub fn image_end() -> u64 {
    symbol!(__image_end) - KERNEL_VIRTUAL_BASE + base()
}

/// Where text and constants end.
#[cfg(feature = "gdb")]
pub(super) fn data_start() -> u64 {
    symbol!(__data_start)
}

/// Where the image's text ends, its constants end, and the boot stack has its guard page.
#[cfg(feature = "tests")]
pub fn image_parts() -> [u64; 3] {
    [
        symbol!(__rodata_start),
        symbol!(__data_start),
        boot_stack_guard(),
    ]
}

/// The page below the boot CPU's stack.
pub(super) fn boot_stack_guard() -> u64 {
    symbol!(__boot_stack_guard)
}

/// How a page of the SVSM's memory is mapped; `None` for the guard page of the boot stack.
fn access(va: u64) -> Option<Access> {
    if va == boot_stack_guard() {
        None
    } else if va < symbol!(__rodata_start) {
        Some(Access::ReadExecute)
    } else if va < symbol!(__data_start) || va >= KERNEL_VIRTUAL_BASE + SERVICES_OFFSET {
        Some(Access::ReadOnly)
    } else {
        Some(Access::ReadWrite)
    }
}

/// Builds the kernel's own tables and goes over to them: low memory and the boot stage's tables are out of reach then.
/// `c_bit` is where the C-bit is; 0 stands for none. `no_execute` must be on if it is said to be there.
pub fn switch_tables(c_bit: u32, no_execute: bool) -> Result<(), OutOfMemory> {
    debug_assert_eq!(symbol!(__text_start), KERNEL_VIRTUAL_BASE);
    let mut memory = MEMORY.lock();
    let root = memory.allocate(1)?;
    memory.tables = PageTables::new(root, 1 << c_bit & !1, no_execute);
    for offset in (0..SVSM_SIZE).step_by(PAGE_SIZE as usize) {
        let va = KERNEL_VIRTUAL_BASE + offset;
        if let Some(access) = access(va) {
            memory.map(va, base() + offset, PAGE_SIZE, access)?;
        }
    }
    // SAFETY: the new tables map the whole image, where it was, with the permissions that its parts need.
    unsafe { cpu::set_cr3(memory.tables.cr3()) };
    Ok(())
}

/// Validates a page of the SVSM's memory that was not launched and is not in use yet. `Ok(false)`: the RMP has small
/// pages here.
pub fn validate_own(gpa: u64, size: PageSize) -> Result<bool, OwnPageError> {
    let in_use = gpa < image_end() || gpa + size.bytes() > services();
    let code = if in_use {
        UNCHANGED
    } else {
        // SAFETY: nothing is in the page yet.
        unsafe { foreign_pvalidate(own_va(gpa), size as u32, 1) }
    };
    match code {
        0 => Ok(true),
        code if code as u64 == FAIL_SIZEMISMATCH && size == PageSize::Size2M => Ok(false),
        code => Err(OwnPageError::Instruction { gpa, code }),
    }
}

/// Makes validated memory of the SVSM's available.
pub fn release_own(range: Range<u64>) {
    let first = range.start.max(image_end().next_multiple_of(PAGE_SIZE)) - base();
    let end = range.end.min(services()) - base();
    if first < end {
        let (first, end) = ((first / PAGE_SIZE) as usize, (end / PAGE_SIZE) as usize);
        MEMORY.lock().frames.release(first, end - first);
    }
}

fn own_va(gpa: u64) -> u64 {
    gpa - base() + KERNEL_VIRTUAL_BASE
}

/// Where the services are.
fn services() -> u64 {
    base() + SERVICES_OFFSET
}

/// A part of the launched memory that nobody writes: services' images and the host's parameters. What of it was launched,
/// the checked boot parameters say.
pub fn parameters(base: u64, size: u64) -> Option<&'static [u8]> {
    let end = base.checked_add(size)?;
    if base < services() || end > super::base() + SVSM_SIZE {
        return None;
    }
    // SAFETY: the range is mapped read-only for good; a part that was not launched would fault, and the SVSM stop.
    Some(unsafe { core::slice::from_raw_parts(own_va(base) as *const u8, size as usize) })
}

/// A page that the hypervisor can read and write. Only copied from and to.
#[derive(Clone, Copy, Debug)]
pub struct SharedPage(Frame);

impl SharedPage {
    /// Where it is mapped.
    pub const fn va(self) -> u64 {
        self.0.va()
    }

    /// Its guest-physical address.
    pub fn gpa(self) -> u64 {
        self.0.gpa()
    }

    fn pointer<T>(self, offset: usize) -> *mut T {
        assert!(
            offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= PAGE_SIZE as usize
        );
        (self.0.va() as usize + offset) as *mut T
    }

    /// Reads the quadword at `offset`.
    pub fn read(self, offset: usize) -> u64 {
        // SAFETY: the pointer is aligned and within the page, which is shared for good; nothing refers to it.
        unsafe { self.pointer::<u64>(offset).read_volatile() }
    }

    /// Writes the quadword at `offset`.
    pub fn write(self, offset: usize, value: u64) {
        // SAFETY: as for `read`.
        unsafe { self.pointer::<u64>(offset).write_volatile(value) };
    }

    /// Writes the quadword at `offset` and reads what was there, in one step.
    pub fn swap(self, offset: usize, mut value: u64) -> u64 {
        let pointer = self.pointer::<u64>(offset);
        // SAFETY: as for `read`; an exchange with memory is locked.
        unsafe { asm!("xchg [{}], {}", in(reg) pointer, inout(reg) value, options(nostack)) };
        value
    }

    /// Copies `bytes` to `offset`.
    pub fn write_bytes(self, offset: usize, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            // SAFETY: as for `read`.
            unsafe { self.pointer::<u8>(offset + i).write_volatile(*byte) };
        }
    }
}

/// Makes a page shared: rescinds it, has the hypervisor take it by `hand_over`, maps it with C = 0 and clears it.
pub fn share_page<E>(
    hand_over: impl FnOnce(u64) -> Result<(), E>,
) -> Result<Result<SharedPage, E>, OwnPageError> {
    let mut memory = MEMORY.lock();
    let frame = memory.allocate(1)?;
    // SAFETY: the frame was just allocated; nothing is in it.
    let code = unsafe { foreign_pvalidate(frame.va(), PageSize::Size4K as u32, 0) };
    if code != 0 {
        return Err(OwnPageError::Instruction {
            gpa: frame.gpa(),
            code,
        });
    }
    if let Err(error) = hand_over(frame.gpa()) {
        return Ok(Err(error));
    }
    memory.map(frame.va(), frame.gpa(), PAGE_SIZE, Access::Shared)?;
    let page = SharedPage(frame);
    for offset in (0..PAGE_SIZE as usize).step_by(8) {
        page.write(offset, 0);
    }
    Ok(Ok(page))
}

/// A page of a device's registers.
#[derive(Clone, Copy, Debug)]
pub struct DevicePage(u64);

/// Where devices are mapped.
const DEVICES: u64 = 0xFFFF_FFFF_E000_0000;

/// Maps the page of a device's registers that is at `gpa`, once.
pub fn map_device(gpa: u64) -> Result<DevicePage, OutOfMemory> {
    let va = DEVICES + (gpa & 0x0FFF_F000);
    MEMORY.lock().map(va, gpa, PAGE_SIZE, Access::Device)?;
    Ok(DevicePage(va))
}

impl DevicePage {
    fn pointer(self, offset: usize) -> *mut u32 {
        assert!(offset.is_multiple_of(4) && offset < PAGE_SIZE as usize);
        (self.0 as usize + offset) as *mut u32
    }

    /// Reads the 32-bit register at `offset`.
    pub fn read(self, offset: usize) -> u32 {
        // SAFETY: mapped for good, aligned, within the page; no memory is behind it.
        unsafe { self.pointer(offset).read_volatile() }
    }

    /// Writes it.
    pub fn write(self, offset: usize, value: u32) {
        // SAFETY: as for `read`; a device of this platform that could write memory is not among those that are mapped.
        unsafe { self.pointer(offset).write_volatile(value) };
    }
}

/// A VMSA in the SVSM's memory. Once a vCPU runs on it, the processor writes it, so it is only copied from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmsaPage(Frame);

impl VmsaPage {
    /// Makes one with these contents.
    pub fn new(contents: &Vmsa) -> Result<VmsaPage, OwnPageError> {
        let frame = MEMORY.lock().allocate_vmsa()?;
        // SAFETY: the frame was just allocated and is a page long, as a VMSA is. RMPADJUST then makes it a VMSA; VMPL1
        // stands for any less privileged level, and none gets access.
        let code = unsafe {
            core::ptr::copy_nonoverlapping(
                contents.as_bytes().as_ptr(),
                frame.va() as *mut u8,
                size_of::<Vmsa>(),
            );
            let rdx = snp_abi::rmp::rmpadjust_rdx(Vmpl::Vmpl1, RmpPermissions::empty(), true);
            foreign_rmpadjust(frame.va(), PageSize::Size4K as u32, rdx)
        };
        if code & FAULTED != 0 || code != 0 {
            return Err(OwnPageError::Instruction {
                gpa: frame.gpa(),
                code,
            });
        }
        Ok(VmsaPage(frame))
    }

    /// Its guest-physical address.
    pub fn gpa(self) -> u64 {
        self.0.gpa()
    }

    /// Reads the quadword at `offset`, a multiple of 8 below 4096.
    pub fn read(self, offset: usize) -> u64 {
        let mut word = [0; 8];
        // The page is the SVSM's own and validated: a fault would be the host's doing, and reads as zero.
        let _ = read_at(
            self.0.va() + (offset % PAGE_SIZE as usize) as u64,
            &mut word,
        );
        u64::from_le_bytes(word)
    }

    /// Writes the quadword at `offset`.
    pub fn write(self, offset: usize, value: u64) {
        let offset = (offset % PAGE_SIZE as usize) & !7;
        // SAFETY: within the page, aligned; no reference to it exists.
        unsafe { ((self.0.va() as usize + offset) as *mut u64).write_volatile(value) };
    }
}
