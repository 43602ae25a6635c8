//! The way into the kernel: the 32-bit boot stage, and what it hands over.

use boot_abi::layout;
use core::arch::global_asm;
use svsm_abi::termination::{Reason, SET};

global_asm!(
    include_str!("boot_stage.s"),
    cpuid_gpa = const layout::CPUID_GPA,
    svsm_base_high = const layout::SVSM_BASE >> 32,
    svsm_large_pages = const layout::SVSM_SIZE >> 21,
    refuse = const snp_abi::ghcb_msr::terminate(SET, Reason::BootStage as u8),
    kernel_entry = sym kernel_entry,
);

// The boot stage writes the lower half of these addresses as zero, and uses one page directory.
const _: () = assert!(layout::SVSM_BASE.trailing_zeros() >= 32);
const _: () = assert!(layout::SVSM_SIZE <= 1 << 30);
const _: () = assert!(layout::KERNEL_VIRTUAL_BASE == 0xFFFF_FFFF_8000_0000);

/// Called once, on the boot stack, in long mode on the boot stage's tables. EDI: the C-bit's position.
extern "C" fn kernel_entry(c_bit: u32) -> ! {
    crate::boot::run(c_bit)
}
