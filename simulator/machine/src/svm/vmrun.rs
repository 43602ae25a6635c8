//! VMRUN, and switching SVM on.

use super::vmcb::GuestBlock;
use crate::arch::{cpu, frames};
use core::arch::{asm, global_asm};
use core::sync::atomic::AtomicU32;
use snp_abi::msr;
use snp_abi::vmsa::Vmsa;

global_asm!(
    r#"
/* rdi: VMCB (physical), rsi: VMSA (virtual), rdx: host's VMCB (physical) for VMLOAD, rcx: flag that keeps it from entering.
   eax: 1 if the guest ran */
.global vmrun_guest
vmrun_guest:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdx
    push rsi
    clgi
    /* An NMI that came before is in the flag; one that comes now waits and ends the guest at once. */
    xor eax, eax
    cmp dword ptr [rcx], 0
    jne 1f
    sti
    mov rax, rdi
    mov rbx, [rsi + {rbx}]
    mov rcx, [rsi + {rcx}]
    mov rdx, [rsi + {rdx}]
    mov rdi, [rsi + {rdi}]
    mov rbp, [rsi + {rbp}]
    mov r8, [rsi + {r8}]
    mov r9, [rsi + {r8} + 8]
    mov r10, [rsi + {r8} + 16]
    mov r11, [rsi + {r8} + 24]
    mov r12, [rsi + {r8} + 32]
    mov r13, [rsi + {r8} + 40]
    mov r14, [rsi + {r8} + 48]
    mov r15, [rsi + {r8} + 56]
    mov rsi, [rsi + {rsi}]
    vmload rax
    vmrun rax
    vmsave rax
    mov rax, rsi
    pop rsi
    mov [rsi + {rsi}], rax
    mov [rsi + {rbx}], rbx
    mov [rsi + {rcx}], rcx
    mov [rsi + {rdx}], rdx
    mov [rsi + {rdi}], rdi
    mov [rsi + {rbp}], rbp
    mov [rsi + {r8}], r8
    mov [rsi + {r8} + 8], r9
    mov [rsi + {r8} + 16], r10
    mov [rsi + {r8} + 24], r11
    mov [rsi + {r8} + 32], r12
    mov [rsi + {r8} + 40], r13
    mov [rsi + {r8} + 48], r14
    mov [rsi + {r8} + 56], r15
    pop rax
    vmload rax
    cli
    mov eax, 1
    jmp 2f
1:  pop rsi
    pop rdx
2:  stgi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    cld
    ret
"#,
    rbx = const core::mem::offset_of!(Vmsa, rbx),
    rcx = const core::mem::offset_of!(Vmsa, rcx),
    rdx = const core::mem::offset_of!(Vmsa, rdx),
    rsi = const core::mem::offset_of!(Vmsa, rsi),
    rdi = const core::mem::offset_of!(Vmsa, rdi),
    rbp = const core::mem::offset_of!(Vmsa, rbp),
    r8 = const core::mem::offset_of!(Vmsa, r8),
);

unsafe extern "sysv64" {
    fn vmrun_guest(vmcb: u64, vmsa: *mut Vmsa, host: u64, flag: *const u32) -> u32;
}

/// Permission to use VMRUN on this processor: SVM is on, host save areas exist.
pub struct Svm {
    host: u64,
}

impl Svm {
    /// Switches SVM on; `None` without memory.
    pub fn enable() -> Option<Svm> {
        let save_area = frames::allocate(1)?;
        let host = frames::allocate(1)?;
        // SAFETY: `platform::check` made sure that the processor has SVM. The pages are this processor's alone.
        unsafe {
            cpu::wrmsr(
                msr::EFER,
                cpu::rdmsr(msr::EFER) | msr::EFER_SVME | msr::EFER_SCE,
            );
            cpu::wrmsr(msr::VM_HSAVE_PA, save_area);
            asm!("vmsave rax", in("rax") host, options(nostack, preserves_flags));
        }
        Some(Svm { host })
    }

    /// Runs the guest until it exits; not if `flag` is set (by an NMI's handler): `false`. Interrupts are off before and after;
    /// GIF is on.
    pub fn run(&self, block: &mut GuestBlock, flag: &AtomicU32) -> bool {
        let vmcb = block.physical();
        let state = &raw mut block.state;
        // SAFETY: the block is a VMCB whose nested page tables lead to guest memory only, and is borrowed exclusively.
        // The wrapper keeps callee-saved registers; FS, GS, TR and the rest come back by VMLOAD. FPU registers are not
        // used by the machine (soft-float target).
        unsafe { vmrun_guest(vmcb, state, self.host, flag.as_ptr()) != 0 }
    }
}
