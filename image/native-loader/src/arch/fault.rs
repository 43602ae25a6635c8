//! Exceptions of the loader's own code: each is a bug, or a machine that is not what its tables say. They are told with all
//! registers and a backtrace, and end the loader; without this they would reset the machine without a word.

use core::arch::{asm, global_asm};

use boot_info::Memory;

use super::memory::Physical;
use crate::exit::{ExitStatus, exit};
use crate::say;

/// What the stubs push, then the processor's part (APM vol. 2 §8.9).
#[repr(C)]
struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rcx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Vectors of exceptions.
const VECTORS: u32 = 32;
/// Those with an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP, #VC, #SX (APM vol. 2 §8.2).
const WITH_ERROR: u32 = 0x6022_7D00;

/// Longest backtrace.
const DEPTH: usize = 32;

global_asm!(
    r#"
.section .text.fault, "ax"
.code64
.balign 16
fault_stubs:
.set fault_vector, 0
.rept {vectors}
    .balign 16
    .if !(({with_error} >> fault_vector) & 1)
    push 0
    .endif
    push fault_vector
    jmp fault_common
    .set fault_vector, fault_vector + 1
.endr

fault_common:
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
    and rsp, -16
    call {fault}
    ud2

/* Fills the table and loads it. A gate: offset's bits 0 to 15, selector, 64-bit interrupt gate, offset's bits 16 to 31. All of
   the loader lies below 4 GiB. */
load_fault_table:
    lea rax, [rip + fault_stubs]
    lea rdi, [rip + fault_table]
    mov ecx, {vectors}
5:  mov word ptr [rdi], ax
    mov word ptr [rdi + 2], cs
    mov word ptr [rdi + 4], 0x8E00
    mov edx, eax
    shr edx, 16
    mov word ptr [rdi + 6], dx
    add rax, 16
    add rdi, 16
    loop 5b
    lea rax, [rip + fault_table]
    push rax
    sub rsp, 2
    mov word ptr [rsp], {vectors} * 16 - 1
    lidt [rsp]
    add rsp, 10
    ret

.section .bss.fault, "aw", @nobits
.balign 16
fault_table: .skip {vectors} * 16
.text
"#,
    vectors = const VECTORS,
    with_error = const WITH_ERROR,
    fault = sym fault,
);

/// From here on exceptions are told.
pub fn catch() {
    // SAFETY: it writes the table, which no Rust value is, and the stack below RSP; the registers that it uses are named.
    // The handlers end the loader, so that nothing that they change matters to the code that was interrupted.
    unsafe {
        asm!("call load_fault_table", out("rax") _, out("rcx") _, out("rdx") _, out("rdi") _);
    }
}

/// Executes what is no instruction.
pub fn provoke() -> ! {
    // SAFETY: the handler does not return.
    unsafe { asm!("ud2", options(noreturn)) }
}

extern "sysv64" fn fault(frame: &Frame) -> ! {
    let cr2: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) cr2, options(nomem, nostack, preserves_flags)) };
    let f = frame;
    say!(
        "fatal: exception {}, error {:#x}, at {:#x}, cr2 {cr2:#x}, cs {:#x}, ss {:#x}, rflags {:#x}",
        f.vector,
        f.error,
        f.rip,
        f.cs,
        f.ss,
        f.rflags
    );
    for (names, values) in [
        (["rax", "rbx", "rcx", "rdx"], [f.rax, f.rbx, f.rcx, f.rdx]),
        (["rsi", "rdi", "rbp", "rsp"], [f.rsi, f.rdi, f.rbp, f.rsp]),
        (["r8 ", "r9 ", "r10", "r11"], [f.r8, f.r9, f.r10, f.r11]),
        (["r12", "r13", "r14", "r15"], [f.r12, f.r13, f.r14, f.r15]),
    ] {
        let [a, b, c, d] = names;
        let [v, w, x, y] = values;
        say!("{a} {v:016x} {b} {w:016x} {c} {x:016x} {d} {y:016x}");
    }
    backtrace(f.rbp);
    exit(ExitStatus::Internal)
}

/// Return addresses by the frame pointers, as long as these lie in the loader and go up.
fn backtrace(mut rbp: u64) {
    let (start, end) = super::memory::own();
    for _ in 0..DEPTH {
        let mut words = [[0; 8]; 2];
        let inside = rbp >= start && rbp.saturating_add(size_of_val(&words) as u64) <= end;
        if !inside || Physical.read(rbp, words.as_flattened_mut()).is_none() {
            return;
        }
        let [next, address] = words.map(u64::from_le_bytes);
        say!("  called from {address:#x}");
        if next <= rbp {
            return;
        }
        rbp = next;
    }
}
