//! Memory: the SVSM's own frames, page tables, stacks, and the only ways to reach memory that is someone else's. With
//! [`crate::arch`] the only module that may be `unsafe`.
//!
//! | address | what | access |
//! |---|---|---|
//! | `0xFFFF_8000_0000_0000` + GPA | guest RAM | RW, private; only copied from and to |
//! | `0xFFFF_FFFF_8000_0000` + offset | the SVSM's 8 MiB | image: RX, R, RW; services' images, parameters: R; the rest: RW |
//! | `0xFFFF_FFFF_C000_0000` | stacks, each above a page that is not mapped | RW; shadow stacks: written by calls only |
//! | `0xFFFF_FFFF_E000_0000` | a device's registers (native platform: the APIC) | RW, not cached |
//! | `0xFFFF_FFFF_F000_0000` | kernels with a debugger only: text and constants once more | RW |
//!
//! *Invariant:* no page is both writable and executable under one address; no writable alias of code exists, but in kernels with a
//! debugger. The tables change only during boot, on the boot CPU, so no other CPU ever holds a stale translation. Each service
//! has tables of its own with the same kernel half and its own pages in the other one; only the CPU that holds the service
//! loads them.

#[cfg(feature = "gdb")]
mod debug;
mod foreign;
mod frames;
mod own;
mod page_table;
mod space;

#[cfg(feature = "gdb")]
pub use debug::{debug_read, debug_write, map_alias};
pub use foreign::{
    fixup, is_guard, map_guest_ram, pvalidate_guest, read_guest, rmpadjust_guest, try_read_own,
    write_guest, zero_guest,
};
#[cfg(feature = "tests")]
pub use foreign::{try_read, try_rewrite};
pub use frames::{
    OutOfMemory, ShadowStacks, allocate_slice, base, free_kib, new_shadow_stacks, new_stack,
    set_base,
};
#[cfg(feature = "tests")]
pub use own::image_parts;
pub use own::{
    DevicePage, SharedPage, VmsaPage, adopt, image_end, map_device, parameters,
    release_early_frames, release_own, share_page, switch_tables, validate_own,
};
pub use space::{Entered, ServiceSpace};

/// A page of the SVSM's is not what it must be: the host interferes, or the image is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnPageError {
    /// PVALIDATE or RMPADJUST failed at this address with this code (bit 31: fault; bit 8: no change).
    Instruction {
        /// The page.
        gpa: u64,
        /// What came back.
        code: u32,
    },
    /// The SVSM's memory does not suffice.
    OutOfMemory,
}

impl From<OutOfMemory> for OwnPageError {
    fn from(_: OutOfMemory) -> OwnPageError {
        OwnPageError::OutOfMemory
    }
}

impl core::fmt::Display for OwnPageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            OwnPageError::Instruction { gpa, code } => {
                write!(
                    f,
                    "page {gpa:#x} of the SVSM: instruction returned {code:#x}"
                )
            }
            OwnPageError::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}
