//! The last instructions before Linux.

use core::arch::global_asm;

// The 64-bit boot protocol (Linux `Documentation/arch/x86/boot.rst`): paging on with everything identity mapped, flat
// segments 0x10 and 0x18, interrupts off, RSI = boot_params. CR4 keeps only PAE. EFER is left alone: SVME must stay.
// The GDT is in the image, whose pages Linux leaves alone, as are the page tables.
global_asm!(
    r#"
    .text
    .global shim_enter
shim_enter:
    cli
    cld
    lgdt shim_gdtr(%rip)
    mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    pushq $0x10
    lea 1f(%rip), %rax
    push %rax
    lretq
1:  mov $0x20, %eax
    mov %rax, %cr4
    mov %rdi, %rax
    xor %edi, %edi
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    xor %ebp, %ebp
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    xor %r11d, %r11d
    xor %r12d, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    jmp *%rax

    .section .rodata
    .align 16
shim_gdt:
    .quad 0
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .align 8
    .skip 6
shim_gdtr:
    .word 31
    .quad shim_gdt
    .text
"#,
    options(att_syntax)
);

unsafe extern "C" {
    fn shim_enter(entry: u64, boot_params: u64) -> !;
}

/// Jumps to the kernel.
///
/// # Safety
/// `entry` must be a Linux kernel's 64-bit entry point, `boot_params` its parameters; both, and all that they name, in
/// private memory below 4 GiB.
pub unsafe fn enter(entry: u64, boot_params: u64) -> ! {
    // SAFETY: the caller vouches for both addresses; nothing of this program runs afterwards.
    unsafe { shim_enter(entry, boot_params) }
}
