//! I/O ports, and the end.

use core::arch::asm;

/// Reads a byte.
pub fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: port input touches no memory.
    unsafe {
        asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// Writes a byte. The loader writes to the serial line, the interrupt controllers and the ports that end a machine.
pub fn out8(port: u16, value: u8) {
    // SAFETY: none of the loader's ports starts a DMA transfer.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags))
    };
}

/// Stops for good.
pub fn stop() -> ! {
    loop {
        // SAFETY: interrupts are off, so nothing of the loader runs any more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
