//! The local APIC: as an x2APIC where the processor has one, else by its page of registers (APM vol. 2 chapter 16).

use super::super::PlatformResult;

use crate::arch::cpu;
use crate::arch::sync::Once;
use crate::arch::traps::{SPURIOUS, TIMER};
use crate::clock;
use crate::kernel::{self, KERNEL};
use crate::mm::{self, DevicePage};
use core::sync::atomic::{AtomicU64, Ordering};
use svsm_core::cpuid::X2APIC;

/// Where reset puts the registers.
const PAGE: u64 = 0xFEE0_0000;

/// Registers, by their offsets in the page; an x2APIC has each as an MSR.
const EOI: u32 = 0xB0;
const SPURIOUS_VECTOR: u32 = 0xF0;
const COMMAND: u32 = 0x300;
const COMMAND_HIGH: u32 = 0x310;
const LVT_TIMER: u32 = 0x320;
/// Inputs that firmware connects to the PC's interrupt controllers and to NMI.
const LVT_INPUTS: [u32; 2] = [0x350, 0x360];
const INITIAL_COUNT: u32 = 0x380;
const CURRENT_COUNT: u32 = 0x390;
const DIVIDE: u32 = 0x3E0;

/// The APIC is on.
const ON: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const DIVIDE_BY_1: u32 = 0b1011;
/// In the interrupt command: delivery modes, asserted, not yet sent.
const NMI: u32 = 0b100 << 8;
const INIT: u32 = 0b101 << 8;
const START_UP: u32 = 0b110 << 8;
const ASSERT: u32 = 1 << 14;
const PENDING: u32 = 1 << 12;

/// Looks at a command until it counts as sent.
const PATIENCE: u32 = 1_000_000;
/// Between INIT and SIPI, and between two SIPIs: what virtual processors need is nothing, real ones more.
const PAUSE_US: u64 = 200;

/// How the registers are reached.
enum Apic {
    X2,
    Page(DevicePage),
}

/// Found on the boot CPU; the same on all.
static APIC: Once<Apic> = Once::new();

/// Ticks of the timer in a second, once measured.
static TIMER_HZ: AtomicU64 = AtomicU64::new(0);

impl Apic {
    fn write(&self, register: u32, value: u32) {
        match self {
            Apic::X2 => cpu::write_x2apic(register / 16, value.into()),
            Apic::Page(page) => page.write(register as usize, value),
        }
    }

    fn read(&self, register: u32) -> u32 {
        match self {
            Apic::X2 => cpu::rdmsr(snp_abi::msr::X2APIC_FIRST + register / 16) as u32,
            Apic::Page(page) => page.read(register as usize),
        }
    }

    /// Sends an interrupt command.
    fn command(&self, apic_id: u32, command: u32) {
        match self {
            Apic::X2 => {
                let command = (apic_id as u64) << 32 | command as u64;
                cpu::write_x2apic(COMMAND / 16, command);
            }
            Apic::Page(page) => {
                page.write(COMMAND_HIGH as usize, apic_id << 24);
                page.write(COMMAND as usize, command);
                let _sent = (0..PATIENCE).any(|_| page.read(COMMAND as usize) & PENDING == 0);
            }
        }
    }
}

/// Turns on this CPU's APIC and makes its timer ready.
pub fn init() -> PlatformResult<()> {
    let x2apic = kernel::cpuid().is_some_and(|cpuid| cpuid.has(X2APIC));
    let apic = match APIC.get() {
        Some(apic) => apic,
        None => {
            let apic = match x2apic {
                true => Apic::X2,
                false => Apic::Page(mm::map_device(PAGE)?),
            };
            let _ = APIC.set(apic);
            APIC.get().ok_or(mm::OutOfMemory)?
        }
    };
    cpu::enable_apic(x2apic);
    apic.write(SPURIOUS_VECTOR, ON | SPURIOUS as u32);
    apic.write(DIVIDE, DIVIDE_BY_1);
    apic.write(LVT_TIMER, TIMER as u32);
    for input in LVT_INPUTS {
        apic.write(input, MASKED);
    }
    Ok(())
}

