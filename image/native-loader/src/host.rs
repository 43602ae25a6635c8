//! What the machine has, as the image's parameters tell it: RAM, processors, MADT.

use alloc::vec;
use alloc::vec::Vec;

use acpi_madt::{Answer, ENABLED, Lies, Madt};
use boot_info::acpi::{self, AcpiError};
use boot_info::{Memory, StartInfo};
use igvm_loader::{HostParameters, MemoryMapEntry, MemoryMapEntryType, PAGE_SIZE};

use crate::arch::fault;
use crate::arch::memory::Physical;
use crate::say;

/// The machine.
pub struct Host {
    /// RAM, ascending, in whole pages.
    pub ram: Vec<(u64, u64)>,
    /// The MADT for the image.
    pub madt: Vec<u8>,
    /// How many processors the image is told of.
    pub vp_count: u32,
    map: Vec<MemoryMapEntry>,
}

impl Host {
    /// Looks at the machine, and copies what the image may overwrite.
    pub fn find(info: &StartInfo) -> Host {
        let ram = info.ram();
        let page = PAGE_SIZE as u64;
        let map = ram
            .iter()
            .map(|&(start, end)| MemoryMapEntry {
                starting_gpa_page_number: start / page,
                number_of_pages: (end - start) / page,
                entry_type: MemoryMapEntryType::MEMORY,
                flags: 0,
                reserved: 0,
            })
            .collect();
        let Answer {
            table, vp_count, ..
        } = processors(info);
        Host {
            ram,
            madt: table,
            vp_count,
            map,
        }
    }

    /// All RAM.
    pub fn ram_bytes(&self) -> u64 {
        self.ram.iter().map(|(start, end)| end - start).sum()
    }

    /// The same for the image's loader.
    pub fn parameters(&self) -> HostParameters<'_> {
        HostParameters {
            vp_count: self.vp_count,
            memory_map: &self.map,
            madt: &self.madt,
            memory_is_shared: false,
            gpa_limit: self.ram.last().map_or(0, |&(_, end)| end),
        }
    }
}

/// What the image is told of processors: firmware's MADT as it is, or the lies of the option `madt`.
fn processors(info: &StartInfo) -> Answer {
    let lies = options(info.command_line());
    let boot = boot_processor();
    let table = match firmware_madt(info.rsdp) {
        Ok(table) => table,
        Err(error) => {
            say!("{error}: the image is told of one processor");
            return lies.about(&[boot]);
        }
    };
    match Madt::read(&table) {
        Some(madt) if !lies.is_truth() => {
            let answer = lies.change(madt, boot);
            if answer.dead > 0 {
                say!("madt: the loader keeps no processor from starting: say 'absent', not 'dead'");
            }
            answer
        }
        madt => {
            let all = madt.iter().flat_map(Madt::processors);
            let enabled = all.filter(|processor| processor.flags & ENABLED != 0);
            let vp_count = enabled.count().max(1) as u32;
            Answer {
                table,
                vp_count,
                dead: 0,
            }
        }
    }
}

/// Takes the command line. What is unknown is reported and ignored.
fn options(line: &str) -> Lies {
    let mut lies = Lies::default();
    for word in line.split_whitespace() {
        match word.split_once('=') {
            None if word == "fault" => fault::provoke(),
            Some(("madt", text)) => match Lies::parse(text) {
                Ok(parsed) => lies = parsed,
                Err(error) => say!("madt: {error}"),
            },
            _ => say!("option '{word}' is unknown"),
        }
    }
    lies
}

/// The APIC ID of the processor that this runs on (CPUID leaf 1).
fn boot_processor() -> u32 {
    core::arch::x86_64::__cpuid(1).ebx >> 24
}

/// A copy of firmware's MADT.
fn firmware_madt(rsdp: Option<u64>) -> Result<Vec<u8>, AcpiError> {
    let table = acpi::find(&Physical, rsdp, *b"APIC")?;
    let mut bytes = vec![0; table.length as usize];
    let outside = AcpiError::Memory { at: table.at };
    Physical.read(table.at, &mut bytes).ok_or(outside)?;
    Ok(bytes)
}
