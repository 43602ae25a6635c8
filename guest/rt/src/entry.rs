//! From the 32-bit entry to `main`.
//!
//! Without paging every access is private, so the stub reads the C-bit's position from the CPUID page, builds the
//! first page tables (4 GiB identity, private) and only then turns paging on.

use crate::{context, ghcb, paging, params, power, trap};
use boot_abi::{GuestParams, layout};
use core::arch::global_asm;
use core::mem::offset_of;
use snp_abi::{cpuid, ghcb_msr, msr};

global_asm!(
    r#"
    .section .text.entry, "ax"
    .code32
    .global payload_entry
payload_entry:
    cli
    cld
    mov $rt_boot_stack_top, %esp
    /* EDI: the CPUID page */
    mov ${CPUID_GPA}, %edi
    test %ebx, %ebx
    jz 1f
    mov {PARAMS_CPUID}(%ebx), %edi
1:  mov (%edi), %ecx
    cmp ${MAX_ENTRIES}, %ecx
    ja 9f
    test %ecx, %ecx
    jz 9f
    add $16, %edi
2:  cmpl ${SEV_LEAF}, (%edi)
    je 3f
    add $48, %edi
    dec %ecx
    jnz 2b
    jmp 9f
    /* EBP: the C-bit in the upper half of a page-table entry */
3:  mov {ENTRY_EBX}(%edi), %ecx
    and $0x3F, %ecx
    sub $32, %ecx
    jb 9f
    mov $1, %ebp
    shl %cl, %ebp
    /* Page tables: one PML4, one PDPT, four page directories of 2 MiB pages. */
    mov $rt_pml4, %edi
    mov $rt_pdpt + 7, %eax
    mov %eax, (%edi)
    mov %ebp, 4(%edi)
    mov $rt_pdpt, %edi
    mov $rt_pd + 7, %eax
    mov $4, %ecx
4:  mov %eax, (%edi)
    mov %ebp, 4(%edi)
    add $8, %edi
    add $4096, %eax
    loop 4b
    mov $rt_pd, %edi
    mov $0x83, %eax
    mov $2048, %ecx
5:  mov %eax, (%edi)
    mov %ebp, 4(%edi)
    add $8, %edi
    add $0x200000, %eax
    loop 5b
    /* PAE, OSFXSR, OSXMMEXCPT */
    mov $0x620, %eax
    mov %eax, %cr4
    mov $rt_pml4, %eax
    mov %eax, %cr3
    /* LME and NXE on top of what is there: SVME must stay */
    mov ${EFER}, %ecx
    rdmsr
    or $0x900, %eax
    wrmsr
    /* PG, WP, NE, ET, MP, PE */
    mov $0x80010033, %eax
    mov %eax, %cr0
    lgdt rt_boot_gdtr
    ljmp $8, $6f
    /* No usable CPUID page: set 0, reason 2 (SNP not supported as needed). */
9:  mov ${TERMINATE}, %eax
    xor %edx, %edx
    mov ${GHCB}, %ecx
    wrmsr
    .byte 0xF3, 0x0F, 0x01, 0xD9
    hlt
    jmp 9b
    .code64
6:  mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov %ebp, %esi
    shl $32, %rsi
    mov $rt_pml4, %eax
    or %rsi, %rax
    mov %rax, %cr3
    mov $rt_boot_stack_top, %esp
    mov %ebx, %edi
    xor %ebp, %ebp
    call rt_start
    ud2

    .section .rodata
    .align 8
rt_boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
rt_boot_gdtr:
    .word 23
    .long rt_boot_gdt
    .long 0

    .section .bss
    .align 4096
    .global rt_pml4, rt_pdpt, rt_pd
rt_pml4: .skip 4096
rt_pdpt: .skip 4096
rt_pd: .skip 4 * 4096
    .skip 4 * 4096
rt_boot_stack_top:
    .text
"#,
    CPUID_GPA = const layout::CPUID_GPA,
    PARAMS_CPUID = const offset_of!(GuestParams, cpuid_gpa),
    MAX_ENTRIES = const cpuid::MAX_ENTRIES,
    SEV_LEAF = const cpuid::sev::LEAF,
    ENTRY_EBX = const offset_of!(cpuid::CpuidEntry, ebx),
    EFER = const msr::EFER,
    GHCB = const msr::GHCB,
    TERMINATE = const ghcb_msr::terminate(ghcb_msr::reason_general::SET, ghcb_msr::reason_general::SNP_UNSUPPORTED),
    options(att_syntax)
);

unsafe extern "C" {
    fn payload_main();
}

/// First Rust code, on the boot stack. `params_gpa` is EBX at entry, `c_bit` the C-bit's mask.
#[unsafe(no_mangle)]
extern "C" fn rt_start(params_gpa: u64, c_bit: u64) -> ! {
    paging::init(c_bit);
    params::init(params_gpa);
    trap::init();
    let boot = context::Context::boot();
    // SAFETY: this processor has no context yet, and the boot context is nobody else's.
    unsafe { boot.activate() };
    if let Err(error) = ghcb::init_boot() {
        // There is no console without a GHCB; the reason code is all that can be told.
        let _ = error;
        power::terminate(power::REASON_SET, power::REASON_NO_GHCB);
    }
    // SAFETY: `entry!` defines it.
    unsafe { payload_main() };
    power::power_off()
}
