//! The console: COM1.

use crate::uart::Uart;
use svsm_core::boot_params::SERIAL_PORT;

/// The port.
pub const PORT: Uart = Uart(SERIAL_PORT);

/// Cycles until a byte is sent all the same, a fraction of a second: nobody may be there to read it.
const PATIENCE: u64 = 1 << 29;

/// Writes a line.
pub fn write(bytes: &[u8]) {
    for &byte in bytes {
        let _ready = PORT.wait_ready(PATIENCE);
        PORT.send(byte);
    }
}
