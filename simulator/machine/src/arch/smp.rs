//! Starting the other processors: INIT, SIPI, a trampoline in low memory that is put back afterwards.

use super::time::{self, Deadline};
use super::{frames, lapic, paging, percpu, phys};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Where the trampoline goes; the vector of the SIPI is its page number.
const TRAMPOLINE: u64 = 0x8000;
/// Where in it the boot processor's parameters are.
const PARAMETERS: u64 = 8;
/// Where the stack is.
const STACK: u64 = 0x18;
/// Bytes of a processor's stack.
const STACK_BYTES: u64 = 64 * 1024;
/// How long a processor may take to report.
const START_MS: u64 = 500;

global_asm!(
    r#"
.section .rodata.trampoline, "a"
.global trampoline_start, trampoline_end
.code16
trampoline_start:
    jmp trampoline_16
.org 0x08                               /* what the boot processor fills in */
    .quad 0                             /* 0x8008: CR3 */
    .quad 0                             /* 0x8010: entry */
    .quad 0                             /* 0x8018: a stack, until a processor has taken it */
    .quad 0
    .word 23                            /* 0x8028: GDT pointer */
    .long 0x8030
.org 0x30
    .quad 0                             /* 0x8030: GDT */
    .quad 0x00AF9B000000FFFF
    .quad 0x00CF93000000FFFF
trampoline_16:
    cli
    xor ax, ax
    mov ds, ax
    mov eax, 0x20
    mov cr4, eax
    mov eax, dword ptr [0x8008]
    mov cr3, eax
    mov ecx, 0xC0000080
    rdmsr
    or eax, 0x900
    wrmsr
    lgdt [0x8028]
    mov eax, cr0
    and eax, 0x9FFFFFFF                 /* CD, NW off */
    or eax, 0x80010001
    mov cr0, eax
    .byte 0x66, 0xEA                    /* far jump, 32-bit offset */
    .long 0x8000 + trampoline_64 - trampoline_start
    .word 8
.code64
trampoline_64:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
1:  pause                               /* one that comes late waits for the next stack */
    xor eax, eax
    xchg rax, qword ptr [0x8018]
    test rax, rax
    jz 1b
    mov rsp, rax
    mov rax, qword ptr [0x8010]
    xor ebp, ebp
    call rax
    ud2
trampoline_end:
.text
"#
);

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

static STARTED: AtomicU32 = AtomicU32::new(0);

/// Starts processors until `wanted` run in all (the boot processor among them), or no more answer. Each runs `main`.
/// Returns how many run.
pub fn start_others(wanted: usize, main: fn() -> !) -> Result<usize, &'static str> {
    let boot_id = lapic::id();
    let length = &raw const trampoline_end as usize - &raw const trampoline_start as usize;
    let mut saved = [0u8; 512];
    let saved = &mut saved[..length];
    phys::read(TRAMPOLINE, saved);
    let mut block = [0u8; 16];
    block[..8].copy_from_slice(&paging::root().to_le_bytes());
    block[8..].copy_from_slice(&(ap_entry as *const () as u64).to_le_bytes());
    // SAFETY: the linker placed the code between these symbols. Low memory holds no Rust value; the guest is not launched
    // yet, and no processor is in the trampoline.
    unsafe {
        let code = core::slice::from_raw_parts(&raw const trampoline_start, length);
        phys::write(TRAMPOLINE, code);
        phys::write(TRAMPOLINE + PARAMETERS, &block);
    }
    MAIN.lock().replace(main);
    for id in (0..255u32).filter(|&id| id != boot_id) {
        if percpu::count() >= wanted {
            break;
        }
        start_one(id)?;
    }
    // SAFETY: low memory holds no Rust value; the trampoline is no longer used.
    unsafe { phys::write(TRAMPOLINE, saved) };
    paging::drop_identity();
    Ok(percpu::count())
}

static MAIN: super::lock::SpinLock<Option<fn() -> !>> = super::lock::SpinLock::new(None);

/// Starts the processor with this ID, if there is one. One that answers late takes a stack that was meant for another: each
/// stack is taken once, and who has none waits.
fn start_one(id: u32) -> Result<(), &'static str> {
    // SAFETY: an aligned quadword of low memory, which from the first start on is only used as this atomic, by `xchg`.
    let offered = unsafe { AtomicU64::from_ptr(phys::virt(TRAMPOLINE + STACK) as *mut u64) };
    if offered.load(Ordering::Acquire) == 0 {
        let stack = frames::allocate(STACK_BYTES / 4096);
        let stack = stack.ok_or("no memory for another processor's stack")?;
        offered.store(phys::virt(stack + STACK_BYTES), Ordering::Release);
    }
    let before = STARTED.load(Ordering::Acquire);
    lapic::send_init(id);
    time::sleep_ms(10);
    for _ in 0..2 {
        lapic::send_startup(id, (TRAMPOLINE >> 12) as u8);
        let deadline = Deadline::after_ms(START_MS / 2);
        while STARTED.load(Ordering::Acquire) == before {
            if deadline.passed() {
                break;
            }
            super::cpu::relax();
        }
        if STARTED.load(Ordering::Acquire) != before {
            return Ok(());
        }
    }
    Ok(())
}

extern "sysv64" fn ap_entry() -> ! {
    super::entry::load_gdt();
    super::idt::load();
    let Some(area) = percpu::create(lapic::id()) else {
        super::cpu::stop()
    };
    percpu::install(area);
    super::init_processor();
    lapic::enable();
    let main = *MAIN.lock();
    STARTED.fetch_add(1, Ordering::AcqRel);
    match main {
        Some(main) => main(),
        None => super::cpu::stop(),
    }
}
