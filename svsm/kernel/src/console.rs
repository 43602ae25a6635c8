//! Lines for people, over the serial port. The host reads them: nothing secret is ever printed.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

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

/// Taken by the CPU that prints a line.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Looks at [`BUSY`] until a line is printed all the same: its holder may have stopped for good.
const PATIENCE: u32 = 100_000;

/// Prints a line with the SVSM's prefix, in one exit where the platform has such. Lines of several CPUs stay whole, unless one
/// of them stopped within its own: then others go on without. Before there is a console it goes nowhere.
pub fn line(text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; MAX_LINE],
        length: 0,
    };
    let _ = line.write_str("svsm: ");
    let _ = line.write_fmt(text);
    line.bytes[line.length..line.length + 2].copy_from_slice(b"\r\n");
    let mine = (0..PATIENCE).any(|_| {
        core::hint::spin_loop();
        !BUSY.swap(true, Ordering::Acquire)
    });
    crate::platform::platform().console_write(&line.bytes[..line.length + 2]);
    if mine {
        BUSY.store(false, Ordering::Release);
    }
}
