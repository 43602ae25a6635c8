//! The only interrupt there is: #HV, raised by the hypervisor for this level's own APIC (56421 §4.1.10 and its chapter on
//! restricted injection): its timer, or another CPU's signal. Nothing depends on what the doorbell page says of it: whether a
//! slice is over, the time-stamp counter tells.

use super::super::PlatformResult;
use super::ghcb::{self, Event, RAX, RCX, RDX};
use crate::arch::percpu::this_cpu;
use crate::arch::traps::TIMER;
use crate::mm::SharedPage;
use snp_abi::{exit, msr};

/// Sets the page; its address is in the second exit information.
const SET: u64 = 1;

/// APIC_BASE: enabled, in x2APIC mode.
const X2APIC: u64 = 1 << 11 | 1 << 10;
/// The x2APIC's registers, by their offsets in the xAPIC's page.
const SPURIOUS: u32 = 0xF0;
const EOI: u32 = 0xB0;
#[cfg(feature = "tests")]
const ICR: u32 = 0x300;
const LVT_TIMER: u32 = 0x320;
const INITIAL_COUNT: u32 = 0x380;
const DIVIDE: u32 = 0x3E0;

/// Enabled; the vector is never used.
const SPURIOUS_ON: u64 = 1 << 8 | 0xFF;
/// One shot.
const ONE_SHOT: u64 = TIMER as u64;
/// Of the interrupt command: fixed delivery, asserted.
#[cfg(feature = "tests")]
const ICR_ASSERT: u64 = 1 << 14;
/// By one.
const DIVIDE_BY_1: u64 = 0b1011;

/// The page's first quadword: vector in 7:0, "no further signal" in 15, "no EOI required" in 16.
const EVENTS: usize = 0;
const NO_EOI_REQUIRED: u64 = 1 << 16;

/// Has this CPU's page told to the hypervisor, and its timer ready. A hypervisor that offers none is an error.
pub fn init(page: SharedPage) -> PlatformResult<()> {
    Event::new(exit::HV_DOORBELL, SET, page.gpa()).issue(ghcb::current()?)?;
    let base = read_msr(msr::APIC_BASE)?;
    if base & X2APIC != X2APIC {
        // The two steps that the architecture has between the modes.
        write_msr(msr::APIC_BASE, base | 1 << 11)?;
        write_msr(msr::APIC_BASE, base | X2APIC)?;
    }
    write(SPURIOUS, SPURIOUS_ON)?;
    write(DIVIDE, DIVIDE_BY_1)?;
    write(LVT_TIMER, ONE_SHOT)?;
    this_cpu().doorbell.set(Some(page));
    Ok(())
}

/// Raises #HV on this CPU after so many nanoseconds, or not at all with 0; what it was raised for before is done. The timer
/// runs with 1 GHz on KVM; if it were another rate, a slice would be longer, or its timer be set more than once.
pub fn set_timer(nanoseconds: u64) {
    if let Some(page) = this_cpu().doorbell.get() {
        acknowledge(page);
        let _ = write(INITIAL_COUNT, nanoseconds.min(u32::MAX.into()));
    }
}

/// Raises #HV on another CPU of the SVSM's.
#[cfg(feature = "tests")]
pub fn send(apic_id: u32) -> PlatformResult<()> {
    let vector = crate::arch::traps::IPI as u64;
    write(ICR, (apic_id as u64) << 32 | ICR_ASSERT | vector)
}

/// Notes what was signalled here while this CPU waited.
pub fn take() {
    if let Some(page) = this_cpu().doorbell.get() {
        this_cpu().signal.set(acknowledge(page));
    }
}

/// Lets the hypervisor raise the next #HV. Returns the vector that it was raised for, or 0.
fn acknowledge(page: SharedPage) -> u8 {
    // Vector, flags and all: a signal that gets lost here is a timer that has expired. In one
    // step: a vector that came between reading and writing would have no EOI, and be the last one.
    let events = page.swap(EVENTS, 0);
    if events as u8 != 0 && events & NO_EOI_REQUIRED == 0 {
        let _ = write(EOI, 0);
    }
    events as u8
}

fn write(register: u32, value: u64) -> PlatformResult<()> {
    write_msr(msr::X2APIC_FIRST + register / 16, value)
}

fn write_msr(number: u32, value: u64) -> PlatformResult<()> {
    Ok(Event::new(exit::MSR, 1, 0)
        .with(RCX, number.into())
        .with(RAX, value & 0xFFFF_FFFF)
        .with(RDX, value >> 32)
        .issue(ghcb::current()?)?)
}

fn read_msr(number: u32) -> PlatformResult<u64> {
    let page = ghcb::current()?;
    Event::new(exit::MSR, 0, 0)
        .with(RCX, number.into())
        .issue(page)?;
    Ok(page.read(RAX) & 0xFFFF_FFFF | page.read(RDX) << 32)
}
