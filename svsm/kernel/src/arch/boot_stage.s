// The 32-bit boot stage: from flat protected mode without paging, where the image starts, to the kernel in long mode. It
// stands alone: it uses no stack and no memory but its page tables and the CPUID page.
//
// EBX tells the platform: on the native one it has where the SVSM's memory is. In a VMSA it is zero, and measured.
//
// Without paging every access is private, and so are instruction fetches and page-table walks at any time (APM vol. 2
// §15.34.5), so the C-bit is needed only in the tables' entries; where it is, the CPUID page says.

.section .boot.text, "awx", @progbits
.code32
.global boot_stage_entry
boot_stage_entry:
    cli
    cld
    xor ebp, ebp                          // EBP: the C-bit's position; EDI: upper half of a C-bit
    xor edi, edi
    mov eax, ebx                          // EAX, EBX: the SVSM's address, lower and upper half
    xor ebx, ebx
    test eax, eax
    jnz boot_stage_tables

    // CPUID page: 1 to 64 entries of 48 bytes; leaf in the first word, EAX at 24, EBX at 28.
    mov esi, {cpuid_gpa}
    mov ecx, [esi]
    test ecx, ecx
    jz boot_stage_refuse
    cmp ecx, 64
    ja boot_stage_refuse
    add esi, 16
2:  cmp dword ptr [esi], 0x8000001F
    je 3f
    add esi, 48
    dec ecx
    jnz 2b
    jmp boot_stage_refuse

3:  // SEV, SEV-ES and SEV-SNP must be on.
    mov eax, [esi + 24]
    and eax, 0x1A
    cmp eax, 0x1A
    jne boot_stage_refuse

    // The C-bit must lie above the kernel's addresses, and below the bits that are no address.
    mov eax, [esi + 28]
    and eax, 0x3F
    cmp eax, 40
    jb boot_stage_refuse
    cmp eax, 51
    ja boot_stage_refuse
    mov ebp, eax
    sub eax, 32
    bts edi, eax
    xor eax, eax
    mov ebx, edi
    or ebx, {svsm_base_high}

boot_stage_tables:
    mov esi, eax
    // Tables: the first 2 MiB as they are, and the SVSM's 8 MiB where the kernel is linked, by large pages. P, W and A
    // are set, D too in large pages, so that the processor never has to write here.
    mov dword ptr [boot_pml4], offset boot_pdpt_low + 0x23
    mov dword ptr [boot_pml4 + 4], edi
    mov dword ptr [boot_pml4 + 511 * 8], offset boot_pdpt_high + 0x23
    mov dword ptr [boot_pml4 + 511 * 8 + 4], edi
    mov dword ptr [boot_pdpt_low], offset boot_pd_low + 0x23
    mov dword ptr [boot_pdpt_low + 4], edi
    mov dword ptr [boot_pdpt_high + 510 * 8], offset boot_pd_high + 0x23
    mov dword ptr [boot_pdpt_high + 510 * 8 + 4], edi
    mov dword ptr [boot_pd_low], 0xE3
    mov dword ptr [boot_pd_low + 4], edi
    xor ecx, ecx
4:  mov eax, ecx
    shl eax, 21
    lea eax, [esi + eax + 0xE3]
    mov [boot_pd_high + ecx * 8], eax
    mov [boot_pd_high + ecx * 8 + 4], ebx
    inc ecx
    cmp ecx, {svsm_large_pages}
    jne 4b

    mov eax, cr4
    or eax, 1 << 5                        // PAE
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov ecx, 0xC0000080                   // EFER: LME, everything else as it is
    rdmsr
    or eax, 1 << 8
    wrmsr
    lgdt [boot_gdt_pointer]
    mov eax, cr0
    or eax, 1 << 31 | 1                   // PG, PE
    mov cr0, eax
    // Far jump to the 64-bit code segment.
    .byte 0xEA
    .long boot_stage_long
    .short 8

