//! Lines on COM1.

use core::fmt::{self, Write};

use crate::arch::port::{in8, out8};

const COM1: u16 = 0x3F8;
const INTERRUPTS: u16 = COM1 + 1;
const FIFO: u16 = COM1 + 2;
const LINE_CONTROL: u16 = COM1 + 3;
const MODEM_CONTROL: u16 = COM1 + 4;
const LINE_STATUS: u16 = COM1 + 5;
/// There is room for a character; all characters have left.
const ROOM: u8 = 0x20;
const SENT: u8 = 0x40;
/// Times the line status is looked at before a character is given up.
const PATIENCE: u32 = 1_000_000;

/// 115200 baud, 8 bits, no parity, FIFO on, no interrupts.
pub fn init() {
    const DIVISOR_LATCH: u8 = 0x80;
    const EIGHT_BITS: u8 = 3;
    out8(INTERRUPTS, 0);
    out8(LINE_CONTROL, DIVISOR_LATCH | EIGHT_BITS);
    out8(COM1, 1);
    out8(INTERRUPTS, 0);
    out8(LINE_CONTROL, EIGHT_BITS);
    out8(FIFO, 7);
    out8(MODEM_CONTROL, 3);
}

struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            wait_for(ROOM);
            out8(COM1, byte);
        }
        Ok(())
    }
}

fn wait_for(status: u8) {
    for _ in 0..PATIENCE {
        if in8(LINE_STATUS) & status != 0 {
            break;
        }
    }
}

/// Waits until all that was printed has left the machine.
pub fn flush() {
    wait_for(SENT);
}

/// Prints a line.
pub fn print(arguments: fmt::Arguments<'_>) {
    // A serial line does not fail.
    let _ = Serial.write_fmt(format_args!("loader: {arguments}\r\n"));
}

/// A line.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}

/// A line that says why the loader cannot go on, then the end.
#[macro_export]
macro_rules! fatal {
    ($status:expr, $($argument:tt)*) => {{
        $crate::console::print(format_args!("fatal: {}", format_args!($($argument)*)));
        $crate::exit::exit($status)
    }};
}
