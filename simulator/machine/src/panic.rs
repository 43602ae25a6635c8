//! Bugs of the machine itself: say where, then end the run.

use crate::arch::idt::TrapFrame;
use crate::arch::{percpu, stack};
use crate::exit_status::{ExitStatus, exit};
use crate::say_fatal;

/// An exception in the machine's own code.
pub fn exception(frame: &TrapFrame, cr2: u64) -> ! {
    let f = frame;
    say_fatal!(
        "internal error: exception {} (error code {:#x}, cr2 {cr2:#x}) at {:#x} on processor {}",
        f.vector,
        f.error_code,
        f.rip,
        processor()
    );
    say_fatal!(
        "  rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}",
        f.rax,
        f.rbx,
        f.rcx,
        f.rdx
    );
    say_fatal!(
        "  rsi {:016x} rdi {:016x} rbp {:016x} rsp {:016x}",
        f.rsi,
        f.rdi,
        f.rbp,
        f.rsp
    );
    say_fatal!(
        "  r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}",
        f.r8,
        f.r9,
        f.r10,
        f.r11
    );
    say_fatal!(
        "  r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}",
        f.r12,
        f.r13,
        f.r14,
        f.r15
    );
    stack::backtrace(f.rbp, |address| say_fatal!("  called from {address:#x}"));
    exit(ExitStatus::Internal)
}

fn processor() -> usize {
    percpu::try_this().map_or(0, |this| this.index())
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say_fatal!("internal error on processor {}: {}", processor(), info);
    stack::backtrace(stack::frame_pointer(), |address| {
        say_fatal!("  called from {address:#x}")
    });
    exit(ExitStatus::Internal)
}
