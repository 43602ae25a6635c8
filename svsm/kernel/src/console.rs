//! Lines for people, over the serial port. The host reads them: nothing secret is ever printed.

use core::fmt::{self, Write};

/// Longest line, with its end.
const MAX_LINE: usize = 240;

/// Prints a line with the SVSM's prefix.
macro_rules! log {
    ($($argument:tt)*) => { $crate::console::line(format_args!($($argument)*)) };
}
pub(crate) use log;

/// A line under construction; what does not fit is cut off.
struct Line {
    bytes: [u8; MAX_LINE],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Two bytes are kept for the line's end.
        let room = &mut self.bytes[self.length..MAX_LINE - 2];
        let count = text.len().min(room.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        Ok(())
    }
}

/// Prints a line with the SVSM's prefix, in one exit, so that lines of different vCPUs stay whole. Before there is a
/// console it goes nowhere.
pub fn line(text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; MAX_LINE],
        length: 0,
    };
    let _ = line.write_str("svsm: ");
    let _ = line.write_fmt(text);
    line.bytes[line.length..line.length + 2].copy_from_slice(b"\r\n");
    crate::platform::platform().console_write(&line.bytes[..line.length + 2]);
}
