//! What QEMU tells a PVH kernel: `hvm_start_info` (Xen `public/arch-x86/hvm/start_info.h`), copied before the memory
//! it lies in is given to the guest.

use super::phys;

const MAGIC: u32 = 0x336E_C578;
const RAM: u32 = 1;
const RESERVED: u32 = 2;

/// Most entries of the memory map that are kept.
pub const MAX_RANGES: usize = 32;
/// Longest command line.
pub const MAX_COMMAND_LINE: usize = 2048;

/// A range of the host's memory map.
#[derive(Clone, Copy, Default)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// RAM rather than reserved.
    pub ram: bool,
}

/// The start information.
pub struct StartInfo {
    ranges: [Range; MAX_RANGES],
    count: usize,
    /// First module (`-initrd`): address and size.
    pub module: Option<(u64, u64)>,
    command_line: [u8; MAX_COMMAND_LINE],
    command_line_length: usize,
}

fn u32_at(hpa: u64) -> u32 {
    let mut bytes = [0; 4];
    phys::read(hpa, &mut bytes);
    u32::from_le_bytes(bytes)
}

fn u64_at(hpa: u64) -> u64 {
    let mut bytes = [0; 8];
    phys::read(hpa, &mut bytes);
    u64::from_le_bytes(bytes)
}

impl StartInfo {
    /// Copies it from physical address `at`.
    pub fn read(at: u64) -> Result<StartInfo, &'static str> {
        if u32_at(at) != MAGIC {
            return Err("not started as a PVH kernel (hvm_start_info has no magic)");
        }
        if u32_at(at + 4) < 1 {
            return Err("hvm_start_info has no memory map (version 0)");
        }
        let mut info = StartInfo {
            ranges: [Range::default(); MAX_RANGES],
            count: 0,
            module: None,
            command_line: [0; MAX_COMMAND_LINE],
            command_line_length: 0,
        };
        if u32_at(at + 12) > 0 {
            let list = u64_at(at + 16);
            info.module = Some((u64_at(list), u64_at(list + 8)));
        }
        let text = u64_at(at + 24);
        if text != 0 {
            phys::read(text, &mut info.command_line);
            info.command_line_length = info
                .command_line
                .iter()
                .position(|&b| b == 0)
                .unwrap_or(MAX_COMMAND_LINE);
        }
        let map = u64_at(at + 40);
        for i in 0..u64::from(u32_at(at + 48)) {
            let entry = map + i * 24;
            let kind = u32_at(entry + 16);
            if kind != RAM && kind != RESERVED || info.count == MAX_RANGES {
                continue;
            }
            let start = u64_at(entry);
            info.ranges[info.count] = Range {
                start,
                end: start.saturating_add(u64_at(entry + 8)),
                ram: kind == RAM,
            };
            info.count += 1;
        }
        Ok(info)
    }

    /// The memory map.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges[..self.count]
    }

    /// The command line (`-append`).
    pub fn command_line(&self) -> &str {
        core::str::from_utf8(&self.command_line[..self.command_line_length]).unwrap_or("")
    }
}

/// The module's bytes, once it lies in the machine's reserve.
pub fn module(at: u64, size: u64) -> &'static [u8] {
    // SAFETY: `move_module` put it there; the frame allocator ends before it, and nobody writes it any more.
    unsafe { core::slice::from_raw_parts(phys::virt(at) as *const u8, size as usize) }
}

/// Moves the module to the end of the reserve, out of the guest's and the allocator's way.
pub fn move_module(module: (u64, u64), reserve: (u64, u64)) -> (u64, u64) {
    let (at, size) = module;
    let to = (reserve.1 - size) & !0xFFF;
    // SAFETY: both ranges are RAM that holds no Rust value yet; the ranges may overlap, which `copy` allows.
    unsafe {
        core::ptr::copy(
            phys::virt(at) as *const u8,
            phys::virt(to) as *mut u8,
            size as usize,
        )
    };
    (to, size)
}
