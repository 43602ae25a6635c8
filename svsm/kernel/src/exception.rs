//! Exceptions of the SVSM's own code. Only #VC for a few instructions can be answered; all others are the end.

use crate::arch::percpu::this_cpu;
use crate::arch::traps::{self, TrapFrame};
use crate::console;
use crate::fatal;
use crate::platform::platform;

/// Handles an exception that was not a fault of a copy.
pub fn handle(frame: &mut TrapFrame) {
    match frame.vector as u8 {
        snp_abi::VC_VECTOR => {
            // The handler makes none itself: one inside it would not end.
            let nested = this_cpu().in_vc.replace(true);
            if nested || platform().emulate(frame).is_err() {
                fatal::exception(frame, name(snp_abi::VC_VECTOR));
            }
            this_cpu().in_vc.set(false);
            #[cfg(feature = "gdb")]
            if frame.rflags & traps::SINGLE_STEP != 0 {
                crate::gdb::step(frame);
            } else {
                crate::gdb::join(frame);
            }
        }
        #[cfg(feature = "gdb")]
        traps::DEBUG => crate::gdb::step(frame),
        #[cfg(feature = "gdb")]
        traps::BREAKPOINT if crate::gdb::is_on() => crate::gdb::breakpoint(frame),
        // The debugger is on another CPU. An NMI that comes late finds nothing to do, below.
        #[cfg(feature = "gdb")]
        traps::NMI if crate::gdb::is_stopping() => crate::gdb::join(frame),
        // Another CPU reports a failure: this one is to be quiet.
        traps::NMI if console::is_reporting() => crate::arch::cpu::stop(),
        #[cfg(feature = "gdb")]
        traps::NMI if crate::gdb::is_on() => {}
        vector => fatal::exception(frame, name(vector)),
    }
}

/// The exception's name.
pub fn name(vector: u8) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        2 => "NMI",
        3 => "breakpoint",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection",
        14 => "page fault",
        16 => "x87",
        17 => "alignment check",
        9 => "coprocessor overrun",
        18 => "machine check",
        19 => "SIMD",
        21 => "control protection",
        29 => "VMM communication",
        30 => "security",
        _ => "unexpected",
    }
}
