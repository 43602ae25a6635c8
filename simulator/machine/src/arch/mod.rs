//! The processor and the memory below the hypervisor: everything that `unsafe` is for, except VMRUN itself (see `svm`).

pub mod boot;
pub mod cpu;
pub mod device;
mod entry;
pub mod frames;
pub mod guest;
mod heap;
pub mod idt;
pub mod lapic;
pub mod lock;
pub mod paging;
pub mod percpu;
pub mod phys;
pub mod pvh;
pub mod smp;
pub mod stack;
pub mod time;

/// Control bits that every processor of the machine runs with: OSFXSR and OSXSAVE for the guests' FPU state.
pub fn init_processor() {
    const OSFXSR: u64 = 1 << 9;
    const OSXMMEXCPT: u64 = 1 << 10;
    const OSXSAVE: u64 = 1 << 18;
    let value = cpu::cr4() | OSFXSR | OSXMMEXCPT | OSXSAVE;
    // SAFETY: `platform::check` made sure that the processor has them; none changes how the machine's code runs.
    unsafe {
        core::arch::asm!("mov cr4, {}", in(reg) value, options(nostack, preserves_flags));
        // CR0: TS and EM off, MP on, so that XSAVE works; NE.
        core::arch::asm!("mov {0}, cr0", "and {0}, -13", "or {0}, 0x22", "mov cr0, {0}", out(reg) _, options(nostack));
    }
}
