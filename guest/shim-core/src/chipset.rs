//! What firmware does to the chipset of QEMU's q35 machine and Linux relies on. Each register is looked at first and
//! written only when it is not set yet: where some firmware ran before, most of it is done.
//!
//! - PMBASE and ACPI_EN in the LPC bridge: without them the power management ports of the FADT are not decoded, and
//!   QEMU puts no port numbers into the FADT. So this comes before the ACPI tables are read.
//! - SCI_EN: the operating system would set it through the SMI command port, and firmware's SMI handler is not part of
//!   a confidential guest. With the bit set, Linux does not ask.
//! - PCIEXBAR: what the MCFG table describes.
//! - PAM: 0xC0000-0xFFFFF is RAM in our memory map, so it must be readable and writable.

use crate::range::Range;

/// I/O ports.
#[allow(missing_docs)]
pub trait Ports {
    fn in16(&mut self, port: u16) -> u16;
    fn out16(&mut self, port: u16, value: u16);
    fn in32(&mut self, port: u16) -> u32;
    fn out32(&mut self, port: u16, value: u32);
}

const CONFIG_ADDRESS: u16 = 0xCF8;
const CONFIG_DATA: u16 = 0xCFC;

const HOST_BRIDGE: u8 = 0;
const LPC_BRIDGE: u8 = 31;
const Q35_HOST_BRIDGE: u32 = 0x29C0_8086;
const ICH9_LPC: u32 = 0x2918_8086;

const PCIEXBAR: u8 = 0x60;
const PCIEXBAR_ENABLE: u32 = 1 << 0;
const ECAM_DEFAULT: u32 = 0xB000_0000;
const PAM: u8 = 0x90;
/// Reads and writes of 0xC0000-0xFFFFF go to RAM. The low half of the first byte is reserved.
const PAM_RAM: [u32; 2] = [0x3333_3330, 0x0033_3333];
const PAM_MASK: [u32; 2] = [0x3333_3330, 0x0033_3333];
const PMBASE: u8 = 0x40;
const PMBASE_MASK: u32 = 0xFF80;
const PMBASE_DEFAULT: u32 = 0x0600;
const ACPI_CNTL: u8 = 0x44;
const ACPI_EN: u32 = 1 << 7;
const PM1_CNT: u16 = 4;
const SCI_EN: u16 = 1 << 0;

/// What was found or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chipset {
    /// First port of the power management block.
    pub pm_base: u16,
    /// PCI's memory-mapped configuration space.
    pub ecam: Range,
    /// How many registers had to be written.
    pub written: u32,
}

/// The host bridge or the LPC bridge is not q35's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chipset: host bridge {host_bridge:#010x} and LPC bridge {lpc:#010x} are not q35's")]
#[allow(missing_docs)]
pub struct UnknownChipset {
    pub host_bridge: u32,
    pub lpc: u32,
}

/// Looks at the chipset and sets what is not set.
pub fn prepare(ports: &mut dyn Ports) -> Result<Chipset, UnknownChipset> {
    let host_bridge = read(ports, HOST_BRIDGE, 0);
    let lpc = read(ports, LPC_BRIDGE, 0);
    if (host_bridge, lpc) != (Q35_HOST_BRIDGE, ICH9_LPC) {
        return Err(UnknownChipset { host_bridge, lpc });
    }
    let mut written = 0;
    for ((register, value), mask) in [PAM, PAM + 4].into_iter().zip(PAM_RAM).zip(PAM_MASK) {
        let now = read(ports, HOST_BRIDGE, register);
        written += set(ports, HOST_BRIDGE, register, now, now & !mask | value);
    }
    let mut bar = read(ports, HOST_BRIDGE, PCIEXBAR);
    if bar & PCIEXBAR_ENABLE == 0 {
        write(ports, HOST_BRIDGE, PCIEXBAR + 4, 0);
        bar = ECAM_DEFAULT | PCIEXBAR_ENABLE;
        write(ports, HOST_BRIDGE, PCIEXBAR, bar);
        written += 1;
    }
    let high = u64::from(read(ports, HOST_BRIDGE, PCIEXBAR + 4)) << 32;
    let mut pm_base = read(ports, LPC_BRIDGE, PMBASE);
    if pm_base & PMBASE_MASK == 0 {
        pm_base = PMBASE_DEFAULT;
        write(ports, LPC_BRIDGE, PMBASE, pm_base | 1);
        written += 1;
    }
    let pm_base = (pm_base & PMBASE_MASK) as u16;
    let control = read(ports, LPC_BRIDGE, ACPI_CNTL);
    written += set(ports, LPC_BRIDGE, ACPI_CNTL, control, control | ACPI_EN);
    let pm1 = ports.in16(pm_base + PM1_CNT);
    if pm1 & SCI_EN == 0 {
        ports.out16(pm_base + PM1_CNT, pm1 | SCI_EN);
        written += 1;
    }
    Ok(Chipset {
        pm_base,
        ecam: ecam(high, bar),
        written,
    })
}

