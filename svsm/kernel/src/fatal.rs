//! The end: a line with the reason, registers and a backtrace where they help, then termination through the GHCB MSR
//! with a code of `svsm_abi::termination`.

use crate::arch::percpu::this_cpu;
use crate::arch::traps::{self, TrapFrame};
use crate::arch::{cpu, stack_trace};
use crate::console::{self, log};
use crate::mm::{is_guard, try_read_own};
use crate::platform::platform;
use core::fmt::Arguments;
use svsm_abi::termination::Reason;

/// Stops the SVSM, and with it the VM, for a reason.
macro_rules! fatal {
    ($reason:expr, $($argument:tt)*) => { $crate::fatal::stop($reason, format_args!($($argument)*)) };
}
pub(crate) use fatal;

/// Stops the VM: the reason in words, then its code.
pub fn stop(reason: Reason, text: Arguments<'_>) -> ! {
    begin(reason);
    match reason {
        // All went well, and there is nothing more to do.
        Reason::NoGuest => log!("{text}"),
        _ => {
            log!("fatal: {text}");
            #[cfg(feature = "gdb")]
            crate::gdb::fatal();
        }
    }
    end(reason)
}

/// The last of all.
fn end(reason: Reason) -> ! {
    #[cfg(feature = "gdb")]
    crate::gdb::ended(reason);
    platform().terminate(reason)
}

/// Stops the VM because of an exception.
pub fn exception(frame: &TrapFrame, name: &str) -> ! {
    begin(Reason::Exception);
    log!(
        "fatal: exception {} ({name}), error {:#x}, at {:#x}, cr2 {:#x}, vCPU {}",
        frame.vector,
        frame.error,
        frame.rip,
        cpu::cr2(),
        this_cpu().index.get()
    );
    if frame.vector as u8 == traps::CONTROL_PROTECTION {
        let found = |address| try_read_own(address).unwrap_or(0);
        log!(
            "return address {:#x} on the stack, {:#x} on the shadow stack: one of them was overwritten",
            found(frame.rsp),
            found(shadow_stack_pointer(frame))
        );
    }
    if is_guard(cpu::cr2()) {
        log!("fatal: stack overflow on vCPU {}", this_cpu().index.get());
    }
    let f = frame;
    log!(
        "rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}",
        f.rax,
        f.rbx,
        f.rcx,
        f.rdx
    );
    log!(
        "rsi {:016x} rdi {:016x} rbp {:016x} rsp {:016x}",
        f.rsi,
        f.rdi,
        f.rbp,
        f.rsp
    );
    log!(
        "r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}",
        f.r8,
        f.r9,
        f.r10,
        f.r11
    );
    log!(
        "r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}",
        f.r12,
        f.r13,
        f.r14,
        f.r15
    );
    log!("cs {:#x} ss {:#x} rflags {:#x}", f.cs, f.ss, f.rflags);
    backtrace(frame.rbp);
    #[cfg(feature = "gdb")]
    crate::gdb::exception(frame);
    end(Reason::Exception)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    begin(Reason::Panic);
    match info.location() {
        Some(place) => log!("fatal: panic at {place}: {}", info.message()),
        None => log!("fatal: panic: {}", info.message()),
    }
    backtrace(cpu::frame_pointer());
    #[cfg(feature = "gdb")]
    crate::gdb::fatal();
    end(Reason::Panic)
}

/// A failure while another one is being reported ends at once; on another CPU it waits for that report's end, which is the VM's.
fn begin(reason: Reason) {
    if this_cpu().failing.replace(true) {
        platform().terminate(reason)
    }
    if !console::report() {
        loop {
            // Not HLT: it could raise another exception.
            core::hint::spin_loop();
        }
    }
}

/// The shadow stack pointer at an exception, which the processor left beside RIP and CS; 0 if they are not found.
fn shadow_stack_pointer(frame: &TrapFrame) -> u64 {
    const DEPTH: u64 = 64;
    let here = cpu::shadow_stack_pointer();
    let word = |index: u64| try_read_own(here + 8 * index);
    (1..DEPTH)
        .find(|&i| word(i) == Some(frame.rip) && word(i + 1) == Some(frame.cs))
        .and_then(|i| word(i - 1))
        .unwrap_or(0)
}

fn backtrace(rbp: u64) {
    for address in stack_trace::walk(rbp) {
        log!("  called from {address:#x}");
    }
}
