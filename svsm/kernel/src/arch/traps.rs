//! Exceptions: from the entry in traps.s to the handler, and back.

use core::arch::global_asm;
use core::mem::offset_of;

global_asm!(include_str!("traps.s"), handler = sym trap_entry,
    rip = const offset_of!(TrapFrame, rip), token = const RESTORE_TOKEN,
    frame = const size_of::<TrapFrame>(), frame_words = const size_of::<TrapFrame>() / 8,
    cs = const offset_of!(TrapFrame, cs), vector = const offset_of!(TrapFrame, vector), hv = const HYPERVISOR_INJECTION, rsp0 = const super::percpu::RSP0_OFFSET,
    gs_base = const snp_abi::msr::GS_BASE);

/// Where `enter_service` keeps the place of the restore token: above the area, the frame and six registers.
const RESTORE_TOKEN: usize = 8 * 8;

/// Vector of #DB.
pub const DEBUG: u8 = 1;

/// Vector of #BP.
#[cfg(feature = "gdb")]
pub const BREAKPOINT: u8 = 3;
/// Vector of NMI.
pub const NMI: u8 = 2;
/// Vector of #MC.
pub const MACHINE_CHECK: u8 = 18;
/// Vector of #DF.
pub const DOUBLE_FAULT: u8 = 8;
/// Vector of #GP.
pub const GENERAL_PROTECTION: u8 = 13;
/// Vector of #PF.
pub const PAGE_FAULT: u8 = 14;
/// Vector of #CP.
pub const CONTROL_PROTECTION: u8 = 21;
/// Vector of #HV.
pub const HYPERVISOR_INJECTION: u8 = 28;

/// Interrupt vectors of the native platform: this CPU's timer, another CPU's signal, and what an APIC raises when the
/// interrupt has gone meanwhile. On SEV-SNP #HV stands for all of them.
pub const TIMER: u8 = 0x81;
/// As above.
pub const IPI: u8 = 0x82;
/// As above.
pub const SPURIOUS: u8 = 0xFF;
/// All of them, in the order of `interrupt_addresses` in traps.s.
pub const INTERRUPTS: [u8; 3] = [TIMER, IPI, SPURIOUS];

/// Whether a vector is a signal from outside, which says nothing about the code that it interrupted.
pub fn is_signal(vector: u8) -> bool {
    vector == HYPERVISOR_INJECTION || INTERRUPTS.contains(&vector)
}

/// Registers at an exception; those that are changed take effect on return.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct TrapFrame {
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

unsafe extern "C" {
    static enter_window_start: u8;
    static enter_window_end: u8;
    static enter_aborted: u8;
}

/// RFLAGS.TF.
pub const SINGLE_STEP: u64 = 1 << 8;

/// Handles an exception. Returns where to go on, or 0: where the frame says.
extern "C" fn trap_entry(frame: &mut TrapFrame) -> u64 {
    match frame.vector as u8 {
        // These two can come before GS is the kernel's again, so nothing here may use it. With restricted injection the
        // hypervisor may raise #HV at any time; only in a service it means something.
        HYPERVISOR_INJECTION => {
            // The symbols' addresses are all that is used of them.
            let window = &raw const enter_window_start as u64..&raw const enter_window_end as u64;
            return if window.contains(&frame.rip) {
                &raw const enter_aborted as u64
            } else {
                0
            };
        }
        // Ring 0 lets interrupts in only while it waits for one.
        vector if INTERRUPTS.contains(&vector) => {
            super::percpu::this_cpu().signal.set(vector);
            return 0;
        }
        // Stepping is in ring 0, after GS is the kernel's again, and ends at every gate.
        #[cfg(feature = "gdb")]
        DEBUG if crate::gdb::is_stepping() => {}
        // A service's single step or data breakpoint that the processor reports late.
        DEBUG => {
            frame.rflags &= !SINGLE_STEP;
            return 0;
        }
        _ => {}
    }
    // A fault of an instruction that copies foreign memory is that copy's failure and nothing more.
    let copy_fault = match frame.vector as u8 {
        GENERAL_PROTECTION | PAGE_FAULT => true,
        snp_abi::VC_VECTOR => frame.error == snp_abi::exit::PAGE_NOT_VALIDATED,
        _ => false,
    };
    if copy_fault && let Some(next) = crate::mm::fixup(frame.rip) {
        return next;
    }
    let rip = frame.rip;
    crate::exception::handle(frame);
    if frame.rip == rip { 0 } else { frame.rip }
}
