//! What each virtual processor, and each VMPL of it that runs our code, has of its own: stacks, GDT, TSS, GHCB,
//! calling area, and the recovery point of [`crate::trap::catch`]. Reached through GS.

use crate::{cpu, pool};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use snp_abi::msr;

/// Code segment of CPL 0.
pub const KERNEL_CS: u16 = 0x08;
/// Data segment of CPL 0.
pub const KERNEL_DS: u16 = 0x10;
/// Data segment of CPL 3, with its RPL.
pub const USER_DS: u16 = 0x1B;
/// Code segment of CPL 3, with its RPL.
pub const USER_CS: u16 = 0x23;
/// Task register.
pub const TSS_SELECTOR: u16 = 0x28;

/// Pages of an ordinary stack.
const STACK_PAGES: usize = 4;
/// Pages of each interrupt stack.
const IST_PAGES: usize = 2;
/// Interrupt stacks: numbers 1 and 2 of the IST.
const IST_COUNT: usize = 2;

/// 64-bit task state segment.
#[repr(C, packed(4))]
struct Tss {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map_base: u16,
}

/// One execution context. Lives in a page of its own for good.
#[repr(C)]
pub struct Context {
    /// Its own address: what GS:0 gives.
    own_address: u64,
    /// The recovery record of the innermost `catch`, or 0.
    pub(crate) recovery: AtomicU64,
    /// GPA of the GHCB, or 0.
    pub ghcb: AtomicU64,
    /// GPA of the SVSM calling area, or 0.
    pub caa: AtomicU64,
    /// GPA of the VMSA, or 0 for the boot processor.
    pub vmsa: AtomicU64,
    /// GPA of the GHCB that the context registers when it starts, or 0.
    pub prepared_ghcb: AtomicU64,
    /// APIC ID.
    pub apic_id: AtomicU32,
    /// VMPL.
    pub vmpl: AtomicU32,
    /// 0 before the context's code runs, 1 while it does, 2 when it has returned.
    pub state: AtomicU32,
    /// First stack pointer.
    pub stack_top: u64,
    gdt: [u64; 7],
    tss: Tss,
}

const _: () = assert!(size_of::<Context>() <= 4096);

impl Context {
    /// A new context with stacks of its own.
    ///
    /// # Panics
    /// When the page pool is exhausted.
    pub fn new() -> &'static Context {
        let page = pool::pages(1);
        let stack_top = pool::pages(STACK_PAGES) + STACK_PAGES as u64 * 4096;
        let kernel_stack = pool::pages(IST_PAGES) + IST_PAGES as u64 * 4096;
        let mut ist = [0; 7];
        for stack in ist.iter_mut().take(IST_COUNT) {
            *stack = pool::pages(IST_PAGES) + IST_PAGES as u64 * 4096;
        }
        let context = page as *mut Context;
        let tss_base = page + core::mem::offset_of!(Context, tss) as u64;
        let limit = size_of::<Tss>() as u64 - 1;
        let tss_low =
            limit | (tss_base & 0xFF_FFFF) << 16 | 0x89 << 40 | (tss_base >> 24 & 0xFF) << 56;
        // SAFETY: the page was just allocated and is mapped; the structure fits it.
        unsafe {
            context.write(Context {
                own_address: page,
                recovery: AtomicU64::new(0),
                ghcb: AtomicU64::new(0),
                caa: AtomicU64::new(0),
                vmsa: AtomicU64::new(0),
                prepared_ghcb: AtomicU64::new(0),
                apic_id: AtomicU32::new(0),
                vmpl: AtomicU32::new(crate::params::vmpl() as u32),
                state: AtomicU32::new(0),
                stack_top,
                gdt: [
                    0,
                    0x00AF_9B00_0000_FFFF,
                    0x00CF_9300_0000_FFFF,
                    0x00CF_F300_0000_FFFF,
                    0x00AF_FB00_0000_FFFF,
                    tss_low,
                    tss_base >> 32,
                ],
                tss: Tss {
                    reserved0: 0,
                    rsp: [kernel_stack, 0, 0],
                    reserved1: 0,
                    ist,
                    reserved2: 0,
                    reserved3: 0,
                    io_map_base: size_of::<Tss>() as u16,
                },
            });
            &*context
        }
    }

    /// The boot processor's context.
    pub(crate) fn boot() -> &'static Context {
        let context = Context::new();
        if let Some(params) = crate::params::guest() {
            context.caa.store(params.caa_gpa.get(), Ordering::Relaxed);
        }
        context.state.store(1, Ordering::Relaxed);
        context
    }

    /// The context that is running.
    pub fn current() -> &'static Context {
        let address: u64;
        // SAFETY: GS's base is the running context's, which holds its own address first and is never freed.
        unsafe {
            asm!("mov {}, gs:[0]", out(reg) address, options(nostack, preserves_flags, readonly));
            &*(address as *const Context)
        }
    }

    /// Loads GDT, TSS, IDT and GS for this context.
    ///
    /// # Safety
    /// The context must be used by this processor at this VMPL only.
    pub(crate) unsafe fn activate(&'static self) {
        let (gdt, gdt_bytes) = self.gdt();
        let gdtr = crate::trap::table_register(gdt, gdt_bytes);
        // SAFETY: the GDT holds the segments in use and lives for good; the TSS is not busy yet.
        unsafe {
            asm!(
                "lgdt [{gdtr}]",
                "push {cs}",
                "lea {tmp}, [rip + 2f]",
                "push {tmp}",
                "retfq",
                "2:",
                "mov ds, {ds:e}",
                "mov es, {ds:e}",
                "mov ss, {ds:e}",
                "xor {tmp:e}, {tmp:e}",
                "mov fs, {tmp:e}",
                "mov gs, {tmp:e}",
                "ltr {tr:x}",
                gdtr = in(reg) &gdtr, cs = in(reg) KERNEL_CS as u64, ds = in(reg) KERNEL_DS as u32,
                tr = in(reg) TSS_SELECTOR, tmp = out(reg) _,
            );
            crate::trap::load_idt();
            cpu::wrmsr(msr::GS_BASE, self.own_address);
        }
    }

    /// Base and bytes of its GDT.
    pub fn gdt(&self) -> (u64, usize) {
        (&self.gdt as *const _ as u64, size_of_val(&self.gdt))
    }

    /// Base and bytes of its TSS.
    pub fn tss(&self) -> (u64, usize) {
        (&raw const self.tss as u64, size_of::<Tss>())
    }

    /// Tops of the stacks that the processor switches to: RSP0, IST 1, IST 2.
    pub fn handler_stacks(&self) -> (u64, u64, u64) {
        let (rsp, ist) = (self.tss.rsp, self.tss.ist);
        (rsp[0], ist[0], ist[1])
    }

    /// Whether the context's code has returned.
    pub fn finished(&self) -> bool {
        self.state.load(Ordering::Acquire) == 2
    }

    /// Makes the context ready for being started again.
    ///
    /// # Safety
    /// It must not be running.
    pub unsafe fn reset(&'static self) {
        self.recovery.store(0, Ordering::Relaxed);
        self.state.store(0, Ordering::Release);
        let busy = &raw const self.gdt[5] as *mut u64;
        // SAFETY: the context is not running, so nothing reads its GDT; bit 41 is the TSS's busy bit.
        unsafe { busy.write_volatile(busy.read_volatile() & !(1 << 41)) };
    }
}
