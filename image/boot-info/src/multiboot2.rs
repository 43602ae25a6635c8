//! The multiboot 2 information (multiboot2 specification 2.0 §3.6): its size, then tags of type, size and content, each
//! at a multiple of eight.

use crate::start_info::{Protocol, StartInfo, StartInfoError};
use crate::{MAX_RANGES, Memory, u32_at, u64_at};

/// What EAX holds when a multiboot 2 loader enters the kernel.
pub const MAGIC: u32 = 0x36D7_6289;

const END: u32 = 0;
const COMMAND_LINE: u32 = 1;
const MODULE: u32 = 3;
const MEMORY_MAP: u32 = 6;
const OLD_RSDP: u32 = 14;
const NEW_RSDP: u32 = 15;

/// Most tags that are looked at.
const MAX_TAGS: usize = 64;
/// Bytes of a memory map entry that are understood: address, size, type.
const ENTRY: u64 = 20;

pub(crate) fn read(memory: &impl Memory, at: u64) -> Result<StartInfo, StartInfoError> {
    let mut info = StartInfo::new(Protocol::Multiboot2);
    let mut tag = at.checked_add(8).ok_or(StartInfoError::Memory)?;
    for _ in 0..MAX_TAGS {
        let head = u32_at(memory, tag, 0).zip(u32_at(memory, tag, 4));
        let (kind, size) = head.ok_or(StartInfoError::Memory)?;
        if kind == END {
            break;
        }
        if size < 8 {
            return Err(StartInfoError::Tag { at: tag, size });
        }
        take(&mut info, memory, tag, kind, size).ok_or(StartInfoError::Memory)?;
        tag = tag
            .checked_add(u64::from(size).next_multiple_of(8))
            .ok_or(StartInfoError::Memory)?;
    }
    if info.ranges().is_empty() {
        return Err(StartInfoError::NoMemoryMap);
    }
    Ok(info)
}

fn take(info: &mut StartInfo, memory: &impl Memory, tag: u64, kind: u32, size: u32) -> Option<()> {
    match kind {
        COMMAND_LINE => info.set_command_line(memory, tag.checked_add(8)?, size as usize - 8)?,
        MODULE if info.module.is_none() => {
            let start = u64::from(u32_at(memory, tag, 8)?);
            let end = u64::from(u32_at(memory, tag, 12)?);
            info.module = Some((start, end.saturating_sub(start)));
        }
        MEMORY_MAP => {
            let entry_size = u64::from(u32_at(memory, tag, 8)?).max(ENTRY);
            let entries = u64::from(size).saturating_sub(16) / entry_size;
            for index in 0..entries.min(MAX_RANGES as u64) {
                let entry = tag.checked_add(16 + index * entry_size)?;
                info.add(
                    u64_at(memory, entry, 0)?,
                    u64_at(memory, entry, 8)?,
                    u32_at(memory, entry, 16)?,
                );
            }
        }
        // A copy of the root pointer; the one of ACPI 2.0 is preferred.
        NEW_RSDP => info.rsdp = tag.checked_add(8),
        OLD_RSDP if info.rsdp.is_none() => info.rsdp = tag.checked_add(8),
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Range;
    use crate::test_memory::{Ram, mutate};

    fn tag(ram: &mut Ram, at: u64, kind: u32, content: &[u8]) -> u64 {
        let size = 8 + content.len() as u32;
        ram.put(at, &kind.to_le_bytes());
        ram.put(at + 4, &size.to_le_bytes());
        ram.put(at + 8, content);
        at + u64::from(size).next_multiple_of(8)
    }

    fn words(list: &[u32]) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (place, word) in bytes.chunks_exact_mut(4).zip(list) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn good() -> Ram {
        let mut ram = Ram::new();
        let at = tag(&mut ram, 0x108, COMMAND_LINE, b"madt=extra\0");
        let at = tag(&mut ram, at, 2, b"GRUB\0");
        let at = tag(
            &mut ram,
            at,
            MODULE,
            &words(&[0x10_0000, 0x10_2345, 0])[..12],
        );
        let map = words(&[24, 0, 0, 0, 0x9_F000, 0, 1, 0, 0x10_0000, 0, 0x100, 0, 3, 0]);
        let at = tag(&mut ram, at, MEMORY_MAP, &map[..56]);
        let at = tag(&mut ram, at, OLD_RSDP, &[0; 20]);
        tag(&mut ram, at, END, &[]);
        ram
    }

    #[test]
    fn everything_is_read() {
        let info = StartInfo::read(&good(), MAGIC, 0x100).unwrap();
        assert_eq!(info.protocol, Protocol::Multiboot2);
        assert_eq!(info.command_line(), "madt=extra");
        assert_eq!(info.module, Some((0x10_0000, 0x2345)));
        assert!(info.rsdp.is_some());
        let range = |start, end, ram| Range { start, end, ram };
        assert_eq!(
            info.ranges(),
            [range(0, 0x9_F000, true), range(0x10_0000, 0x10_0100, false)]
        );
    }

    #[test]
    fn sizes_may_be_anything() {
        let mut ram = good();
        ram.put(0x10C, &7u32.to_le_bytes());
        assert_eq!(
            StartInfo::read(&ram, MAGIC, 0x100).unwrap_err(),
            StartInfoError::Tag { at: 0x108, size: 7 }
        );
        ram.put(0x10C, &u32::MAX.to_le_bytes());
        assert_eq!(
            StartInfo::read(&ram, MAGIC, 0x100).unwrap_err(),
            StartInfoError::Memory
        );
        assert_eq!(
            StartInfo::read(&ram, MAGIC, u64::MAX - 2).unwrap_err(),
            StartInfoError::Memory
        );
        // Zeros are an end tag at once.
        assert_eq!(
            StartInfo::read(&Ram::new(), MAGIC, 0x100).unwrap_err(),
            StartInfoError::NoMemoryMap
        );
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        mutate(&good(), &[0x100..0x108, 0x108..0x1A0], |ram| {
            if let Ok(info) = StartInfo::read(ram, MAGIC, 0x100) {
                assert!(info.ram().iter().all(|(start, end)| start < end));
            }
        });
    }
}
