//! Walking the machine's own stack for a panic message.

use core::arch::asm;

/// Calls `each` with the return addresses of the current stack, innermost first.
pub fn backtrace(mut rbp: u64, mut each: impl FnMut(u64)) {
    for _ in 0..24 {
        // Stacks are in the image (top 2 GiB) or in the direct map.
        let plausible =
            rbp >= super::phys::DIRECT_MAP && rbp.is_multiple_of(8) && rbp < u64::MAX - 16;
        if !plausible {
            return;
        }
        // SAFETY: frame pointers are kept (-Cforce-frame-pointers), the chain starts at a live frame and ends with 0.
        let (next, address) = unsafe {
            (
                (rbp as *const u64).read(),
                (rbp as *const u64).add(1).read(),
            )
        };
        if address == 0 {
            return;
        }
        each(address);
        if next <= rbp {
            return;
        }
        rbp = next;
    }
}

/// The current frame pointer.
pub fn frame_pointer() -> u64 {
    let rbp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    rbp
}
