//! The first instructions: PVH entry in 32-bit mode, first page tables, long mode.
//!
//! QEMU enters at `start32` with paging off and EBX pointing to `hvm_start_info` (Xen PVH boot protocol). The image
//! still lies where its ELF file says, at 2 MiB; `KERNEL_BASE` minus nothing is the offset of virtual to physical.

use core::arch::global_asm;

/// Bytes of the boot processor's stack.
const STACK_SIZE: usize = 64 * 1024;

global_asm!(
    r#"
.section .note.pvh, "a", @note
.align 4
.long 4
.long 4
.long 18                                /* XEN_ELFNOTE_PHYS32_ENTRY */
.asciz "Xen"
.long start32 - 0xFFFFFFFF80000000

.section .text.boot, "ax"
.code32
.global start32
start32:
    cli
    cld
    mov esi, ebx
    /* .bss: QEMU clears it, but the protocol does not say so. */
    mov edi, offset __bss_start - 0xFFFFFFFF80000000
    mov ecx, offset __bss_end - 0xFFFFFFFF80000000
    sub ecx, edi
    shr ecx, 2
    xor eax, eax
    rep stosd
    mov esp, offset boot_stack_top - 0xFFFFFFFF80000000

    /* Four page directories map the low 4 GiB; identity, direct map and the image's address share them. */
    mov edi, offset boot_pd - 0xFFFFFFFF80000000
    mov eax, 0x83
    mov ecx, 2048
2:  mov [edi], eax
    add edi, 8
    add eax, 0x200000
    loop 2b
    mov edi, offset boot_pdpt - 0xFFFFFFFF80000000
    mov eax, offset boot_pd - 0xFFFFFFFF80000000 + 3
    mov ecx, 4
3:  mov [edi], eax
    add edi, 8
    add eax, 4096
    loop 3b
    mov eax, offset boot_pd - 0xFFFFFFFF80000000 + 3
    mov [boot_pdpt_high - 0xFFFFFFFF80000000 + 510 * 8], eax
    mov eax, offset boot_pdpt - 0xFFFFFFFF80000000 + 3
    mov [boot_pml4 - 0xFFFFFFFF80000000], eax
    mov [boot_pml4 - 0xFFFFFFFF80000000 + 256 * 8], eax
    mov eax, offset boot_pdpt_high - 0xFFFFFFFF80000000 + 3
    mov [boot_pml4 - 0xFFFFFFFF80000000 + 511 * 8], eax

    mov eax, cr4
    or eax, 0x20                        /* PAE */
    mov cr4, eax
    mov eax, offset boot_pml4 - 0xFFFFFFFF80000000
    mov cr3, eax
    mov ecx, 0xC0000080
    rdmsr
    or eax, 0x900                       /* LME, NXE */
    wrmsr
    mov eax, cr0
    or eax, 0x80010001                  /* PG, WP, PE */
    mov cr0, eax
    lgdt [boot_gdt_pointer - 0xFFFFFFFF80000000]
    push 8
    .byte 0x68                          /* push, 32 bits (the assembler would take 16) */
    .long start64_low - 0xFFFFFFFF80000000
    retf
.code64
start64_low:
    mov rax, offset start64
    jmp rax
start64:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    lgdt [rip + boot_gdt_pointer_high]
    mov rsp, offset boot_stack_top
    xor ebp, ebp
    mov edi, esi
    call {main}
    ud2

.section .rodata.boot, "a"
.align 8
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF            /* 0x08: 64-bit code */
    .quad 0x00CF93000000FFFF            /* 0x10: data */
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt - 0xFFFFFFFF80000000
.align 8
.global boot_gdt_pointer_high
boot_gdt_pointer_high:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

.section .bss.boot, "aw", @nobits
.align 4096
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pdpt_high: .skip 4096
boot_pd: .skip 16384
.align 16
.global boot_stack_bottom
boot_stack_bottom:
.skip {stack}
boot_stack_top:
.text
"#,
    main = sym crate::boot_main,
    stack = const STACK_SIZE,
);

/// Makes a processor that came through the trampoline use the image's descriptor table, which has the same segments.
pub fn load_gdt() {
    unsafe extern "C" {
        static boot_gdt_pointer_high: u8;
    }
    // SAFETY: the table is a constant of the image, with the segments that are loaded already at their places.
    unsafe {
        core::arch::asm!("lgdt [{}]", in(reg) &raw const boot_gdt_pointer_high, options(readonly, nostack, preserves_flags));
    }
}
