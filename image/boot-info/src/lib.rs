//! What a bare-metal kernel is told by whoever started it: memory map, module and command line from a PVH or a multiboot 2
//! loader, and where ACPI tables are.
//!
//! All of it is read through [`Memory`] and copied; nothing that is read is trusted: addresses may overflow, counts may
//! be huge, lists may have no end.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod acpi;
mod multiboot2;
mod pvh;
mod start_info;

pub use multiboot2::MAGIC as MULTIBOOT2_MAGIC;
pub use start_info::{MAX_COMMAND_LINE, MAX_RANGES, Protocol, Range, StartInfo, StartInfoError};

/// Physical memory, to be read.
pub trait Memory {
    /// Copies the bytes at `at`; nothing where there is no such memory.
    fn read(&self, at: u64, to: &mut [u8]) -> Option<()>;
}

/// A little-endian number at `base` + `offset`.
fn u16_at(memory: &impl Memory, base: u64, offset: u64) -> Option<u16> {
    bytes_at(memory, base, offset).map(u16::from_le_bytes)
}

fn u32_at(memory: &impl Memory, base: u64, offset: u64) -> Option<u32> {
    bytes_at(memory, base, offset).map(u32::from_le_bytes)
}

fn u64_at(memory: &impl Memory, base: u64, offset: u64) -> Option<u64> {
    bytes_at(memory, base, offset).map(u64::from_le_bytes)
}

fn bytes_at<const N: usize>(memory: &impl Memory, base: u64, offset: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    memory.read(base.checked_add(offset)?, &mut bytes)?;
    Some(bytes)
}

#[cfg(test)]
mod test_memory;
