//! Exceptions and interrupts: the IDT, hooks that handle and resume, and [`catch`], which runs code that is expected
//! to raise an exception and reports it.
//!
//! An exception goes first to the hook of its vector ([`set_hook`]); if there is none or it declines, to the
//! innermost [`catch`]; then #VC goes to the runtime's own handler; what is left is a panic with the registers.

use crate::context::{Context, KERNEL_CS, KERNEL_DS, USER_CS, USER_DS};
use crate::sync::RawCell;
use crate::{cpu, vc};
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Vectors by name.
pub mod vector {
    /// Invalid opcode.
    pub const UD: u64 = 6;
    /// Double fault.
    pub const DF: u64 = 8;
    /// General protection.
    pub const GP: u64 = 13;
    /// Page fault.
    pub const PF: u64 = 14;
    /// Hypervisor injection (restricted injection's doorbell).
    pub const HV: u64 = 28;
    /// VMM communication.
    pub const VC: u64 = 29;
    /// By which [`super::run_user`]'s code returns: INT 0x80.
    pub const USER_EXIT: u64 = 0x80;
}

/// What the entry code pushes; the handler may change it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// An exception that [`catch`] caught.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Trap {
    /// The registers at the exception.
    pub frame: Frame,
    /// CR2 when the handler ran.
    pub cr2: u64,
    /// Where the processor had put its frame: tells which stack it took.
    pub handler_stack: u64,
}

/// Handles an exception or interrupt and returns true to resume; false passes it on.
pub type Hook = fn(&mut Frame) -> bool;

#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    offset_low: u16,
    selector: u16,
    ist: u8,
    attributes: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

static IDT: RawCell<[Gate; 256]> = RawCell::new(
    [Gate {
        offset_low: 0,
        selector: 0,
        ist: 0,
        attributes: 0,
        offset_middle: 0,
        offset_high: 0,
        reserved: 0,
    }; 256],
);

static HOOKS: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];

unsafe extern "C" {
    static rt_trap_stubs: [[u8; 16]; 256];
    fn rt_catch(
        function: extern "C" fn(*mut u8),
        argument: *mut u8,
        recovery: *mut Recovery,
    ) -> u64;
    fn rt_catch_resume();
    fn rt_enter_user(frame: *const Frame) -> !;
}

/// Where `catch` is returned to, and what happened.
#[repr(C)]
struct Recovery {
    rsp: u64,
    rflags: u64,
    trap: Trap,
}

/// Fills the IDT.
pub(crate) fn init() {
    for vector in 0..256 {
        let dpl = if vector as u64 == vector::USER_EXIT || vector == 3 {
            3
        } else {
            0
        };
        set_gate(vector as u8, 0, dpl);
    }
}

/// Sets a vector's interrupt stack (0 none, 1 or 2) and the privilege that INT needs.
pub fn set_gate(vector: u8, ist: u8, dpl: u8) {
    // SAFETY: it only computes the address of a stub.
    let stub = unsafe { &raw const rt_trap_stubs[vector as usize] } as u64;
    let gate = Gate {
        offset_low: stub as u16,
        selector: KERNEL_CS,
        ist,
        attributes: 0x8E | dpl << 5,
        offset_middle: (stub >> 16) as u16,
        offset_high: (stub >> 32) as u32,
        reserved: 0,
    };
    // SAFETY: the IDT is ours; a gate is replaced by another that is complete, and no test changes the gate of an
    // exception that it takes meanwhile.
    unsafe { (&raw mut (*IDT.get())[vector as usize]).write_volatile(gate) };
}

/// Sets or clears a vector's hook.
pub fn set_hook(vector: u8, hook: Option<Hook>) {
    HOOKS[vector as usize].store(hook.map_or(0, |hook| hook as usize), Ordering::Release);
}

/// The operand of LGDT and LIDT.
#[repr(C, packed(2))]
pub(crate) struct TableRegister {
    limit: u16,
    base: u64,
}

pub(crate) fn table_register(base: u64, bytes: usize) -> TableRegister {
    TableRegister {
        limit: bytes as u16 - 1,
        base,
    }
}

