//! Ways to end: power off, terminate with a reason, panic.

use crate::ghcb::Ghcb;
use crate::{console, cpu, io, msr_protocol, println};
use core::panic::PanicInfo;

/// The reason set of payloads' own termination codes (56421 leaves sets other than 0 to vendors).
pub const REASON_SET: u8 = 5;
/// The GHCB could not be made or registered.
pub const REASON_NO_GHCB: u8 = 1;
/// The hypervisor refused port I/O.
pub const REASON_PORT_IO: u8 = 2;
/// A panic; the console has the message.
pub const REASON_PANIC: u8 = 3;

/// q35's PM1a control register as firmware places it, and sleep type 5 with the sleep-enable bit.
const PM1A_CONTROL: u16 = 0x604;
const SLEEP_S5: u16 = 0x2000;

/// Powers the machine off.
pub fn power_off() -> ! {
    io::outw(PM1A_CONTROL, SLEEP_S5);
    cpu::halt_forever()
}

/// Asks the hypervisor to end the guest for this reason.
pub fn terminate(set: u8, reason: u8) -> ! {
    msr_protocol::terminate(set, reason)
}

/// Prints the panic and terminates.
#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    cpu::cli();
    if Ghcb::ready() {
        console::force_unlock();
        println!("PANIC: {info}");
    }
    terminate(REASON_SET, REASON_PANIC)
}
