//! The console: COM1, a 16550.

use crate::arch::cpu;
use svsm_core::boot_params::SERIAL_PORT;

const DATA: u16 = SERIAL_PORT;
const INTERRUPT_ENABLE: u16 = SERIAL_PORT + 1;
const FIFO: u16 = SERIAL_PORT + 2;
const LINE_CONTROL: u16 = SERIAL_PORT + 3;
const MODEM_CONTROL: u16 = SERIAL_PORT + 4;
const LINE_STATUS: u16 = SERIAL_PORT + 5;

/// The transmitter takes another byte.
const READY: u8 = 1 << 5;
/// Looks at the line status until a byte is sent all the same: there may be no port.
const PATIENCE: u32 = 100_000;

/// 115200 baud, 8 bits, no parity, one stop bit; no interrupts.
pub fn init() {
    cpu::out8(INTERRUPT_ENABLE, 0);
    cpu::out8(LINE_CONTROL, 0x80);
    cpu::out8(DATA, 1);
    cpu::out8(INTERRUPT_ENABLE, 0);
    cpu::out8(LINE_CONTROL, 3);
    cpu::out8(FIFO, 7);
    cpu::out8(MODEM_CONTROL, 3);
}

/// Writes a line.
pub fn write(bytes: &[u8]) {
    for &byte in bytes {
        for _ in 0..PATIENCE {
            if cpu::in8(LINE_STATUS) & READY != 0 {
                break;
            }
        }
        cpu::out8(DATA, byte);
    }
}
