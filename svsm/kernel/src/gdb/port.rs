//! The debugger's line: COM2, a 16550 without interrupts. On SEV-SNP each access to a port raises #VC and becomes an exit, as
//! for any other device.

use crate::arch::cpu;
use crate::clock;
use core::sync::atomic::{AtomicBool, Ordering};
use gdbstub::conn::Connection;

const BASE: u16 = 0x2F8;
const DATA: u16 = BASE;
const INTERRUPT_ENABLE: u16 = BASE + 1;
const FIFO: u16 = BASE + 2;
const LINE_CONTROL: u16 = BASE + 3;
const MODEM_CONTROL: u16 = BASE + 4;
const LINE_STATUS: u16 = BASE + 5;
const SCRATCH: u16 = BASE + 7;

/// Of the line's status: a byte is there; the transmitter takes another one.
const RECEIVED: u8 = 1;
const READY: u8 = 1 << 5;

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
    cpu::out8(INTERRUPT_ENABLE, 0);
    cpu::out8(LINE_CONTROL, 0x80);
    cpu::out8(DATA, 1);
    cpu::out8(INTERRUPT_ENABLE, 0);
    cpu::out8(LINE_CONTROL, 3);
    // What has come meanwhile stays.
    cpu::out8(FIFO, 1);
    cpu::out8(MODEM_CONTROL, 3);
    true
}

/// Whether a byte waits.
pub fn has_byte() -> bool {
    cpu::in8(LINE_STATUS) & RECEIVED != 0
}

/// The next byte, if there is one.
pub fn read() -> Option<u8> {
    has_byte().then(|| cpu::in8(DATA))
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
        let begun = cpu::tsc();
        while cpu::in8(LINE_STATUS) & READY == 0 {
            if cpu::tsc().wrapping_sub(begun) > clock::ticks(SEND_MS) {
                LOST.store(true, Ordering::Relaxed);
                return Ok(());
            }
        }
        cpu::out8(DATA, byte);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ()> {
        Ok(())
    }
}
