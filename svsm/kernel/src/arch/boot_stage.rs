//! The way into the kernel: the 32-bit boot stage, and what it hands over; on the native platform also the way of APs.

use boot_abi::layout;
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use svsm_abi::termination::{Reason, SET};
use svsm_core::madt::MAX_CPUS;
use svsm_core::vmsa::ApStart;

global_asm!(
    include_str!("boot_stage.s"),
    cpuid_gpa = const layout::CPUID_GPA,
    svsm_base_high = const layout::SVSM_BASE >> 32,
    svsm_large_pages = const layout::SVSM_SIZE >> 21,
    refuse = const snp_abi::ghcb_msr::terminate(SET, Reason::BootStage as u8),
    kernel_entry = sym kernel_entry,
    boot_stage_base = const layout::BOOT_STAGE_BASE,
    ap_entries = sym AP_ENTRIES,
    ap_count = sym AP_COUNT,
    ap_adopt = sym ap_adopt,
    ap_efer = const offset_of!(ApStart, efer),
    ap_cr0 = const offset_of!(ApStart, cr0),
    ap_cr3 = const offset_of!(ApStart, cr3),
    ap_cr4 = const offset_of!(ApStart, cr4),
    ap_rsp = const offset_of!(ApStart, rsp),
    ap_rdi = const offset_of!(ApStart, rdi),
    ap_rip = const offset_of!(ApStart, rip),
);

// The boot stage writes the lower half of these addresses as zero, and uses one page directory.
const _: () = assert!(layout::SVSM_BASE.trailing_zeros() >= 32);
const _: () = assert!(layout::SVSM_SIZE <= 1 << 30);
const _: () = assert!(layout::KERNEL_VIRTUAL_BASE == 0xFFFF_FFFF_8000_0000);

/// Called once, on the boot stack, in long mode on the boot stage's tables. EDI: the C-bit's position. ESI: on the native
/// platform, where the SVSM's memory is; elsewhere 0.
extern "C" fn kernel_entry(c_bit: u32, native_base: u32) -> ! {
    crate::boot::run(c_bit, native_base)
}

/// What the trampoline needs: which start is whose.
#[repr(C)]
struct ApEntry {
    apic_id: AtomicU32,
    reserved: u32,
    start: AtomicPtr<ApStart>,
}

/// All of them, and how many are used. Entries stay for good: an AP that is slow finds its own whenever it comes.
static AP_ENTRIES: [ApEntry; MAX_CPUS] = [const {
    ApEntry {
        apic_id: AtomicU32::new(0),
        reserved: 0,
        start: AtomicPtr::new(core::ptr::null_mut()),
    }
}; MAX_CPUS];
static AP_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Prepares the trampoline for the AP with this ID; `false` when there are too many. On the boot CPU, before the AP is sent
/// there.
pub fn add_ap_start(apic_id: u32, start: &'static ApStart) -> bool {
    let count = AP_COUNT.load(Ordering::Relaxed);
    let Some(entry) = AP_ENTRIES.get(count) else {
        return false;
    };
    entry.apic_id.store(apic_id, Ordering::Relaxed);
    entry
        .start
        .store(&raw const *start as *mut ApStart, Ordering::Relaxed);
    AP_COUNT.store(count + 1, Ordering::Release);
    true
}

/// The vector of a SIPI that leads to the trampoline: its page's number.
pub const SIPI_VECTOR: u8 = (layout::BOOT_STAGE_BASE >> 12) as u8;
const _: () = assert!(layout::BOOT_STAGE_BASE.is_multiple_of(4096));
const _: () = assert!(layout::BOOT_STAGE_BASE >> 12 <= 0xFF);

/// An AP of the native platform on the kernel's tables and its own stack: the rest of what a VMSA would have had.
extern "C" fn ap_adopt(start: &'static ApStart) {
    super::percpu::adopt(start);
}
