//! The module that QEMU hands over, once what it tells a PVH kernel (crate `boot-info`) was read.

use super::phys;

/// The module's bytes, once it lies in the machine's reserve.
pub fn module(at: u64, size: u64) -> &'static [u8] {
    // SAFETY: `move_module` put it there; the frame allocator ends before it, and nobody writes it any more.
    unsafe { core::slice::from_raw_parts(phys::virt(at) as *const u8, size as usize) }
}

/// Moves the module to the end of the reserve, out of the guest's and the allocator's way.
pub fn move_module(module: (u64, u64), reserve: (u64, u64)) -> (u64, u64) {
    let (at, size) = module;
    let to = (reserve.1 - size) & !0xFFF;
    // SAFETY: both ranges are RAM that holds no Rust value yet; the ranges may overlap, which `copy` allows.
    unsafe {
        core::ptr::copy(
            phys::virt(at) as *const u8,
            phys::virt(to) as *mut u8,
            size as usize,
        )
    };
    (to, size)
}
