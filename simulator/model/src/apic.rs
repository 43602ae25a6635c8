//! The local APIC's registers and modes (APM vol. 2 chapter 16): what is a valid access, and whom an IPI reaches. State
//! and timers are the machine's.

use snp_abi::msr::{X2APIC_FIRST, X2APIC_LAST};

/// Mode, from APIC_BASE bits 11 (enable) and 10 (x2APIC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mode {
    Disabled,
    XApic,
    X2Apic,
}

/// APIC_BASE bit 8: bootstrap processor (read-only).
pub const BASE_BSP: u64 = 1 << 8;
/// APIC_BASE bit 10: x2APIC mode.
pub const BASE_EXTD: u64 = 1 << 10;
/// APIC_BASE bit 11: enabled.
pub const BASE_ENABLE: u64 = 1 << 11;
/// Where the xAPIC page is and stays.
pub const BASE_ADDRESS: u64 = 0xFEE0_0000;

/// #GP(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneralProtection;

/// The mode that this APIC_BASE value selects; `None` for x2APIC without enable.
pub const fn mode(base: u64) -> Option<Mode> {
    match (base & BASE_ENABLE != 0, base & BASE_EXTD != 0) {
        (false, false) => Some(Mode::Disabled),
        (true, false) => Some(Mode::XApic),
        (true, true) => Some(Mode::X2Apic),
        (false, true) => None,
    }
}

/// APIC_BASE after writing `new` over `old`, or #GP: reserved bits, the forbidden transitions (disabled to x2APIC, x2APIC
/// to xAPIC; APM vol. 2 §16.9), another address than [`BASE_ADDRESS`] (not supported here). The BSP bit is read-only.
pub const fn write_base(old: u64, new: u64) -> Result<u64, GeneralProtection> {
    let address = new & !0xFFF;
    let reserved = new & 0x2FF & !BASE_BSP;
    if address != BASE_ADDRESS || reserved != 0 {
        return Err(GeneralProtection);
    }
    match (mode(old), mode(new)) {
        (_, None) | (Some(Mode::Disabled), Some(Mode::X2Apic)) => return Err(GeneralProtection),
        (Some(Mode::X2Apic), Some(Mode::XApic)) => return Err(GeneralProtection),
        _ => {}
    }
    Ok(new & !BASE_BSP | old & BASE_BSP)
}

/// A register, named by its offset in the xAPIC page (0x20 ID, 0x30 version, 0x80 TPR, 0xB0 EOI, 0x300 ICR, ...).
pub type Offset = u16;

/// APIC ID.
pub const ID: Offset = 0x20;
/// Version.
pub const VERSION: Offset = 0x30;
/// Task priority.
pub const TPR: Offset = 0x80;
/// Processor priority.
pub const PPR: Offset = 0xA0;
/// End of interrupt.
pub const EOI: Offset = 0xB0;
/// Logical destination.
pub const LDR: Offset = 0xD0;
/// Destination format (xAPIC only).
pub const DFR: Offset = 0xE0;
/// Spurious interrupt vector.
pub const SVR: Offset = 0xF0;
/// First of the eight in-service registers.
pub const ISR: Offset = 0x100;
/// First of the eight trigger-mode registers.
pub const TMR: Offset = 0x180;
/// First of the eight interrupt request registers.
pub const IRR: Offset = 0x200;
/// Error status.
pub const ESR: Offset = 0x280;
/// Interrupt command, low half; in x2APIC mode all of it.
pub const ICR_LOW: Offset = 0x300;
/// Interrupt command, high half (xAPIC only).
pub const ICR_HIGH: Offset = 0x310;
/// Timer entry of the local vector table.
pub const LVT_TIMER: Offset = 0x320;
/// Thermal entry.
pub const LVT_THERMAL: Offset = 0x330;
/// Performance counter entry.
pub const LVT_PERFORMANCE: Offset = 0x340;
/// LINT0 entry.
pub const LVT_LINT0: Offset = 0x350;
/// LINT1 entry.
pub const LVT_LINT1: Offset = 0x360;
/// Error entry.
pub const LVT_ERROR: Offset = 0x370;
/// Timer: initial count.
pub const TIMER_INITIAL: Offset = 0x380;
/// Timer: current count.
pub const TIMER_CURRENT: Offset = 0x390;
/// Timer: divider.
pub const TIMER_DIVIDE: Offset = 0x3E0;
/// Self IPI (x2APIC only, write only).
pub const SELF_IPI: Offset = 0x3F0;

/// The register that an x2APIC MSR (0x800-0x8FF) means, or #GP: for one that does not exist in x2APIC mode (DFR 0x80E,
/// ICR high 0x831, gaps), for a write of a read-only one and a read of a write-only one (APM vol. 2 table 16-6).
pub const fn x2apic_register(msr: u32, write: bool) -> Result<Offset, GeneralProtection> {
    if msr < X2APIC_FIRST || msr > X2APIC_LAST {
        return Err(GeneralProtection);
    }
    let register = ((msr - X2APIC_FIRST) << 4) as Offset;
    let (readable, writable) = match register {
        ID | VERSION | PPR | LDR | ISR..=0x270 | TIMER_CURRENT => (true, false),
        EOI | SELF_IPI => (false, true),
        TPR | SVR | ESR | ICR_LOW | LVT_TIMER..=LVT_ERROR | TIMER_INITIAL | TIMER_DIVIDE => {
            (true, true)
        }
        _ => (false, false),
    };
    if (write && writable) || (!write && readable) {
        Ok(register)
    } else {
        Err(GeneralProtection)
    }
}