boot_stage_refuse:
    xor edx, edx
    mov eax, {refuse}                     // termination through the GHCB MSR
    mov ecx, 0xC0010130
    wrmsr
    rep; vmmcall                          // VMGEXIT
5:  hlt
    jmp 5b

.code64
boot_stage_long:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    // The same tables, now named with the C-bit.
    shl rdi, 32
    mov eax, offset boot_pml4
    or rax, rdi
    mov cr3, rax
    movabs rsp, offset __boot_stack_top
    mov edi, ebp                          // first argument: the C-bit's position
    mov esi, esi                          // second: where the SVSM's memory is, on the native platform
    xor ebp, ebp
    movabs rax, offset {kernel_entry}
    call rax
    ud2

.balign 8
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF              // 64-bit code
    .quad 0x00CF93000000FFFF              // data
    .quad 0x00CF9B000000FFFF              // 32-bit code, for APs of the native platform
boot_gdt_pointer:
    .short 31
    .long boot_gdt

// Where an AP of the native platform starts after a SIPI: in real mode, at the start of a page. It goes the same way on the
// same tables, then looks for what the boot CPU has prepared for it, by its APIC ID.
.section .boot.ap, "awx", @progbits
.code16
ap_trampoline:
    cli
    cld
    mov ax, cs
    mov ds, ax
    .byte 0x66, 0x0F, 0x01, 0x16          // LGDT with a 32-bit base
    .short boot_gdt_pointer - {boot_stage_base}
    mov eax, cr0
    and eax, 0x9FFFFFFF                   // caches on
    or eax, 1
    mov cr0, eax
    .byte 0x66, 0xEA                      // far jump to 32-bit code
    .long ap_protected
    .short 24

.code32
ap_protected:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, cr4
    or eax, 1 << 5
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov ecx, 0xC0000080
    rdmsr
    or eax, 1 << 8
    wrmsr
    mov eax, cr0
    or eax, 1 << 31
    mov cr0, eax
    .byte 0xEA
    .long ap_long
    .short 8

.code64
ap_long:
    movabs rax, offset ap_find
    jmp rax

.section .text.ap, "ax", @progbits
ap_find:
    // The APIC ID: of 32 bits where the processor has leaf 0xB, else of 8.
    xor eax, eax
    cpuid
    cmp eax, 0xB
    jb 1f
    mov eax, 0xB
    xor ecx, ecx
    cpuid
    test ebx, ebx
    jnz 2f
1:  mov eax, 1
    cpuid
    mov edx, ebx
    shr edx, 24
2:  mov rbx, [rip + {ap_count}]           // written after the entries
    lea rcx, [rip + {ap_entries}]         // an ID, and where its start is
3:  test rbx, rbx
    jz 5f
    cmp [rcx], edx
    je 4f
    add rcx, 16
    dec rbx
    jmp 3b
4:  mov rdi, [rcx + 8]
    test rdi, rdi
    jz 5f
    mov eax, [rdi + {ap_efer}]
    mov edx, [rdi + {ap_efer} + 4]
    mov ecx, 0xC0000080
    wrmsr
    mov rax, [rdi + {ap_cr0}]
    mov cr0, rax
    mov rax, [rdi + {ap_cr3}]
    mov cr3, rax
    mov rax, [rdi + {ap_cr4}]
    mov cr4, rax
    mov rsp, [rdi + {ap_rsp}]
    sub rsp, 8
    mov rbx, rdi
    xor ebp, ebp
    call {ap_adopt}
    add rsp, 8
    mov rdi, [rbx + {ap_rdi}]
    jmp [rbx + {ap_rip}]
5:  cli
    hlt                                   // nothing was prepared for it
    jmp 5b

.section .boot.tables, "aw", @nobits
.balign 4096
boot_pml4: .skip 4096
boot_pdpt_low: .skip 4096
boot_pd_low: .skip 4096
boot_pdpt_high: .skip 4096
boot_pd_high: .skip 4096