/// The rate of the timer, in ticks of a second; measured at the first use, when the clock is known.
fn timer_hz(apic: &Apic) -> u64 {
    let known = TIMER_HZ.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let mut best = measure(apic);
    for _ in 1..MEASUREMENTS {
        if best.0 <= GOOD {
            break;
        }
        best = best.min(measure(apic));
    }
    TIMER_HZ.store(best.1, Ordering::Relaxed);
    best.1
}

/// Measurements at most, and how many thousandths of one may be unknown for it to be the last.
const MEASUREMENTS: u32 = 10;
const GOOD: u64 = 20;

/// One measurement: what part of it is unknown, in thousandths, and the rate. A host that stops this CPU between the timer and the
/// clock makes the one seem to run faster or slower.
fn measure(apic: &Apic) -> (u64, u64) {
    const MEASURE_US: u64 = 2000;
    let begun = cpu::tsc();
    apic.write(INITIAL_COUNT, u32::MAX);
    let after_start = cpu::tsc();
    clock::wait_us(MEASURE_US);
    let before_end = cpu::tsc();
    let ticks = u32::MAX - apic.read(CURRENT_COUNT);
    let ended = cpu::tsc();
    apic.write(INITIAL_COUNT, 0);
    let all = ended.wrapping_sub(begun).max(1);
    let unknown = all.saturating_sub(before_end.wrapping_sub(after_start));
    let nanoseconds = clock::nanoseconds(all - unknown / 2).max(1);
    let hz = ticks as u128 * 1_000_000_000 / nanoseconds as u128;
    (unknown.saturating_mul(1000) / all, (hz as u64).max(1))
}

/// An interrupt after so many nanoseconds; none with 0.
pub fn set_timer(nanoseconds: u64) {
    if let Some(apic) = APIC.get() {
        let ticks = match nanoseconds {
            0 => 0,
            _ => (nanoseconds as u128 * timer_hz(apic) as u128 / 1_000_000_000)
                .clamp(1, u32::MAX as u128),
        };
        apic.write(INITIAL_COUNT, ticks as u32);
    }
}

/// The interrupt at hand is done. Where there is none it changes nothing.
pub fn end_of_interrupt() {
    if let Some(apic) = APIC.get() {
        apic.write(EOI, 0);
    }
}

/// Whether commands can be sent to this ID. The older kind of APIC has 8 bits for it, and takes 255 for everybody.
pub fn reaches(apic_id: u32) -> bool {
    match APIC.get() {
        Some(Apic::X2) => apic_id != u32::MAX,
        Some(Apic::Page(_)) => apic_id < 255,
        None => false,
    }
}

/// INIT, then twice SIPI, as processors have wanted it since the first of them.
pub fn start_ap(apic_id: u32, vector: u8) {
    if let Some(apic) = APIC.get() {
        apic.command(apic_id, INIT | ASSERT);
        clock::wait_us(PAUSE_US);
        for _ in 0..2 {
            apic.command(apic_id, START_UP | ASSERT | vector as u32);
            clock::wait_us(PAUSE_US);
        }
    }
}

/// Interrupts another CPU.
#[cfg(feature = "tests")]
pub fn send_ipi(apic_id: u32) {
    if let Some(apic) = APIC.get() {
        apic.command(apic_id, ASSERT | crate::arch::traps::IPI as u32);
    }
}

/// Sends a CPU an NMI.
#[cfg(any(feature = "gdb", feature = "tests"))]
pub fn send_nmi(apic_id: u32) {
    if let Some(apic) = APIC.get() {
        apic.command(apic_id, NMI | ASSERT);
    }
}

/// Has all other CPUs that run the SVSM stop: by an NMI, which needs no consent. One that has not come up has no handler for
/// it either: it would reset the machine.
pub fn stop_others(own: u32) {
    let (Some(apic), Some(kernel)) = (APIC.get(), KERNEL.get()) else {
        return;
    };
    let others = kernel.vcpus.iter().filter(|vcpu| vcpu.is_online());
    for vcpu in others.filter(|vcpu| vcpu.apic_id() != own) {
        apic.command(vcpu.apic_id(), NMI | ASSERT);
    }
}