/// Checks a value written through an x2APIC MSR: #GP when reserved bits are set. Read-only status bits of the local
/// vector table may be written back.
pub const fn check_x2apic_write(register: Offset, value: u64) -> Result<(), GeneralProtection> {
    let allowed = match register {
        EOI | ESR => 0,
        TPR | SELF_IPI => 0xFF,
        SVR => 0x13FF,
        ICR_LOW => !0xFFF3_2000,
        LVT_TIMER => 0x7_10FF,
        LVT_THERMAL | LVT_PERFORMANCE => 0x1_17FF,
        LVT_LINT0 | LVT_LINT1 => 0x1_F7FF,
        LVT_ERROR => 0x1_17FF,
        TIMER_DIVIDE => 0xB,
        _ => 0xFFFF_FFFF,
    };
    if value & !allowed == 0 {
        Ok(())
    } else {
        Err(GeneralProtection)
    }
}

/// ICR delivery modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DeliveryMode {
    Fixed,
    LowestPriority,
    Smi,
    RemoteRead,
    Nmi,
    Init,
    Startup,
    External,
}

/// Destination shorthand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Shorthand {
    None,
    SelfOnly,
    All,
    AllButSelf,
}

/// A decoded interrupt command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Icr {
    pub vector: u8,
    pub mode: DeliveryMode,
    /// Logical destination.
    pub logical: bool,
    /// False: an INIT level de-assert, which does nothing.
    pub assert: bool,
    pub level_triggered: bool,
    pub shorthand: Shorthand,
    /// 8 bits in xAPIC mode, 32 in x2APIC mode.
    pub destination: u32,
    pub x2apic: bool,
}

impl Icr {
    /// From the x2APIC ICR MSR.
    pub const fn from_x2apic(value: u64) -> Icr {
        Icr::decode(value as u32, (value >> 32) as u32, true)
    }

    /// From the xAPIC's two registers.
    pub const fn from_xapic(low: u32, high: u32) -> Icr {
        Icr::decode(low, high >> 24, false)
    }

    /// The command that `SELF IPI` (x2APIC MSR 0x83F) stands for.
    pub const fn self_ipi(vector: u8) -> Icr {
        Icr::decode(vector as u32 | 1 << 14 | 1 << 18, 0, true)
    }

    /// APM vol. 2 figure 16-18.
    const fn decode(low: u32, destination: u32, x2apic: bool) -> Icr {
        Icr {
            vector: low as u8,
            mode: match low >> 8 & 7 {
                0 => DeliveryMode::Fixed,
                1 => DeliveryMode::LowestPriority,
                2 => DeliveryMode::Smi,
                3 => DeliveryMode::RemoteRead,
                4 => DeliveryMode::Nmi,
                5 => DeliveryMode::Init,
                6 => DeliveryMode::Startup,
                _ => DeliveryMode::External,
            },
            logical: low & 1 << 11 != 0,
            assert: low & 1 << 14 != 0,
            level_triggered: low & 1 << 15 != 0,
            shorthand: match low >> 18 & 3 {
                0 => Shorthand::None,
                1 => Shorthand::SelfOnly,
                2 => Shorthand::All,
                _ => Shorthand::AllButSelf,
            },
            destination,
            x2apic,
        }
    }

    /// Whether this is the INIT level de-assert that does nothing on processors of this century.
    pub fn is_init_deassert(&self) -> bool {
        self.mode == DeliveryMode::Init && self.level_triggered && !self.assert
    }

    /// Whether it reaches `target` when `sender` (an APIC ID) sends it. For the lowest-priority mode these are the
    /// candidates, of which one is to be chosen.
    pub fn reaches(&self, sender: u32, target: &Target) -> bool {
        if target.mode == Mode::Disabled {
            return false;
        }
        match self.shorthand {
            Shorthand::SelfOnly => target.apic_id == sender,
            Shorthand::All => true,
            Shorthand::AllButSelf => target.apic_id != sender,
            Shorthand::None => self.is_broadcast() || self.addresses(target),
        }
    }

    fn is_broadcast(&self) -> bool {
        self.destination == if self.x2apic { u32::MAX } else { 0xFF }
    }

    fn addresses(&self, target: &Target) -> bool {
        if !self.logical {
            return self.destination == target.apic_id;
        }
        if target.mode == Mode::X2Apic {
            let ldr = x2apic_ldr(target.apic_id);
            return self.destination >> 16 == ldr >> 16 && self.destination & ldr & 0xFFFF != 0;
        }
        let ldr = target.ldr >> 24;
        if target.dfr >> 28 == 0xF {
            return self.destination & ldr & 0xFF != 0;
        }
        // Cluster model: cluster 7:4 (15 is all of them), member bits 3:0.
        let cluster = self.destination >> 4 & 0xF;
        (cluster == 0xF || cluster == ldr >> 4) && self.destination & ldr & 0xF != 0
    }
}

/// What of a local APIC decides whether it is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Target {
    pub apic_id: u32,
    pub mode: Mode,
    /// xAPIC LDR (bits 31:24 count); ignored in x2APIC mode, where it derives from the ID.
    pub ldr: u32,
    /// xAPIC DFR: 31:28 = 15 flat, 0 cluster.
    pub dfr: u32,
}

/// x2APIC's logical ID: cluster 31:16, bit 15:0.
pub const fn x2apic_ldr(apic_id: u32) -> u32 {
    (apic_id >> 4) << 16 | 1 << (apic_id & 0xF)
}

#[cfg(test)]
mod tests;
