//! The local APIC's registers and modes (APM vol. 2 chapter 16): what is a valid access, and whom an IPI reaches. State
//! and timers are the machine's.

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

/// APIC_BASE after writing `new` over `old`, or #GP: reserved bits, forbidden transitions (APM §16.9, figure 16-..:
/// disabled → x2APIC and x2APIC → xAPIC), another address than [`BASE_ADDRESS`] (not supported here).
pub fn write_base(old: u64, new: u64) -> Result<u64, GeneralProtection> {
    let _ = (old, new);
    todo!()
}

/// A register, named by its offset in the xAPIC page (0x20 ID, 0x30 version, 0x80 TPR, 0xB0 EOI, 0x300 ICR, ...).
pub type Offset = u16;

/// The register that an x2APIC MSR (0x800-0x8FF) means, or #GP for one that does not exist in x2APIC mode
/// (DFR 0x80E, ICR high 0x831, gaps).
pub fn x2apic_register(msr: u32, write: bool) -> Result<Offset, GeneralProtection> {
    let _ = (msr, write);
    todo!()
}

/// Checks a value written through an x2APIC MSR: #GP when reserved bits are set.
pub fn check_x2apic_write(register: Offset, value: u64) -> Result<(), GeneralProtection> {
    let _ = (register, value);
    todo!()
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
    pub fn from_x2apic(value: u64) -> Icr {
        let _ = value;
        todo!()
    }

    /// From the xAPIC's two registers.
    pub fn from_xapic(low: u32, high: u32) -> Icr {
        let _ = (low, high);
        todo!()
    }

    /// The command that `SELF IPI` (x2APIC MSR 0x83F) stands for.
    pub fn self_ipi(vector: u8) -> Icr {
        let _ = vector;
        todo!()
    }

    /// Whether it reaches `target` when `sender` (an APIC ID) sends it.
    pub fn reaches(&self, sender: u32, target: &Target) -> bool {
        let _ = (sender, target);
        todo!()
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
