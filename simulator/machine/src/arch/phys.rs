//! Physical memory through the direct map. Guests and devices write it at any time, so it is only ever copied, with
//! instructions that the compiler does not look into.

use core::arch::asm;

/// Virtual address of physical address 0.
pub const DIRECT_MAP: u64 = 0xFFFF_8000_0000_0000;
/// Bytes that the direct map covers from the start; what lies above is mapped on first use.
pub const DIRECT_MAP_INITIAL: u64 = 1 << 40;
/// End of what it can cover.
pub const DIRECT_MAP_LIMIT: u64 = 1 << 46;

/// Where the direct map has this physical address.
pub const fn virt(hpa: u64) -> u64 {
    DIRECT_MAP + hpa
}

fn check(hpa: u64, len: usize) {
    assert!(
        hpa.checked_add(len as u64)
            .is_some_and(|end| end <= DIRECT_MAP_INITIAL),
        "physical address {hpa:#x} is outside the direct map"
    );
}

/// Copies out of physical memory.
pub fn read(hpa: u64, buffer: &mut [u8]) {
    check(hpa, buffer.len());
    // SAFETY: the source is in the direct map, the destination is the buffer.
    unsafe { copy(virt(hpa), buffer.as_mut_ptr() as u64, buffer.len()) }
}

/// All that the direct map covers, for who looks through what firmware left there.
pub struct Physical;

impl boot_info::Memory for Physical {
    fn read(&self, at: u64, to: &mut [u8]) -> Option<()> {
        at.checked_add(to.len() as u64)
            .filter(|&end| end <= DIRECT_MAP_INITIAL)?;
        read(at, to);
        Some(())
    }
}

/// Copies into physical memory. The caller names guest or device memory, or frames that hold no Rust value.
///
/// # Safety
/// No Rust value may live there.
pub unsafe fn write(hpa: u64, bytes: &[u8]) {
    check(hpa, bytes.len());
    // SAFETY: the destination is in the direct map and no Rust value's.
    unsafe { copy(bytes.as_ptr() as u64, virt(hpa), bytes.len()) }
}

/// Fills physical memory with zeros.
///
/// # Safety
/// No Rust value may live there.
pub unsafe fn zero(hpa: u64, len: usize) {
    check(hpa, len);
    // SAFETY: the destination is in the direct map and no Rust value's.
    unsafe {
        asm!("rep stosq", "mov ecx, edx", "rep stosb",
            inout("rdi") virt(hpa) => _, inout("rcx") len / 8 => _, in("edx") (len % 8) as u32, in("rax") 0u64,
            options(nostack, preserves_flags));
    }
}

/// # Safety
/// Both ranges must be mapped, and the destination no Rust value's (or one that is borrowed exclusively).
unsafe fn copy(from: u64, to: u64, len: usize) {
    if len == 8 && (from | to).is_multiple_of(8) {
        // Page-table entries and the like: QEMU's string instructions are slow to start.
        // SAFETY: the caller's argument.
        return unsafe { (to as *mut u64).write_volatile((from as *const u64).read_volatile()) };
    }
    // SAFETY: the caller's argument; DF is clear in all Rust code.
    unsafe {
        asm!("rep movsq", "mov ecx, edx", "rep movsb",
            inout("rdi") to => _, inout("rsi") from => _, inout("rcx") len / 8 => _, in("edx") (len % 8) as u32,
            options(nostack, preserves_flags));
    }
}

/// Reads device memory with one access of 1, 2, 4 or 8 bytes.
pub fn mmio_read(hpa: u64, size: u8) -> Option<u64> {
    let at = super::paging::map_device(hpa)?;
    // SAFETY: mapped just now; device memory holds no Rust value.
    Some(unsafe {
        match size {
            1 => (at as *const u8).read_volatile().into(),
            2 => (at as *const u16).read_volatile().into(),
            4 => (at as *const u32).read_volatile().into(),
            8 => (at as *const u64).read_volatile(),
            _ => return None,
        }
    })
}

/// Writes device memory with one access of 1, 2, 4 or 8 bytes; `None` if the size or address cannot be.
///
/// # Safety
/// The address must be a device's.
pub unsafe fn mmio_write(hpa: u64, size: u8, value: u64) -> Option<()> {
    let at = super::paging::map_device(hpa)?;
    // SAFETY: mapped just now; device memory holds no Rust value, says the caller.
    unsafe {
        match size {
            1 => (at as *mut u8).write_volatile(value as u8),
            2 => (at as *mut u16).write_volatile(value as u16),
            4 => (at as *mut u32).write_volatile(value as u32),
            8 => (at as *mut u64).write_volatile(value),
            _ => return None,
        }
    }
    Some(())
}
