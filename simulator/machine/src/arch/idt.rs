//! Interrupt descriptor table: 256 entry points and what they do.
//!
//! Interrupts belong to the guest: their vectors are only noted. NMIs are the machine's own: kicks between processors, and its timer.
//! Exceptions are bugs of the machine.

use super::lock::SpinLock;
use super::percpu;
use core::arch::{asm, global_asm};

const NMI: u64 = 2;
const PAGE_FAULT: u64 = 14;
const RFLAGS_IF: u64 = 1 << 9;
const FIRST_INTERRUPT: u64 = 32;

global_asm!(
    r#"
.align 16
interrupt_entries:
.set vector, 0
.rept 256
.align 16
.if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21)
.else
    push 0
.endif
    push vector
    jmp interrupt_common
.set vector, vector + 1
.endr
interrupt_common:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    cld
    call {trap}
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq

/* Sleeps until an interrupt or an NMI; an NMI between the caller's last look and HLT continues at wait_end. */
.global wait_for_event
wait_for_event:
    cmp dword ptr [rdi], 0
    jne wait_end
    sti
wait_halt:
    hlt
wait_end:
    cli
    ret
"#,
    trap = sym trap,
);

/// What the entry points push.
#[repr(C)]
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
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

unsafe extern "C" {
    static interrupt_entries: u8;
    static wait_halt: u8;
    static wait_end: u8;
}

unsafe extern "sysv64" {
    fn wait_for_event(flag: *const u32);
}

#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

static TABLE: SpinLock<[Gate; 256]> = SpinLock::new([Gate { low: 0, high: 0 }; 256]);

/// Fills the table; once, on the boot processor.
pub fn init() {
    let mut table = TABLE.lock();
    for (i, gate) in table.iter_mut().enumerate() {
        let entry = &raw const interrupt_entries as u64 + i as u64 * 16;
        gate.low = entry & 0xFFFF | 0x08 << 16 | 0x8E << 40 | (entry >> 16 & 0xFFFF) << 48;
        gate.high = entry >> 32;
    }
}

/// Makes this processor use the table.
pub fn load() {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u64,
    }
    let pointer = Pointer {
        limit: 4095,
        base: &raw const *TABLE.lock() as u64,
    };
    // SAFETY: the table is a static and complete.
    unsafe { asm!("lidt [{}]", in(reg) &pointer, options(readonly, nostack, preserves_flags)) };
}

/// Halts until an interrupt or NMI arrives, unless `flag` is set.
pub fn wait(flag: &core::sync::atomic::AtomicU32) {
    // SAFETY: the routine reads the flag and halts with interrupts on, for which all vectors have handlers.
    unsafe { wait_for_event(flag.as_ptr()) };
}

extern "sysv64" fn trap(frame: &mut TrapFrame) {
    if frame.vector >= FIRST_INTERRUPT {
        percpu::this().note_interrupt(frame.vector as u8);
        // One at a time (cpu::take_interrupt).
        frame.rflags &= !RFLAGS_IF;
        return;
    }
    if frame.vector == NMI {
        // A kick by another processor or the timer: either way the vCPU's loop has something to look at.
        if let Some(this) = percpu::try_this() {
            this.kick_self();
        }
        let end = &raw const wait_end as u64;
        let start = wait_for_event as *const () as u64;
        if frame.rip >= start && frame.rip <= &raw const wait_halt as u64 {
            frame.rip = end;
        }
        return;
    }
    let cr2 = if frame.vector == PAGE_FAULT {
        super::cpu::cr2()
    } else {
        0
    };
    crate::panic::exception(frame, cr2);
}
