//! What the machine has, as the image's parameters tell it: RAM, processors, MADT.

use alloc::vec;
use alloc::vec::Vec;

use boot_info::{Memory, StartInfo, acpi};
use igvm_loader::{HostParameters, MAX_VP_COUNT, MemoryMapEntry, MemoryMapEntryType, PAGE_SIZE};

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
        let madt = firmware_madt(info.rsdp);
        let vp_count = acpi::enabled_processors(&madt).clamp(1, MAX_VP_COUNT);
        for option in info.command_line().split_whitespace() {
            say!("option '{option}' is unknown");
        }
        Host {
            ram,
            madt,
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

/// A copy of firmware's MADT.
fn firmware_madt(rsdp: Option<u64>) -> Vec<u8> {
    let copied = acpi::find(&Physical, rsdp, *b"APIC").and_then(|table| {
        let mut bytes = vec![0; table.length as usize];
        let outside = acpi::AcpiError::Memory { at: table.at };
        Physical
            .read(table.at, &mut bytes)
            .map(|()| bytes)
            .ok_or(outside)
    });
    copied.unwrap_or_else(|error| {
        say!("{error}; the SVSM is told of one CPU");
        Vec::new()
    })
}
