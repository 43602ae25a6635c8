//! The local APIC in x2APIC mode, by GHCB MSR events: enough for IPIs and the timer.

use crate::ghcb::GhcbError;
use crate::nae;
use snp_abi::msr;

/// x2APIC registers (offset of the xAPIC register divided by 16).
pub mod register {
    /// APIC ID.
    pub const ID: u32 = 0x02;
    /// End of interrupt.
    pub const EOI: u32 = 0x0B;
    /// Spurious interrupt vector, with the enable bit.
    pub const SPURIOUS: u32 = 0x0F;
    /// Interrupt command, 64 bits.
    pub const ICR: u32 = 0x30;
    /// Timer's vector and mode.
    pub const LVT_TIMER: u32 = 0x32;
    /// Timer's initial count.
    pub const TIMER_INITIAL: u32 = 0x38;
    /// Timer's current count.
    pub const TIMER_CURRENT: u32 = 0x39;
    /// Timer's divider.
    pub const TIMER_DIVIDE: u32 = 0x3E;
}

/// APIC_BASE: x2APIC mode and enabled.
const BASE_EXTD: u64 = 1 << 10;
const BASE_ENABLE: u64 = 1 << 11;

/// Reads a register.
pub fn read(register: u32) -> Result<u64, GhcbError> {
    nae::rdmsr(msr::X2APIC_FIRST + register)
}

/// Writes a register.
pub fn write(register: u32, value: u64) -> Result<(), GhcbError> {
    nae::wrmsr(msr::X2APIC_FIRST + register, value)
}

/// Turns the APIC on in x2APIC mode.
pub fn enable() -> Result<(), GhcbError> {
    let base = nae::rdmsr(msr::APIC_BASE)?;
    if base & BASE_EXTD == 0 {
        nae::wrmsr(msr::APIC_BASE, base | BASE_ENABLE)?;
        nae::wrmsr(msr::APIC_BASE, base | BASE_ENABLE | BASE_EXTD)?;
    }
    write(register::SPURIOUS, 0x1FF)
}

/// Sends a fixed interrupt.
pub fn send_ipi(apic_id: u32, vector: u8) -> Result<(), GhcbError> {
    write(
        register::ICR,
        (apic_id as u64) << 32 | 1 << 14 | vector as u64,
    )
}

/// Ends the interrupt in service.
pub fn end_of_interrupt() -> Result<(), GhcbError> {
    write(register::EOI, 0)
}

/// Starts the timer: one interrupt after `count` ticks of the divided-by-1 clock.
pub fn start_timer(vector: u8, count: u32) -> Result<(), GhcbError> {
    write(register::TIMER_DIVIDE, 0xB)?;
    write(register::LVT_TIMER, vector as u64)?;
    write(register::TIMER_INITIAL, count as u64)
}
