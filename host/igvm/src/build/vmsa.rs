//! The first state of the boot processor, as a VMSA and as the native platform has it.

use boot_abi::layout;
use igvm_defs::IgvmNativeVpContextX64;
use snp_abi::SevFeatures;
use snp_abi::vmsa::{DR6_RESET, DR7_RESET, FCW_INIT, G_PAT_RESET, MXCSR_RESET, Segment, Vmsa};
use zerocopy::{
    FromZeros,
    little_endian::{U16, U32, U64},
};

/// PE, ET and NE: the value that KVM measures for protected mode.
const CR0: u64 = 0x31;
/// MCE: KVM keeps it set while the host has it set.
const CR4: u64 = 0x40;
/// SVME: VMRUN needs it in the guest's EFER.
const EFER: u64 = 0x1000;
/// Bit 1 of RFLAGS is always one.
const RFLAGS: u64 = 2;

/// SEV features of VMPL0.
pub const FEATURES: SevFeatures = SevFeatures::SNP_ACTIVE.union(SevFeatures::RESTRICTED_INJECTION);

/// A processor at VMPL0 in 32-bit protected mode without paging, with flat segments, at `entry`. Registers are zero; so
/// are the limits of GDTR and IDTR, so that an exception ends in a shutdown rather than in whatever is at address 0.
///
/// Only what QEMU hands to KVM differs from zero: see [`crate::check`].
pub fn flat_32(entry: u32) -> Box<Vmsa> {
    // Present, 32-bit, granularity 4 KiB; code: execute/read, accessed; data: read/write, accessed.
    let code = Segment::new(0x08, 0xC9B, 0xFFFF_FFFF, 0);
    let data = Segment::new(0x10, 0xC93, 0xFFFF_FFFF, 0);
    let mut vmsa = Box::new(Vmsa::new_zeroed());
    vmsa.cs = code;
    vmsa.ds = data;
    vmsa.es = data;
    vmsa.fs = data;
    vmsa.gs = data;
    vmsa.ss = data;
    // As after a reset: an empty LDT and a busy 32-bit TSS.
    vmsa.ldtr = Segment::new(0, 0x82, 0xFFFF, 0);
    vmsa.tr = Segment::new(0, 0x8B, 0xFFFF, 0);
    vmsa.cr0 = U64::new(CR0);
    vmsa.cr4 = U64::new(CR4);
    vmsa.efer = U64::new(EFER);
    vmsa.rflags = U64::new(RFLAGS);
    vmsa.rip = U64::new(entry.into());
    vmsa.dr6 = U64::new(DR6_RESET);
    vmsa.dr7 = U64::new(DR7_RESET);
    vmsa.g_pat = U64::new(G_PAT_RESET);
    vmsa.xcr0 = U64::new(1);
    vmsa.mxcsr = U32::new(MXCSR_RESET);
    vmsa.x87_fcw = U16::new(FCW_INIT);
    vmsa.sev_features = U64::new(FEATURES.bits());
    vmsa
}

/// The same on the native platform. EBX tells the boot stage so, and where the SVSM's memory is; in a VMSA it is zero.
pub fn native_flat_32(entry: u32) -> Box<IgvmNativeVpContextX64> {
    /// Attributes as in a descriptor's second half, bits 23:8: present, 32-bit, granularity 4 KiB.
    const CODE: u16 = 0xC09B;
    const DATA: u16 = 0xC093;
    let mut context = Box::new(IgvmNativeVpContextX64::new_zeroed());
    context.rbx = layout::NATIVE_SVSM_BASE;
    context.rip = entry.into();
    context.rflags = RFLAGS;
    context.cr0 = CR0;
    context.code_selector = 0x08;
    context.code_attributes = CODE;
    context.code_limit = u32::MAX;
    context.data_selector = 0x10;
    context.data_attributes = DATA;
    context.data_limit = u32::MAX;
    context
}

// The boot stage gets it in a 32-bit register, and finds 2 MiB pages there.
const _: () = assert!(layout::NATIVE_SVSM_BASE < 1 << 32);
const _: () = assert!(layout::NATIVE_SVSM_BASE.is_multiple_of(2 << 20));
