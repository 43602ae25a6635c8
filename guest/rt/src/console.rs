//! The console: COM1, written by string OUT, a line or 256 bytes at a time. It is public: the host sees all of it.

use crate::ghcb::Ghcb;
use crate::io;
use crate::sync::SpinLock;
use core::fmt::{self, Write};

/// COM1.
const PORT: u16 = 0x3F8;

/// Collects what one `print!` writes.
struct Line {
    bytes: [u8; 256],
    used: usize,
}

static LINE: SpinLock<Line> = SpinLock::new(Line::new());

impl Line {
    const fn new() -> Line {
        Line {
            bytes: [0; 256],
            used: 0,
        }
    }

    fn flush(&mut self) {
        if self.used != 0 && Ghcb::ready() {
            io::out_string(PORT, &self.bytes[..self.used]);
        }
        self.used = 0;
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.used] = byte;
        self.used += 1;
        if self.used == self.bytes.len() {
            self.flush();
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.push(b'\r');
            }
            self.push(byte);
        }
        Ok(())
    }
}

/// Prints; used by the macros.
pub fn print(arguments: fmt::Arguments) {
    let mut line = LINE.lock();
    // Writing to the buffer cannot fail.
    let _ = line.write_fmt(arguments);
    line.flush();
}

/// Prints without the lock: for a panic, which may have happened while printing.
pub(crate) fn print_last(arguments: fmt::Arguments) {
    let mut line = Line::new();
    let _ = line.write_fmt(arguments);
    line.flush();
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::console::print(format_args!($($arg)*)) };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($arg:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($arg)*))) };
}
