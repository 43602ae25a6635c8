//! How the loader ends when it cannot go on. QEMU's isa-debug-exit device turns value v into exit status 2 v + 1.

use crate::arch::port;
use crate::console;

/// Why; the values are those of the software SNP machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// The image is not acceptable. QEMU status 39.
    BadImage = 0x13,
    /// The loader was not started as it needs it. QEMU status 41.
    BadPlatform = 0x14,
    /// A bug in the loader. QEMU status 43.
    Internal = 0x15,
}

/// QEMU's isa-debug-exit.
const EXIT_PORT: u16 = 0xF4;
/// Bochs ends when this word is written here, a byte at a time.
const BOCHS_PORT: u16 = 0x8900;

/// Ends the machine, or stops where there is no way to.
pub fn exit(status: ExitStatus) -> ! {
    console::flush();
    port::out8(EXIT_PORT, status as u8);
    for byte in *b"Shutdown" {
        port::out8(BOCHS_PORT, byte);
    }
    port::stop()
}
