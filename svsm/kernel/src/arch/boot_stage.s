// The 32-bit boot stage: from flat protected mode without paging, where the image's VMSA starts, to the kernel in long
// mode. It stands alone: it uses no stack and no memory but its page tables and the CPUID page.
//
// Without paging every access is private, and so are instruction fetches and page-table walks at any time (APM vol. 2
// §15.34.5), so the C-bit is needed only in the tables' entries; where it is, the CPUID page says.

.section .boot.text, "awx", @progbits
.code32
.global boot_stage_entry
boot_stage_entry:
    cli
    cld

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
    xor edi, edi
    bts edi, eax                          // EDI: upper half of a C-bit

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
    mov ebx, edi
    or ebx, {svsm_base_high}              // upper half of the SVSM's address
    xor ecx, ecx
4:  mov eax, ecx
    shl eax, 21
    or eax, 0xE3
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
    xor ebp, ebp
    movabs rax, offset {kernel_entry}
    call rax
    ud2

.balign 8
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF              // 64-bit code
    .quad 0x00CF93000000FFFF              // data
boot_gdt_pointer:
    .short 23
    .long boot_gdt

.section .boot.tables, "aw", @nobits
.balign 4096
boot_pml4: .skip 4096
boot_pdpt_low: .skip 4096
boot_pd_low: .skip 4096
boot_pdpt_high: .skip 4096
boot_pd_high: .skip 4096
