//! Messages. All go to QEMU's debug console (port 0xE9); what ends the run also goes to COM1.

use crate::arch::cpu::{in8, out8};
use crate::arch::lock::SpinLock;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

const DEBUG_PORT: u16 = 0xE9;
const COM1: u16 = 0x3F8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u8 = 0x20;
/// Times the line status is looked at before a character is given up.
const PATIENCE: u32 = 1_000_000;

static LOCK: SpinLock<()> = SpinLock::new(());
/// Set while a fatal message is printed: then locks are not waited for.
static FATAL: AtomicBool = AtomicBool::new(false);

struct DebugConsole;

impl Write for DebugConsole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            out8(DEBUG_PORT, byte);
        }
        Ok(())
    }
}

/// COM1 and the debug console; lines on COM1 start with `machine: `.
struct Both {
    line_start: bool,
}

impl Both {
    fn com1(byte: u8) {
        for _ in 0..PATIENCE {
            if in8(LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
                break;
            }
        }
        out8(COM1, byte);
    }
}

impl Write for Both {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if core::mem::take(&mut self.line_start) {
                b"machine: ".iter().copied().for_each(|b| {
                    Both::com1(b);
                    out8(DEBUG_PORT, b);
                });
            }
            if byte == b'\n' {
                Both::com1(b'\r');
                self.line_start = true;
            }
            Both::com1(byte);
            out8(DEBUG_PORT, byte);
        }
        Ok(())
    }
}

/// Prints a line on the debug console.
pub fn print(arguments: fmt::Arguments<'_>) {
    let _guard = if FATAL.load(Ordering::Relaxed) {
        LOCK.try_lock()
    } else {
        Some(LOCK.lock())
    };
    let _ = DebugConsole.write_fmt(format_args!("machine: {arguments}\n"));
}

/// Prints a line on the debug console and on COM1; for the messages that end the run.
pub fn print_fatal(arguments: fmt::Arguments<'_>) {
    FATAL.store(true, Ordering::Relaxed);
    let _guard = LOCK.try_lock();
    let _ = Both { line_start: true }.write_fmt(format_args!("{arguments}\n"));
}

/// Moves COM1 to the start of a line: the guest may have left it in the middle of one.
pub fn fresh_line() {
    Both::com1(b'\r');
    Both::com1(b'\n');
}

/// A line on the debug console.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}

/// A line on the debug console and on COM1.
#[macro_export]
macro_rules! say_fatal {
    ($($argument:tt)*) => { $crate::console::print_fatal(format_args!($($argument)*)) };
}
