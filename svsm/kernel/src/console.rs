//! Lines for people, over the serial port. The host reads them: nothing secret is ever printed.

use crate::arch::cpu;
use crate::arch::percpu::this_cpu;
use crate::platform::platform;
use core::fmt::{self, Write};
use svsm_core::turn::Turn;

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

/// Whose turn it is to print.
static TURN: Turn = Turn::new();

/// Cycles for which a CPU may print one line, before others go on without it: seconds. A busy host does not schedule a CPU for
/// a while; one that stopped within its line must not silence the others.
const PATIENCE: u64 = 1 << 33;

/// Prints a line with the SVSM's prefix, in one exit where the platform has such. Lines of several CPUs stay whole. When another
/// CPU reports a failure, the line goes nowhere: the report is the last word. Before there is a console it goes nowhere either.
pub fn line(text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; MAX_LINE],
        length: 0,
    };
    let _ = line.write_str("svsm: ");
    let _ = line.write_fmt(text);
    line.bytes[line.length..line.length + 2].copy_from_slice(b"\r\n");
    let Some(turn) = TURN.take(this_cpu_number(), cpu::tsc, PATIENCE) else {
        return;
    };
    if turn.after_broken_line {
        platform().console_write(b"\r\n");
    }
    platform().console_write(&line.bytes[..line.length + 2]);
}

/// From now on only this CPU prints; `false` if another one said so before.
pub fn report() -> bool {
    TURN.report(this_cpu_number())
}

/// Whether a CPU reports a failure.
pub fn is_reporting() -> bool {
    TURN.is_reporting()
}

/// By index: there are fewer CPUs than numbers.
fn this_cpu_number() -> u32 {
    this_cpu().index.get() as u32
}
