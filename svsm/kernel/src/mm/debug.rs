//! The debugger's way to memory: all that can be read is read, all that can be written is written, and the kernel's text by
//! an alias that only kernels with a debugger have.

use super::foreign::{read_at, write_at};
use super::frames::{MEMORY, OutOfMemory, base};
use super::page_table::Access;
use boot_abi::layout::KERNEL_VIRTUAL_BASE;
use core::ops::Range;
use snp_abi::PAGE_SIZE;
use svsm_core::machine::MemoryFault;

/// Where text and constants are mapped writable.
const ALIAS: u64 = 0xFFFF_FFFF_F000_0000;

/// Text and constants.
fn read_only() -> Range<u64> {
    KERNEL_VIRTUAL_BASE..super::own::data_start()
}

/// Maps text and constants a second time, so that breakpoints can be written.
pub fn map_alias() -> Result<(), OutOfMemory> {
    let mut memory = MEMORY.lock();
    for va in read_only().step_by(PAGE_SIZE as usize) {
        let offset = va - KERNEL_VIRTUAL_BASE;
        memory.map(
            ALIAS + offset,
            base() + offset,
            PAGE_SIZE,
            Access::ReadWrite,
        )?;
    }
    Ok(())
}

/// Copies from any address.
pub fn debug_read(va: u64, buffer: &mut [u8]) -> Result<(), MemoryFault> {
    read_at(va, buffer)
}

/// Copies to any address.
pub fn debug_write(va: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
    let va = match read_only().contains(&va) {
        true => va - KERNEL_VIRTUAL_BASE + ALIAS,
        false => va,
    };
    // SAFETY: it is as sound as what the debugger's user wants. An image in which this code is says in its measurement that it
    // has a debugger; nothing is protected from whoever is at its other end.
    unsafe { write_at(va, bytes) }
}
