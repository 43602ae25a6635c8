//! The first instructions: entry in 32-bit mode by PVH or multiboot 2, page tables, long mode.
//!
//! Both protocols enter with paging and interrupts off and flat segments. EBX points to the start information; EAX tells
//! multiboot 2 by its magic. A header of multiboot 1 would not do: QEMU looks for one before it looks for a PVH note, and
//! then refuses 64-bit ELF files.

use core::arch::global_asm;

const STACK_SIZE: usize = 64 * 1024;

global_asm!(
    r#"
.section .note.pvh, "a", @note
.align 4
.long 4
.long 4
.long 18                                /* XEN_ELFNOTE_PHYS32_ENTRY */
.asciz "Xen"
.long start32

.section .multiboot, "a"
.align 8
multiboot:
    .long 0xE85250D6                    /* magic, architecture (i386), length, checksum */
    .long 0
    .long multiboot_end - multiboot
    .long 0 - 0xE85250D6 - (multiboot_end - multiboot)
    .short 0                            /* end tag */
    .short 0
    .long 8
multiboot_end:

.section .text.boot, "ax"
.code32
.global start32
start32:
    cli
    cld
    mov esi, ebx
    mov ebp, eax
    mov edi, offset __bss_start
    mov ecx, offset __bss_end
    sub ecx, edi
    shr ecx, 2
    xor eax, eax
    rep stosd
    mov esp, offset stack_top

    /* Four page directories map the low 4 GiB as they are. */
    mov edi, offset page_directories
    mov eax, 0x83
    mov ecx, 2048
2:  mov [edi], eax
    add edi, 8
    add eax, 0x200000
    loop 2b
    mov edi, offset pdpt
    mov eax, offset page_directories + 3
    mov ecx, 4
3:  mov [edi], eax
    add edi, 8
    add eax, 4096
    loop 3b
    mov eax, offset pdpt + 3
    mov [pml4], eax

    mov eax, cr4
    or eax, 0x20                        /* PAE */
    mov cr4, eax
    mov eax, offset pml4
    mov cr3, eax
    mov ecx, 0xC0000080
    rdmsr
    or eax, 0x100                       /* LME */
    wrmsr
    mov eax, cr0
    or eax, 0x80000001                  /* PG, PE */
    mov cr0, eax
    lgdt [gdt_pointer]
    push {code64}
    .byte 0x68                          /* push, 32 bits (the assembler would take 16) */
    .long start64
    retf
.code64
start64:
    mov eax, {data}
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    mov edi, ebp
    xor ebp, ebp
    call {main}
    ud2

.section .rodata.boot, "a"
.align 8
gdt:                                    /* The selectors of igvm_loader::native, and one for 64-bit mode. */
    .quad 0
    .quad 0x00CF9B000000FFFF            /* 0x08: 32-bit code */
    .quad 0x00CF93000000FFFF            /* 0x10: data */
    .quad 0x00AF9B000000FFFF            /* 0x18: 64-bit code */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt

.section .bss.boot, "aw", @nobits
.align 4096
pml4: .skip 4096
pdpt: .skip 4096
page_directories: .skip 16384
stack_bottom: .skip {stack}
stack_top:
.text
"#,
    main = sym crate::loader_main,
    code64 = const 0x18,
    data = const igvm_loader::native::DATA,
    stack = const STACK_SIZE,
);
