//! The console: COM1.

use crate::uart::Uart;
use svsm_core::boot_params::SERIAL_PORT;

/// The port.
pub const PORT: Uart = Uart(SERIAL_PORT);

/// Looks at the line status until a byte is sent all the same: there may be no port.
const PATIENCE: u32 = 100_000;

/// Writes a line.
pub fn write(bytes: &[u8]) {
    for &byte in bytes {
        let _ready = (0..PATIENCE).any(|_| PORT.is_ready());
        PORT.send(byte);
    }
}
