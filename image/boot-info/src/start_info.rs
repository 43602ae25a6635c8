//! The start information, whichever protocol it came by.

use alloc::vec::Vec;

use crate::{Memory, bytes_at, multiboot2, pvh};

/// Most entries of the memory map that are kept.
pub const MAX_RANGES: usize = 64;
/// Longest command line, bytes.
pub const MAX_COMMAND_LINE: usize = 2048;

const PAGE: u64 = 4096;

/// A range of the memory map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// RAM that nobody uses, rather than anything else.
    pub ram: bool,
}

/// Who started the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Xen's PVH protocol, as QEMU's `-kernel` speaks it.
    Pvh,
    /// Multiboot 2, as GRUB speaks it.
    Multiboot2,
}

impl Protocol {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Pvh => "PVH",
            Protocol::Multiboot2 => "multiboot 2",
        }
    }
}

/// Why there is no start information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum StartInfoError {
    #[error("not started by PVH (hvm_start_info has no magic) nor by multiboot 2")]
    NoProtocol,
    #[error("hvm_start_info has no memory map (version 0)")]
    Version0,
    #[error("the multiboot 2 information has no memory map")]
    NoMemoryMap,
    #[error("the multiboot 2 information has a tag of {size} bytes at {at:#x}")]
    Tag { at: u64, size: u32 },
    #[error("the start information points outside of memory")]
    Memory,
}

/// The start information, copied.
#[derive(Clone, Debug)]
pub struct StartInfo {
    /// How it came.
    pub protocol: Protocol,
    /// First module (QEMU's `-initrd`): address and size.
    pub module: Option<(u64, u64)>,
    /// Where the ACPI root pointer is, if that is told.
    pub rsdp: Option<u64>,
    ranges: [Range; MAX_RANGES],
    count: usize,
    command_line: [u8; MAX_COMMAND_LINE],
    command_line_length: usize,
}

impl StartInfo {
    /// Copies it from physical address `at`; `magic` is what EAX held at the kernel's entry.
    ///
    /// # Errors
    /// It is not there, or not readable.
    pub fn read(memory: &impl Memory, magic: u32, at: u64) -> Result<StartInfo, StartInfoError> {
        if magic == multiboot2::MAGIC {
            multiboot2::read(memory, at)
        } else {
            pvh::read(memory, at)
        }
    }

    pub(crate) const fn new(protocol: Protocol) -> StartInfo {
        StartInfo {
            protocol,
            module: None,
            rsdp: None,
            ranges: [Range {
                start: 0,
                end: 0,
                ram: false,
            }; MAX_RANGES],
            count: 0,
            command_line: [0; MAX_COMMAND_LINE],
            command_line_length: 0,
        }
    }

    /// Takes in a range, if there is room. Type 1 is RAM, for both protocols.
    pub(crate) fn add(&mut self, start: u64, bytes: u64, kind: u32) {
        let Some(range) = self.ranges.get_mut(self.count) else {
            return;
        };
        *range = Range {
            start,
            end: start.saturating_add(bytes),
            ram: kind == 1,
        };
        self.count += 1;
    }

    /// Takes in a command line that ends with a zero byte or after `limit` bytes.
    pub(crate) fn set_command_line(
        &mut self,
        memory: &impl Memory,
        at: u64,
        limit: usize,
    ) -> Option<()> {
        self.command_line_length = 0;
        for index in 0..limit.min(MAX_COMMAND_LINE) {
            let [byte] = bytes_at(memory, at, index as u64)?;
            if byte == 0 {
                break;
            }
            self.command_line[index] = byte;
            self.command_line_length = index + 1;
        }
        Some(())
    }

    /// The memory map, in the order in which it was given.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges[..self.count]
    }

    /// RAM in whole pages, ascending and without overlaps; what is also said to be something else is left out.
    pub fn ram(&self) -> Vec<(u64, u64)> {
        let mut ram: Vec<(u64, u64)> = Vec::new();
        let mut sorted: Vec<Range> = self.ranges().to_vec();
        sorted.sort_unstable_by_key(|range| (range.start, range.end));
        for range in sorted.iter().filter(|range| range.ram) {
            let start = range.start.saturating_add(PAGE - 1) & !(PAGE - 1);
            let end = range.end & !(PAGE - 1);
            match ram.last_mut() {
                Some((_, last)) if start <= *last => *last = end.max(*last),
                _ if start < end => ram.push((start, end)),
                _ => {}
            }
        }
        for other in sorted.iter().filter(|range| !range.ram) {
            let start = other.start & !(PAGE - 1);
            let end = other.end.saturating_add(PAGE - 1) & !(PAGE - 1);
            ram = ram
                .into_iter()
                .flat_map(|(a, b)| [(a, b.min(start)), (a.max(end), b)])
                .filter(|(a, b)| a < b)
                .collect();
        }
        ram
    }

    /// The command line (`-append`); empty if it is not UTF-8.
    pub fn command_line(&self) -> &str {
        core::str::from_utf8(&self.command_line[..self.command_line_length]).unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_is_in_whole_pages_sorted_and_nothing_else() {
        let mut info = StartInfo::new(Protocol::Pvh);
        for (start, end, kind) in [
            (0x10_0000, 0x4000_0000, 1),
            (0, 0x9_FC00, 1),
            (0x9_FC00, 0xA_0000, 2),
            (0x3FFF_0001, 0x3FFF_0002, 4),
            (0x4000_0000, 0x4000_1000, 1), // next to the first
            (0x2000_0000, 0x2000_3000, 1), // in it
            (0x5000_0123, 0x5000_0FFF, 1), // no whole page
            (0xFEE0_0000, u64::MAX, 3),
        ] {
            info.add(start, end - start, kind);
        }
        let expected = [
            (0, 0x9_F000),
            (0x10_0000, 0x3FFF_0000),
            (0x3FFF_1000, 0x4000_1000),
        ];
        assert_eq!(info.ram(), expected);
    }

    #[test]
    fn any_ranges_at_all_make_a_memory_map() {
        let mut info = StartInfo::new(Protocol::Pvh);
        for index in 0..2 * MAX_RANGES as u64 {
            let start = index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            info.add(start, start.rotate_left(17), (index % 3) as u32);
        }
        assert_eq!(info.ranges().len(), MAX_RANGES);
        let ram = info.ram();
        assert!(ram.iter().all(|(start, end)| start < end));
        assert!(ram.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }
}
