//! The assembly of [`crate::trap`]: entry stubs of all vectors, the way into CPL 3, and `catch`'s way back.

use core::arch::global_asm;

global_asm!(
    r#"
    .text
    .align 16
    .global rt_trap_stubs
rt_trap_stubs:
    .set i, 0
    .rept 256
    .align 16
    .if (i == 8) || ((i >= 10) && (i <= 14)) || (i == 17) || (i == 21) || (i == 29) || (i == 30)
    .else
    pushq $0
    .endif
    pushq $i
    jmp rt_trap_common
    .set i, i + 1
    .endr
rt_trap_common:
    push %rax
    push %rbx
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %rbp
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    mov %rsp, %rdi
    mov %rsp, %rbp
    and $-16, %rsp
    call rt_trap
    mov %rbp, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rbp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rbx
    pop %rax
    add $16, %rsp
    iretq

    /* rt_catch(function, argument, recovery) -> 0 when it returned, 1 when it was left by an exception */
    .global rt_catch, rt_catch_resume
rt_catch:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdx)
    push %rdx
    mov %rdi, %rax
    mov %rsi, %rdi
    call *%rax
    add $8, %rsp
    xor %eax, %eax
    jmp 1f
rt_catch_resume:
    mov $1, %eax
1:  pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    /* rt_enter_user(frame): IRETQ to the registers of the frame; never returns */
    .global rt_enter_user
rt_enter_user:
    mov %rdi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rbp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rbx
    pop %rax
    add $16, %rsp
    iretq
"#,
    options(att_syntax)
);
