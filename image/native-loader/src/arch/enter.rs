//! Leaving for the image's context: from long mode to 32-bit protected mode without paging.

use core::arch::{asm, global_asm};

use igvm_loader::native::{CODE, CR0, DATA, Flat32, RFLAGS};

use super::port::out8;

/// The 8259s' mask registers.
const MASKS: [u16; 2] = [0x21, 0xA1];

/// The context in the order in which `enter_context` takes it: POPAD's, then ESP and EIP, then two descriptor-table
/// registers.
#[repr(C, packed)]
struct Frame {
    edi: u32,
    esi: u32,
    ebp: u32,
    /// POPAD passes over it.
    unused: u32,
    ebx: u32,
    edx: u32,
    ecx: u32,
    eax: u32,
    esp: u32,
    eip: u32,
    gdtr: Pseudo,
    idtr: Pseudo,
}

/// The operand of LGDT and LIDT in 32-bit mode.
#[repr(C, packed)]
struct Pseudo {
    limit: u16,
    base: u32,
}

impl Pseudo {
    const fn new((limit, base): (u16, u32)) -> Pseudo {
        Pseudo { limit, base }
    }
}

global_asm!(
    r#"
.section .text.enter, "ax"
.code64
enter_context:                          /* RDI: the frame */
    cli
    push {code}
    push offset enter_without_paging
    retfq
.code32
enter_without_paging:
    mov eax, {data}
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    mov eax, cr0
    and eax, 0x7FFFFFFF                 /* PG off: long mode ends */
    mov cr0, eax
    mov ecx, 0xC0000080                 /* EFER */
    xor eax, eax
    xor edx, edx
    wrmsr
    mov cr3, eax
    mov cr4, eax
    mov eax, {cr0}
    mov cr0, eax
    push {rflags}
    popfd
    mov esp, edi
    popad
    lgdt [esp + 8]
    lidt [esp + 14]
    push dword ptr [esp + 4]
    pop dword ptr [enter_eip]
    mov esp, [esp]
    jmp dword ptr [enter_eip]

.section .bss.enter, "aw", @nobits
.align 4
enter_eip: .skip 4
.text
"#,
    code = const CODE,
    data = const DATA,
    cr0 = const CR0,
    rflags = const RFLAGS,
);

/// Enters the context. Interrupts of the 8259s are masked, as in a machine that no firmware has set up.
pub fn enter(context: &Flat32) -> ! {
    for port in MASKS {
        out8(port, 0xFF);
    }
    let frame = Frame {
        edi: context.edi,
        esi: context.esi,
        ebp: context.ebp,
        unused: 0,
        ebx: context.ebx,
        edx: context.edx,
        ecx: context.ecx,
        eax: context.eax,
        esp: context.esp,
        eip: context.eip,
        gdtr: Pseudo::new(context.gdtr),
        idtr: Pseudo::new(context.idtr),
    };
    // SAFETY: all of the loader lies below 4 GiB and is mapped where it is, so the code and the frame are at the same place
    // without paging; it does not return, and no Rust code runs after it.
    unsafe {
        asm!("jmp enter_context", in("rdi") &raw const frame, options(noreturn));
    }
}
