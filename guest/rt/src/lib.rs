//! The runtime of Macadamia's bare-metal payloads: the boot shim, the probe, and the machine's conformance test.
//!
//! A payload is an ELF file linked by `payload.ld` at [`boot_abi::layout::GUEST_IMAGE_GPA`] and entered in 32-bit
//! flat protected mode without paging, in one of two places, which [`params::environment`] tells apart:
//!
//! * **under an SVSM** (VMPL2): EBX holds the GPA of [`boot_abi::GuestParams`]; pages are validated by SVSM calls;
//! * **alone at VMPL0**: EBX is 0; the payload executes PVALIDATE and RMPADJUST itself.
//!
//! When `main` is called the processor is in long mode on identity page tables (see [`paging`]), exceptions are
//! reported ([`trap`]), a GHCB is registered ([`ghcb`]) and the console works ([`console`]).
//!
//! ```ignore
//! #![cfg_attr(target_os = "none", no_std, no_main)]
//! fn main() {
//!     guest_rt::println!("hello from VMPL{}", guest_rt::params::vmpl());
//! } // returning powers off
//! #[cfg(target_os = "none")]
//! guest_rt::entry!(main);
//! ```
//!
//! The crate's build script counterpart: a payload's `build.rs` passes `-T../rt/payload.ld` to the linker.
//!
//! This is test and boot code of the guest; nothing in VMPL0's trust depends on it. It holds most of the `unsafe` of
//! the payloads, so that they need little of their own.
#![cfg(target_os = "none")]
#![no_std]
// A trap's registers are returned by value: there is no heap to box them on, and no path where it matters.
#![allow(clippy::result_large_err)]

pub mod apic;
pub mod console;
pub mod context;
pub mod cpu;
mod entry;
pub mod exec;
pub mod fw_cfg;
pub mod ghcb;
pub mod io;
pub mod levels;
pub mod memory;
pub mod msr_protocol;
pub mod nae;
pub mod paging;
pub mod params;
pub mod pool;
pub mod power;
pub mod report;
pub mod smp;
pub mod snp;
pub mod svsm;
pub mod sync;
pub mod time;
pub mod trap;
mod trap_entry;
mod vc;
pub mod vmsa;

pub use vc::from_page as vc_from_page;

/// Makes `$main`, a `fn()`, the function that the runtime calls once the machine is set up. Returning from it powers
/// the machine off.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Called by the runtime.
        #[unsafe(no_mangle)]
        extern "C" fn payload_main() {
            let main: fn() = $main;
            main()
        }
    };
}
