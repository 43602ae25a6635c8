//! Putting q35's parts into the state that a guest without BIOS expects.

use crate::arch::{cpu, guest};

const CONFIG_ADDRESS: u16 = 0xCF8;
const CONFIG_DATA: u16 = 0xCFC;
/// Host bridge, PAM0: attributes of 0xF0000-0xFFFFF, then of 0xC0000-0xEFFFF.
const PAM: u32 = 0x90;
const PAM_COUNT: u32 = 7;
/// Both halves readable and writable RAM.
const PAM_RAM: u8 = 0x33;
const PIC_MASKS: [u16; 2] = [0x21, 0xA1];

/// Makes 0xC0000-0xFFFFF plain RAM: firmware has left option ROMs and itself there, write-protected.
pub fn unlock_low_ram() {
    for i in 0..PAM_COUNT {
        let register = PAM + i;
        cpu::out32(CONFIG_ADDRESS, 1 << 31 | register & !3);
        cpu::out8(CONFIG_DATA + (register & 3) as u16, PAM_RAM);
    }
}

/// No interrupt before the guest asks for one.
pub fn mask_interrupts() {
    for port in PIC_MASKS {
        cpu::out8(port, 0xFF);
    }
}

/// Clears what firmware and the machine's first instructions left in the guest's low RAM.
pub fn wipe(ranges: &[(u64, u64)]) {
    for &(start, end) in ranges {
        guest::zero(start, (end - start) as usize);
    }
}
