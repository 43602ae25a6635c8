//! `hvm_start_info` (Xen `public/arch-x86/hvm/start_info.h`): magic, version, flags, number of modules, then the addresses
//! of modules (16), command line (24), RSDP (32) and memory map (40), and its number of entries (48).

use crate::start_info::{Protocol, StartInfo, StartInfoError};
use crate::{MAX_COMMAND_LINE, MAX_RANGES, Memory, u32_at, u64_at};

const MAGIC: u32 = 0x336E_C578;
/// Bytes of a memory map entry: address, size, type, reserved.
const ENTRY: u64 = 24;

pub(crate) fn read(memory: &impl Memory, at: u64) -> Result<StartInfo, StartInfoError> {
    if u32_at(memory, at, 0) != Some(MAGIC) {
        return Err(StartInfoError::NoProtocol);
    }
    if u32_at(memory, at, 4) == Some(0) {
        return Err(StartInfoError::Version0);
    }
    rest(memory, at).ok_or(StartInfoError::Memory)
}

fn rest(memory: &impl Memory, at: u64) -> Option<StartInfo> {
    let mut info = StartInfo::new(Protocol::Pvh);
    if u32_at(memory, at, 12)? > 0 {
        let list = u64_at(memory, at, 16)?;
        info.module = Some((u64_at(memory, list, 0)?, u64_at(memory, list, 8)?));
    }
    let text = u64_at(memory, at, 24)?;
    if text != 0 {
        info.set_command_line(memory, text, MAX_COMMAND_LINE)?;
    }
    info.rsdp = Some(u64_at(memory, at, 32)?).filter(|&rsdp| rsdp != 0);
    let map = u64_at(memory, at, 40)?;
    let entries = u64::from(u32_at(memory, at, 48)?);
    for index in 0..entries.min(MAX_RANGES as u64) {
        let entry = map.checked_add(index * ENTRY)?;
        info.add(
            u64_at(memory, entry, 0)?,
            u64_at(memory, entry, 8)?,
            u32_at(memory, entry, 16)?,
        );
    }
    Some(info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Range;
    use crate::test_memory::{Ram, mutate};

    fn good() -> Ram {
        let mut ram = Ram::new();
        let words = [
            u64::from(MAGIC) | 1 << 32,
            1 << 32, // flags, one module
            0x200,
            0x300,
            0xF_1230,
            0x400,
            2,
        ];
        for (index, word) in words.into_iter().enumerate() {
            ram.put(0x100 + 8 * index as u64, &word.to_le_bytes());
        }
        ram.words(0x200, &[0x50_0000, 0x1234]);
        ram.put(0x300, b"madt=extra trace\0rest");
        ram.words(0x400, &[0, 0x9_FC00, 1, 0x9_FC00, 0x400, 2]);
        ram
    }

    #[test]
    fn everything_is_read() {
        let info = StartInfo::read(&good(), 0, 0x100).unwrap();
        assert_eq!(info.protocol, Protocol::Pvh);
        assert_eq!(info.module, Some((0x50_0000, 0x1234)));
        assert_eq!(info.rsdp, Some(0xF_1230));
        assert_eq!(info.command_line(), "madt=extra trace");
        let range = |start, end, ram| Range { start, end, ram };
        assert_eq!(
            info.ranges(),
            [range(0, 0x9_FC00, true), range(0x9_FC00, 0xA_0000, false)]
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        let mut ram = good();
        assert_eq!(
            StartInfo::read(&ram, 0, 0x108).unwrap_err(),
            StartInfoError::NoProtocol
        );
        assert_eq!(
            StartInfo::read(&ram, 0, u64::MAX).unwrap_err(),
            StartInfoError::NoProtocol
        );
        ram.put(0x104, &[0]);
        assert_eq!(
            StartInfo::read(&ram, 0, 0x100).unwrap_err(),
            StartInfoError::Version0
        );
    }

    #[test]
    fn addresses_and_counts_may_be_anything() {
        for at in [0x110, 0x118, 0x128] {
            let mut ram = good();
            ram.words(at, &[u64::MAX - 3]);
            assert_eq!(
                StartInfo::read(&ram, 0, 0x100).unwrap_err(),
                StartInfoError::Memory
            );
        }
        let mut ram = good();
        ram.words(0x130, &[u64::from(u32::MAX)]);
        let info = StartInfo::read(&ram, 0, 0x100).unwrap();
        assert_eq!(info.ranges().len(), MAX_RANGES);
        let mut ram = good();
        ram.put(0x300, &[b'x'; 0x1000]);
        assert!(
            StartInfo::read(&ram, 0, 0x100)
                .unwrap()
                .command_line()
                .len()
                <= MAX_COMMAND_LINE
        );
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        mutate(
            &good(),
            &[0x100..0x138, 0x200..0x210, 0x400..0x430],
            |ram| {
                if let Ok(info) = StartInfo::read(ram, 0, 0x100) {
                    assert!(info.ram().iter().all(|(start, end)| start < end));
                }
            },
        );
    }
}
