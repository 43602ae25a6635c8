//! VMSAs for contexts of ours: they start in long mode on our own page tables, in a Rust function.

use crate::context::{Context, KERNEL_CS, KERNEL_DS, TSS_SELECTOR};
use crate::{cpu, trap};
use core::arch::global_asm;
use snp_abi::vmsa::{self, Segment, Vmsa};
use snp_abi::{SevFeatures, Vmpl, msr};
use zerocopy::{FromZeros, IntoBytes};

/// What a context runs; `argument` is what it was started with.
pub type Entry = extern "C" fn(argument: u64);

global_asm!(
    r#"
    .text
    /* First code of a context: RDI its address, RSI the function, RDX the argument. */
    .global rt_context_entry
rt_context_entry:
    xor %ebp, %ebp
    call rt_context_start
    ud2
"#,
    options(att_syntax)
);

unsafe extern "C" {
    fn rt_context_entry();
}

#[unsafe(no_mangle)]
extern "C" fn rt_context_start(context: &'static Context, entry: Entry, argument: u64) -> ! {
    use core::sync::atomic::Ordering;
    // SAFETY: a context is started on one processor and VMPL.
    unsafe { context.activate() };
    let ghcb = context.prepared_ghcb.load(Ordering::Relaxed);
    if ghcb != 0 && crate::ghcb::Ghcb::at(ghcb).register().is_err() {
        crate::power::terminate(crate::power::REASON_SET, crate::power::REASON_NO_GHCB);
    }
    context.state.store(1, Ordering::Release);
    entry(argument);
    context.state.store(2, Ordering::Release);
    loop {
        if context.vmpl.load(Ordering::Relaxed) == crate::params::vmpl() as u32 {
            cpu::cli();
            cpu::hlt();
        } else {
            // A lower VMPL of a processor whose VMPL0 waits for it.
            let _ = crate::msr_protocol::run_vmpl(0);
        }
    }
}

/// A VMSA that starts `entry(argument)` on the context's stack, with this processor's control registers and PAT.
pub fn for_context(
    context: &'static Context,
    vmpl: Vmpl,
    features: SevFeatures,
    entry: Entry,
    argument: u64,
) -> Vmsa {
    let mut vmsa = Vmsa::new_zeroed();
    let data = Segment::new(KERNEL_DS, 0xC93, u32::MAX, 0);
    vmsa.cs = Segment::new(KERNEL_CS, 0xA9B, u32::MAX, 0);
    (vmsa.ds, vmsa.es, vmsa.ss) = (data, data, data);
    vmsa.fs = Segment::new(0, 0, 0, 0);
    vmsa.gs = Segment::new(0, 0, 0, context as *const Context as u64);
    let (gdt, gdt_bytes) = context.gdt();
    let (idt, idt_bytes) = trap::idt();
    vmsa.gdtr = Segment::new(0, 0, gdt_bytes as u32 - 1, gdt);
    vmsa.idtr = Segment::new(0, 0, idt_bytes as u32 - 1, idt);
    vmsa.ldtr = Segment::new(0, 0x82, 0xFFFF, 0);
    let (tss, tss_bytes) = context.tss();
    vmsa.tr = Segment::new(TSS_SELECTOR, 0x8B, tss_bytes as u32 - 1, tss);
    vmsa.vmpl = vmpl as u8;
    vmsa.efer
        .set(msr::EFER_SVME | msr::EFER_NXE | msr::EFER_LMA | msr::EFER_LME);
    vmsa.cr0.set(cpu::cr0());
    vmsa.cr3.set(crate::paging::root() | crate::paging::c_bit());
    vmsa.cr4.set(cpu::cr4());
    vmsa.dr6.set(vmsa::DR6_RESET);
    vmsa.dr7.set(vmsa::DR7_RESET);
    vmsa.rflags.set(2);
    vmsa.rip.set(rt_context_entry as *const () as u64);
    vmsa.rsp.set(context.stack_top);
    vmsa.rdi.set(context as *const Context as u64);
    vmsa.rsi.set(entry as *const () as u64);
    vmsa.rdx.set(argument);
    vmsa.g_pat.set(vmsa::G_PAT_RESET);
    vmsa.xcr0.set(1);
    vmsa.mxcsr.set(vmsa::MXCSR_RESET);
    vmsa.x87_fcw.set(vmsa::FCW_INIT);
    vmsa.sev_features.set(features.bits());
    vmsa
}

/// Copies a VMSA into the page at `gpa`.
///
/// # Safety
/// The page is ours, private, and not in use as anything else.
pub unsafe fn write(gpa: u64, vmsa: &Vmsa) {
    let bytes = vmsa.as_bytes();
    // SAFETY: the caller vouches for the page; a VMSA is a page long.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), gpa as *mut u8, bytes.len()) };
}

/// Reads the quadword at `offset` of the VMSA page at `gpa`.
pub fn read_field(gpa: u64, offset: usize) -> u64 {
    // SAFETY: VMSA pages come from the pool and stay readable for the VMPL that made them; offsets are in the page.
    unsafe { ((gpa + (offset & 0xFF8) as u64) as *const u64).read_volatile() }
}

/// Writes the quadword at `offset` of the VMSA page at `gpa`.
///
/// # Safety
/// The vCPU must not be running, and the value must be one that it can run with.
pub unsafe fn write_field(gpa: u64, offset: usize, value: u64) {
    // SAFETY: as in `read_field`.
    unsafe { ((gpa + (offset & 0xFF8) as u64) as *mut u64).write_volatile(value) };
}
