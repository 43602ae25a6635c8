//! The MADT that the image's loader is given: the processors that came up and q35's I/O APIC (ACPI 6.5 §5.2.12).

use alloc::vec::Vec;

const HEADER_BYTES: usize = 36;
const LOCAL_APIC: u32 = 0xFEE0_0000;
const IO_APIC: u32 = 0xFEC0_0000;
/// There is an 8259 pair, too.
const PCAT_COMPAT: u32 = 1;
const ENABLED: u32 = 1;
/// Active high, level triggered: PCI interrupts.
const LEVEL_HIGH: u16 = 0xD;
/// ISA interrupts that are PCI's on q35.
const PCI_INTERRUPTS: [u8; 4] = [5, 9, 10, 11];

/// A MADT with these APIC IDs.
pub fn madt(apic_ids: impl Iterator<Item = u32>) -> Vec<u8> {
    let mut table = Vec::new();
    table.extend_from_slice(b"APIC");
    table.resize(HEADER_BYTES, 0);
    table[8] = 3;
    table[10..16].copy_from_slice(b"MACADA");
    table[16..24].copy_from_slice(b"SNPMACHI");
    table[24] = 1;
    table[28..32].copy_from_slice(b"MACA");
    table[32] = 1;
    table.extend_from_slice(&LOCAL_APIC.to_le_bytes());
    table.extend_from_slice(&PCAT_COMPAT.to_le_bytes());
    for (uid, id) in apic_ids.enumerate() {
        table.extend_from_slice(&[0, 8, uid as u8, id as u8]);
        table.extend_from_slice(&ENABLED.to_le_bytes());
    }
    table.extend_from_slice(&[1, 12, 0, 0]);
    table.extend_from_slice(&IO_APIC.to_le_bytes());
    table.extend_from_slice(&0u32.to_le_bytes());
    let mut interrupt_override = |irq: u8, gsi: u32, flags: u16| {
        table.extend_from_slice(&[2, 10, 0, irq]);
        table.extend_from_slice(&gsi.to_le_bytes());
        table.extend_from_slice(&flags.to_le_bytes());
    };
    interrupt_override(0, 2, 0);
    for irq in PCI_INTERRUPTS {
        interrupt_override(irq, irq.into(), LEVEL_HIGH);
    }
    // LINT1 of all processors is NMI.
    table.extend_from_slice(&[4, 6, 0xFF, 0, 0, 1]);
    let length = table.len() as u32;
    table[4..8].copy_from_slice(&length.to_le_bytes());
    let sum = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    table[9] = sum.wrapping_neg();
    table
}
