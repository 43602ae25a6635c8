//! The one thing that the machine asks QEMU's fw_cfg for: how many processors there are.

use crate::arch::cpu;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const PROCESSORS: u16 = 0x05;

/// Number of processors (`-smp`).
pub fn processors() -> u16 {
    cpu::out16(SELECTOR, PROCESSORS);
    let low = cpu::in8(DATA);
    u16::from_le_bytes([low, cpu::in8(DATA)])
}
