//! The SVSM's memory that must never change: what its ELF file loads without the right to write, and its parameters.

use anyhow::{Result, ensure};
use boot_abi::layout;

use crate::compile::Program;
use crate::elf;
use crate::paths::Paths;

const PAGE: u64 = 4096;

/// The machine's option that watches it.
pub fn watch_option(paths: &Paths) -> Result<String> {
    let constant: Vec<String> = elf::segments(&Program::Svsm.path(paths))?
        .iter()
        .filter(|segment| segment.address >= layout::SVSM_BASE && !segment.writable)
        .map(|segment| word(segment.address, segment.size.next_multiple_of(PAGE)))
        .collect();
    ensure!(!constant.is_empty(), "the SVSM has no read-only segment");
    Ok(format!(
        "watch={},{}",
        constant.join(","),
        word(layout::PARAMETERS_GPA, layout::PARAMETERS_SIZE)
    ))
}

fn word(address: u64, bytes: u64) -> String {
    format!("{address:x}+{bytes:x}")
}