/// The range of a PCIEXBAR value: bits 2:1 give 256, 128 or 64 MiB.
fn ecam(high: u64, bar: u32) -> Range {
    let size: u64 = match bar >> 1 & 3 {
        0 => 256 << 20,
        1 => 128 << 20,
        _ => 64 << 20,
    };
    let start = (high | u64::from(bar)) & !(size - 1);
    Range::new(start, start.saturating_add(size))
}

fn set(ports: &mut dyn Ports, device: u8, register: u8, now: u32, wanted: u32) -> u32 {
    if now == wanted {
        return 0;
    }
    write(ports, device, register, wanted);
    1
}

fn select(ports: &mut dyn Ports, device: u8, register: u8) {
    let address = 1 << 31 | u32::from(device) << 11 | u32::from(register);
    ports.out32(CONFIG_ADDRESS, address);
}

fn read(ports: &mut dyn Ports, device: u8, register: u8) -> u32 {
    select(ports, device, register);
    ports.in32(CONFIG_DATA)
}

fn write(ports: &mut dyn Ports, device: u8, register: u8, value: u32) {
    select(ports, device, register);
    ports.out32(CONFIG_DATA, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;

    /// Registers by configuration address, and the power management control port.
    #[derive(Default)]
    struct Machine {
        registers: BTreeMap<u32, u32>,
        address: u32,
        pm1_control: u16,
        writes: u32,
    }

    impl Machine {
        fn q35(registers: &[(u32, u32)]) -> Machine {
            let mut machine = Machine::default();
            machine.registers.insert(0x8000_0000, 0x29C0_8086);
            machine.registers.insert(0x8000_F800, 0x2918_8086);
            machine.registers.extend(registers.iter().copied());
            machine
        }
    }

    impl Ports for Machine {
        fn in16(&mut self, port: u16) -> u16 {
            assert_eq!(port, 0x604);
            self.pm1_control
        }
        fn out16(&mut self, port: u16, value: u16) {
            assert_eq!(port, 0x604);
            self.pm1_control = value;
            self.writes += 1;
        }
        fn in32(&mut self, port: u16) -> u32 {
            assert_eq!(port, 0xCFC);
            self.registers.get(&self.address).copied().unwrap_or(0)
        }
        fn out32(&mut self, port: u16, value: u32) {
            match port {
                0xCF8 => self.address = value,
                0xCFC => {
                    self.registers.insert(self.address, value);
                    self.writes += 1;
                }
                _ => panic!("port {port:#x}"),
            }
        }
    }

    #[test]
    fn a_machine_without_firmware_gets_everything() {
        let mut machine = Machine::q35(&[]);
        let chipset = prepare(&mut machine).unwrap();
        assert_eq!(chipset.pm_base, 0x600);
        assert_eq!(chipset.ecam, Range::new(0xB000_0000, 0xC000_0000));
        assert_eq!(machine.pm1_control, 1);
        assert_eq!(machine.registers[&0x8000_F840], 0x601);
        assert_eq!(machine.registers[&0x8000_F844], 0x80);
        assert_eq!(machine.registers[&0x8000_0060], 0xB000_0001);
        assert_eq!(machine.registers[&0x8000_0090], 0x3333_3330);
        assert_eq!(machine.registers[&0x8000_0094], 0x0033_3333);
    }

    #[test]
    fn what_firmware_did_is_left_alone() {
        // As SeaBIOS leaves QEMU 7.2's q35, apart from PAM, which is already RAM here.
        let mut machine = Machine::q35(&[
            (0x8000_F840, 0x601),
            (0x8000_F844, 0x80),
            (0x8000_0060, 0xB000_0001),
            (0x8000_0090, 0x3333_3330),
            (0x8000_0094, 0x0033_3333),
        ]);
        machine.pm1_control = 0x1C01;
        assert_eq!(prepare(&mut machine).unwrap().written, 0);
        assert_eq!(machine.writes, 0);
        assert_eq!(machine.pm1_control, 0x1C01);
    }

    #[test]
    fn read_only_shadow_ram_becomes_writable() {
        let mut machine = Machine::q35(&[(0x8000_0090, 0x1111_1110), (0x8000_0094, 0x0033_1111)]);
        prepare(&mut machine).unwrap();
        assert_eq!(machine.registers[&0x8000_0090], 0x3333_3330);
        assert_eq!(machine.registers[&0x8000_0094], 0x0033_3333);
    }

    #[test]
    fn other_places_and_sizes_of_ecam_are_believed() {
        let mut machine = Machine::q35(&[(0x8000_0060, 0xE000_0003), (0x8000_0064, 0x10)]);
        let ecam = prepare(&mut machine).unwrap().ecam;
        assert_eq!(ecam, Range::new(0x10_E000_0000, 0x10_E800_0000));
    }

    #[test]
    fn another_chipset_is_named() {
        let mut machine = Machine::q35(&[(0x8000_0000, 0x1237_8086)]);
        assert_eq!(
            prepare(&mut machine).unwrap_err().to_string(),
            "chipset: host bridge 0x12378086 and LPC bridge 0x29188086 are not q35's"
        );
    }
}
