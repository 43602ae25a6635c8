//! Ways to end: power off, terminate with a reason, panic.

use crate::ghcb::Ghcb;
use crate::{console, cpu, io, msr_protocol};
use core::panic::PanicInfo;

pub use boot_abi::termination::{
    NO_GHCB as REASON_NO_GHCB, PANIC as REASON_PANIC, PORT_IO as REASON_PORT_IO, SET as REASON_SET,
};

/// q35's PM1a control register as firmware places it, and sleep type 5 with the sleep-enable bit.
const PM1A_CONTROL: u16 = 0x604;
const SLEEP_S5: u16 = 0x2000;

/// Powers the machine off.
pub fn power_off() -> ! {
    io::outw(PM1A_CONTROL, SLEEP_S5);
    // It takes effect a moment later. Not halted meanwhile: vCPUs that are all halted for good are an end of their own.
    loop {
        core::hint::spin_loop();
    }
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
        console::print_last(format_args!("PANIC: {info}\n"));
    }
    terminate(REASON_SET, REASON_PANIC)
}
