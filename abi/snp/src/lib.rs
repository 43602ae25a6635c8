//! AMD SEV-SNP as wire formats and constants: what processor, firmware, hypervisor and guest must agree on bit for
//! bit. No logic lives here beyond packing and unpacking fields.
//!
//! Sources: APM = AMD64 Architecture Programmer's Manual volume 2 (24593) and 3 (24594); 56421 = GHCB specification;
//! 56860 = SEV-SNP firmware ABI; Linux = `arch/x86/include/asm/{sev,sev-common,svm}.h`.
//!
//! All multi-byte fields are little-endian and spelled as such; every structure has alignment 1 and its size and
//! offsets are asserted at compile time.
#![no_std]
#![forbid(unsafe_code)]

pub mod cpuid;
pub mod exit;
pub mod ghcb;
pub mod ghcb_msr;
pub mod msr;
pub mod report;
pub mod rmp;
pub mod secrets;
pub mod sev_features;
pub mod vmsa;

pub use rmp::{PageSize, RmpPermissions, Vmpl};
pub use sev_features::SevFeatures;

/// Bytes of a small page and log2 of it.
pub const PAGE_SIZE: u64 = 4096;
/// Bytes of a large page.
pub const LARGE_PAGE_SIZE: u64 = 2 * 1024 * 1024;
/// Small pages in a large page.
pub const PAGES_PER_LARGE_PAGE: u64 = LARGE_PAGE_SIZE / PAGE_SIZE;
/// Vector of the VMM communication exception, #VC (APM vol. 2 §15.35.5).
pub const VC_VECTOR: u8 = 29;
/// GPA under which KVM and the measurement tools launch every boot-time VMSA: the last page below 2^48
/// (Linux `arch/x86/kvm/svm/sev.c`).
pub const LAUNCH_VMSA_GPA: u64 = 0xFFFF_FFFF_F000;

/// Asserts sizes and offsets at compile time.
#[macro_export]
macro_rules! assert_layout {
    ($t:ty, size $size:expr $(, $field:ident @ $off:expr)* $(,)?) => {
        const _: () = {
            assert!(core::mem::size_of::<$t>() == $size);
            $(assert!(core::mem::offset_of!($t, $field) == $off);)*
        };
    };
}
