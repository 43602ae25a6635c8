// Copies that survive a fault: each instruction that touches foreign memory has an entry in .fixups with the address to
// go on at. The exception handler goes there; the caller sees it in RAX.

.section .text.copy, "ax", @progbits

// RDI: destination, RSI: source, RDX: bytes. RAX: 0, or not 0 after a fault.
.global foreign_copy
foreign_copy:
    mov rcx, rdx
    shr rcx, 3
2:  rep movsq
    mov ecx, edx
    and ecx, 7
3:  rep movsb
    xor eax, eax
    ret
4:  mov eax, 1
    ret
.pushsection .fixups, "a"
    .quad 2b, 4b
    .quad 3b, 4b
.popsection

// RDI: first of RSI bytes, which are whole pages. RAX as above. Unrolled, since it clears every page that a guest
// validates.
.global foreign_zero
foreign_zero:
    xor eax, eax
5:  .irp offset, 0, 8, 16, 24, 32, 40, 48, 56
7:  mov [rdi + \offset], rax
    .pushsection .fixups, "a"
    .quad 7b, 6f
    .popsection
    .endr
    add rdi, 64
    sub rsi, 64
    jnz 5b
    ret
6:  mov eax, 1
    ret

// RDI: address, ESI: size, EDX: 1 to validate. EAX: result code; bit 31 for a fault, bit 8 for "no change".
.global foreign_pvalidate
foreign_pvalidate:
    mov rax, rdi
    mov ecx, esi
7:  .byte 0xF2, 0x0F, 0x01, 0xFF          // PVALIDATE
    setc cl
    movzx ecx, cl
    shl ecx, 8
    or eax, ecx
    ret
.pushsection .fixups, "a"
    .quad 7b, 9f
.popsection

// RDI: address, ESI: size, RDX: target, permissions, VMSA flag. EAX: result code; bit 31 for a fault.
.global foreign_rmpadjust
foreign_rmpadjust:
    mov rax, rdi
    mov ecx, esi
8:  .byte 0xF3, 0x0F, 0x01, 0xFE          // RMPADJUST
    ret
9:  mov eax, 0x80000000
    ret
.pushsection .fixups, "a"
    .quad 8b, 9b
.popsection
