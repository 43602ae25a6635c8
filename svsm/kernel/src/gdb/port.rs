//! The debugger's line: COM2.

use crate::arch::cpu;
use crate::clock;
use crate::uart::Uart;
use core::sync::atomic::{AtomicBool, Ordering};
use gdbstub::conn::Connection;

const PORT: Uart = Uart(0x2F8);
/// A register that does nothing.
const SCRATCH: u16 = PORT.0 + 7;

/// What is written to the scratch register to see whether there is one.
const PATTERN: u8 = 0x5A;

/// Milliseconds in which a byte must be gone.
const SEND_MS: u64 = 2000;

/// Nobody takes what is sent.
static LOST: AtomicBool = AtomicBool::new(false);

/// Makes the port ready; `false` when there is none.
pub fn init() -> bool {
    cpu::out8(SCRATCH, PATTERN);
    if cpu::in8(SCRATCH) != PATTERN {
        return false;
    }
    PORT.init();
    true
}

/// Whether a byte waits.
pub fn has_byte() -> bool {
    PORT.has_byte()
}

/// The next byte, if there is one.
pub fn read() -> Option<u8> {
    PORT.receive()
}

/// Whether the other side has stopped taking bytes; asking makes it a new start.
pub fn take_lost() -> bool {
    LOST.swap(false, Ordering::Relaxed)
}

/// Whether the other side has stopped taking bytes.
pub fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// The line as the stub sees it. It never fails: what nobody takes is dropped, and the session ends then.
pub struct Line;

impl Connection for Line {
    type Error = ();

    fn write(&mut self, byte: u8) -> Result<(), ()> {
        if is_lost() {
            return Ok(());
        }
        if PORT.wait_ready(clock::ticks(SEND_MS)) {
            PORT.send(byte);
        } else {
            LOST.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ()> {
        Ok(())
    }
}
