//! Parses and loads IGVM files, trusting no byte of them.
//!
//! Loading has three steps:
//!
//! 1. [`Image::parse`] checks everything that the file alone decides: fixed header, checksum, sizes, alignments,
//!    reserved fields, references into the file data, the order of the sections.
//! 2. [`Image::select`] picks the headers of one [`Platform`].
//! 3. [`Selection::load`] checks those against each other and against what the host offers ([`HostParameters`]): nothing
//!    overlaps, everything lies in memory, parameters fit their areas. Only then it makes the calls of [`Machine`], **in
//!    the order of the file's directives**, because that order decides the launch digest.
//!
//! [`Selection::launch_digest`] tells the SEV-SNP launch digest without a machine.
//!
//! Source of the format: the documentation of the crate `igvm_defs`. Both versions of the fixed header are read. What the
//! format leaves open, this loader decides as QEMU (`backends/igvm.c`) does: page data without file data is a page of
//! zeros that the firmware makes ([`PageKind::Zero`]), not a measured page.
//!
//! The crate allocates, with a bound and without panic, only for parameter areas and for lists of ranges.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod areas;
mod crc32;
mod decode;
mod error;
mod file;
mod header;
mod host;
mod load;
mod machine;
pub mod native;
mod ranges;
mod reader;
#[cfg(test)]
mod tests;
mod walk;

pub use error::{FileError, HostError, LoadError, Problem};
pub use file::{Image, Selection};
pub use header::{Body, Header, PageKind, ParameterKind, PlatformHeader};
pub use host::HostParameters;
pub use load::Summary;
pub use machine::Machine;
pub use walk::Headers;

/// An entry of the memory map that the host gives to the guest; ranges are in pages.
pub use igvm_defs::IGVM_VHS_MEMORY_MAP_ENTRY as MemoryMapEntry;
/// The types of such entries.
pub use igvm_defs::MemoryMapEntryType;

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;
/// A page's contents.
pub type Page = [u8; PAGE_SIZE];

/// The most virtual processors that an image is loaded for.
pub const MAX_VP_COUNT: u32 = 512;
/// The most parameter areas of a file.
pub const MAX_PARAMETER_AREAS: usize = 16;
/// The largest parameter area, bytes.
pub const MAX_PARAMETER_AREA_SIZE: u64 = 1024 * 1024;
/// The most ranges of required memory.
pub const MAX_REQUIRED_RANGES: usize = 16;
/// The most separate ranges into which page data, parameters and VP contexts may be scattered.
pub const MAX_LAUNCHED_RANGES: usize = 4096;

/// Pages are at most this far up: 52 bits of address, the most that x86-64 has.
const GPA_LIMIT: u64 = 1 << 52;

/// What kind of machine an image is loaded into (IGVM_VHS_SUPPORTED_PLATFORM, platform_type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Platform {
    /// A machine that isolates nothing.
    Native = 0,
    /// AMD SEV-SNP.
    SevSnp = 2,
}

impl Platform {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Platform::Native => "native",
            Platform::SevSnp => "SEV-SNP",
        }
    }
}

/// Appends without panic.
pub(crate) fn push<T>(list: &mut alloc::vec::Vec<T>, value: T) -> Result<(), Problem> {
    let no_memory = Problem::OutOfMemory {
        what: "a list",
        size: size_of::<T>() as u64,
    };
    list.try_reserve(1).map_err(|_| no_memory)?;
    list.push(value);
    Ok(())
}
