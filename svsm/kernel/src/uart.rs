//! A serial port of the PC, a 16550, without interrupts. On SEV-SNP each access to it raises #VC and becomes an exit, as for any
//! other device.

use crate::arch::cpu;

/// The port whose registers start here.
#[derive(Clone, Copy)]
pub struct Uart(pub u16);

/// Registers, from the first.
const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;

/// Of the line's control: 8 bits, no parity, one stop bit; or DATA and INTERRUPT_ENABLE are the rate.
const FORMAT: u8 = 3;
const RATE: u8 = 1 << 7;
/// Of the line's status: a byte has come; another one can be sent.
#[cfg(feature = "gdb")]
const RECEIVED: u8 = 1;
const READY: u8 = 1 << 5;

impl Uart {
    /// 115200 baud. What has come meanwhile stays.
    pub fn init(self) {
        self.write(INTERRUPT_ENABLE, 0);
        self.write(LINE_CONTROL, RATE);
        self.write(DATA, 1);
        self.write(INTERRUPT_ENABLE, 0);
        self.write(LINE_CONTROL, FORMAT);
        self.write(FIFO, 1);
        self.write(MODEM_CONTROL, 3);
    }

    fn write(self, register: u16, value: u8) {
        cpu::out8(self.0 + register, value);
    }

    fn status(self) -> u8 {
        cpu::in8(self.0 + LINE_STATUS)
    }

    /// Waits until a byte can be sent, so many cycles at most; whether it can.
    pub fn wait_ready(self, cycles: u64) -> bool {
        let begun = cpu::tsc();
        while self.status() & READY == 0 {
            if cpu::tsc().wrapping_sub(begun) > cycles {
                return false;
            }
            core::hint::spin_loop();
        }
        true
    }

    /// Sends a byte.
    pub fn send(self, byte: u8) {
        self.write(DATA, byte);
    }

    /// Whether a byte waits.
    #[cfg(feature = "gdb")]
    pub fn has_byte(self) -> bool {
        self.status() & RECEIVED != 0
    }

    /// The next byte, if there is one.
    #[cfg(feature = "gdb")]
    pub fn receive(self) -> Option<u8> {
        self.has_byte().then(|| cpu::in8(self.0 + DATA))
    }
}