/// Loads the IDT on this processor.
pub(crate) fn load_idt() {
    let idtr = idt_register();
    // SAFETY: the IDT is complete and lives for good.
    unsafe { asm!("lidt [{}]", in(reg) &idtr, options(nostack, preserves_flags)) };
}

/// Base and bytes of the IDT.
pub fn idt() -> (u64, usize) {
    (IDT.get() as u64, size_of::<[Gate; 256]>())
}

fn idt_register() -> TableRegister {
    let (base, bytes) = idt();
    table_register(base, bytes)
}

/// Runs `f`; when it raises an exception, returns it. What `f` owned then is not dropped.
pub fn catch<F: FnOnce()>(f: F) -> Option<Trap> {
    extern "C" fn call<F: FnOnce()>(argument: *mut u8) {
        // SAFETY: `argument` is the `Option<F>` below, which outlives the call.
        if let Some(f) = unsafe { (*(argument as *mut Option<F>)).take() } {
            f();
        }
    }
    let context = Context::current();
    let mut f = Some(f);
    let mut recovery = Recovery {
        rsp: 0,
        rflags: cpu::rflags(),
        trap: Trap::default(),
    };
    let recovery = &raw mut recovery;
    let outer = context.recovery.swap(recovery as u64, Ordering::Relaxed);
    // SAFETY: `f` and the record live until `rt_catch` returns; it saves what the calling convention asks for.
    let trapped = unsafe { rt_catch(call::<F>, &raw mut f as *mut u8, recovery) };
    context.recovery.store(outer, Ordering::Relaxed);
    core::mem::forget(f);
    // SAFETY: the record is a live local; the handler that wrote it has returned.
    (trapped != 0).then(|| unsafe { (*recovery).trap })
}

/// Runs CPL 3 code with the registers of `frame` (RIP, RSP and the general ones; the rest is set here) until it
/// raises an exception, or returns by INT 0x80; reports which.
pub fn run_user(frame: &Frame) -> Trap {
    let mut frame = *frame;
    frame.cs = USER_CS as u64;
    frame.ss = USER_DS as u64;
    frame.rflags = frame.rflags & 0x3F7FD5 | 2;
    let frame = &frame;
    // SAFETY: the frame is complete; whatever the code does, ends in an exception that `catch` recovers.
    let trap = catch(|| unsafe { rt_enter_user(frame) });
    trap.unwrap_or_default()
}

/// The common handler.
#[unsafe(no_mangle)]
extern "C" fn rt_trap(frame: &mut Frame) {
    let cr2 = cpu::cr2();
    let hook = HOOKS[(frame.vector & 0xFF) as usize].load(Ordering::Acquire);
    if hook != 0 {
        // SAFETY: only `set_hook` writes here, and it writes a `Hook`.
        let hook: Hook = unsafe { core::mem::transmute(hook) };
        if hook(frame) {
            return;
        }
    }
    let context = Context::current();
    let recovery = context.recovery.load(Ordering::Relaxed) as *mut Recovery;
    let catchable = frame.vector < 32 || frame.vector == vector::USER_EXIT;
    if !recovery.is_null() && catchable {
        // SAFETY: a recovery record in the context is a live local of a `catch` on this context's stack, and that
        // `catch` is not running while we are.
        unsafe {
            (*recovery).trap = Trap {
                frame: *frame,
                cr2,
                handler_stack: frame as *const Frame as u64,
            };
            frame.rip = rt_catch_resume as *const () as u64;
            frame.rsp = (*recovery).rsp;
            frame.rflags = (*recovery).rflags;
        }
        frame.cs = KERNEL_CS as u64;
        frame.ss = KERNEL_DS as u64;
        return;
    }
    if frame.vector == vector::VC && vc::handle(frame) {
        return;
    }
    panic!(
        "vector {} error {:#x} at {:#x}:{:#x} cr2 {:#x} rsp {:#x} rflags {:#x}\n{:#x?}",
        frame.vector, frame.error, frame.cs, frame.rip, cr2, frame.rsp, frame.rflags, frame
    );
}
