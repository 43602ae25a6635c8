//! The local APIC of a VMPL with restricted injection (56421 §5: "#HV" doorbell). Such a VMPL takes no interrupts from the
//! processor's APIC, which is the guest's; like each plane of a KVM guest it has an APIC of its own. Its interrupts come from
//! its timer and from IPIs of the same VMPL, and reach it by its doorbell page.

mod doorbell;
mod timer;

use crate::apic::{self, DeliveryMode, Icr, Mode, Offset, Shorthand};
pub use doorbell::{Doorbell, Signal};
pub use timer::Timer;

/// Version 0x14 with six LVT entries, as QEMU's.
const VERSION: u32 = 0x0005_0014;
const SVR_RESET: u32 = 0xFF;
const SVR_ENABLE: u32 = 1 << 8;
const SVR_KEPT: u32 = 0x1FF;
const LVT_MASKED: u32 = 1 << 16;
/// Vectors below are illegal.
const FIRST_VECTOR: u8 = 16;

/// Which processor an APIC belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// APIC ID.
    pub apic_id: u32,
    /// Whether it is the bootstrap processor.
    pub bootstrap: bool,
}

/// The APIC's state. Times are in nanoseconds, of one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalApic {
    base: u64,
    tpr: u32,
    svr: u32,
    icr: u64,
    requested: [u64; 4],
    in_service: [u64; 4],
    timer: Timer,
}

impl LocalApic {
    /// After reset: xAPIC mode, disabled by software.
    pub const fn new() -> LocalApic {
        LocalApic {
            base: apic::BASE_ADDRESS | apic::BASE_ENABLE,
            tpr: 0,
            svr: SVR_RESET,
            icr: 0,
            requested: [0; 4],
            in_service: [0; 4],
            timer: Timer::new(),
        }
    }

    /// APIC_BASE.
    pub const fn base(&self, owner: Owner) -> u64 {
        self.base | if owner.bootstrap { apic::BASE_BSP } else { 0 }
    }

    /// Writes APIC_BASE. Disabling resets all else.
    pub fn write_base(&mut self, owner: Owner, value: u64) -> Result<(), apic::GeneralProtection> {
        let base = apic::write_base(self.base(owner), value)? & !apic::BASE_BSP;
        if base & apic::BASE_ENABLE == 0 {
            *self = LocalApic::new();
        }
        self.base = base;
        Ok(())
    }

    fn mode(&self) -> Mode {
        apic::mode(self.base).unwrap_or(Mode::Disabled)
    }

    /// Reads an x2APIC register; `None`: #GP.
    pub fn read_msr(&self, owner: Owner, msr: u32, now: u64) -> Option<u64> {
        if self.mode() != Mode::X2Apic {
            return None;
        }
        Some(match apic::x2apic_register(msr, false).ok()? {
            apic::ICR_LOW => self.icr,
            apic::LDR => apic::x2apic_ldr(owner.apic_id).into(),
            apic::ID => owner.apic_id.into(),
            register => self.read(register, now).into(),
        })
    }

    /// Writes an x2APIC register; `false`: #GP.
    pub fn write_msr(&mut self, owner: Owner, msr: u32, value: u64, now: u64) -> bool {
        let Ok(register) = apic::x2apic_register(msr, true) else {
            return false;
        };
        if self.mode() != Mode::X2Apic || apic::check_x2apic_write(register, value).is_err() {
            return false;
        }
        match register {
            apic::ICR_LOW => {
                self.icr = value;
                self.send(owner, &Icr::from_x2apic(value));
            }
            apic::SELF_IPI => self.request(value as u8),
            _ => self.write(register, value as u32, now),
        }
        true
    }

    /// Reads a register by MMIO; in x2APIC mode there is nothing.
    pub fn read_mmio(&self, owner: Owner, register: Offset, now: u64) -> u32 {
        match (self.mode(), register) {
            (Mode::X2Apic | Mode::Disabled, _) => u32::MAX,
            (Mode::XApic, apic::ID) => owner.apic_id << 24,
            (Mode::XApic, apic::ICR_LOW) => self.icr as u32,
            (Mode::XApic, apic::ICR_HIGH) => (self.icr >> 32) as u32,
            (Mode::XApic, _) => self.read(register, now),
        }
    }

    /// Writes a register by MMIO.
    pub fn write_mmio(&mut self, owner: Owner, register: Offset, value: u32, now: u64) {
        if self.mode() != Mode::XApic {
            return;
        }
        match register {
            apic::ICR_LOW => {
                self.icr = self.icr & !0xFFFF_FFFF | u64::from(value);
                self.send(owner, &Icr::from_xapic(value, (self.icr >> 32) as u32));
            }
            apic::ICR_HIGH => {
                self.icr = self.icr & 0xFFFF_FFFF | u64::from(value & 0xFF00_0000) << 32;
            }
            _ => self.write(register, value, now),
        }
    }

    fn read(&self, register: Offset, now: u64) -> u32 {
        match register {
            apic::VERSION => VERSION,
            apic::TPR => self.tpr,
            apic::PPR => self.priority(),
            apic::SVR => self.svr,
            apic::ISR..=0x170 => bits(&self.in_service, register - apic::ISR),
            apic::IRR..=0x270 => bits(&self.requested, register - apic::IRR),
            apic::LVT_TIMER => self.timer.lvt(),
            apic::LVT_THERMAL..=apic::LVT_ERROR => LVT_MASKED,
            apic::TIMER_INITIAL => self.timer.initial(),
            apic::TIMER_CURRENT => self.timer.current(now),
            apic::TIMER_DIVIDE => self.timer.divide(),
            _ => 0,
        }
    }

    fn write(&mut self, register: Offset, value: u32, now: u64) {
        match register {
            apic::TPR => self.tpr = value & 0xFF,
            apic::EOI => {
                if let Some(vector) = highest(&self.in_service) {
                    clear(&mut self.in_service, vector);
                }
            }
            apic::SVR => {
                self.svr = value & SVR_KEPT;
                if !self.enabled() {
                    self.timer.mask();
                }
            }
            apic::LVT_TIMER => {
                self.timer.write_lvt(value, now);
                if !self.enabled() {
                    self.timer.mask();
                }
            }
            apic::TIMER_INITIAL => self.timer.write_initial(value, now),
            apic::TIMER_DIVIDE => self.timer.write_divide(value, now),
            _ => {}
        }
    }

    /// The part of an IPI that reaches this APIC itself. Others of the same VMPL are the machine's to reach.
    fn send(&mut self, owner: Owner, command: &Icr) {
        let own = match command.shorthand {
            Shorthand::SelfOnly | Shorthand::All => true,
            Shorthand::AllButSelf => false,
            Shorthand::None => !command.logical && command.destination == owner.apic_id,
        };
        if own && command.mode == DeliveryMode::Fixed {
            self.request(command.vector);
        }
    }

    /// Requests an interrupt.
    pub fn request(&mut self, vector: u8) {
        if vector >= FIRST_VECTOR && self.mode() != Mode::Disabled {
            set(&mut self.requested, vector);
        }
    }

    const fn enabled(&self) -> bool {
        self.svr & SVR_ENABLE != 0
    }

    /// Requests the timer's interrupt if it is due.
    pub fn expire(&mut self, now: u64) {
        if let Some(vector) = self.timer.expire(now) {
            self.request(vector);
        }
    }

    /// When the timer will next have an interrupt.
    pub fn next(&self) -> Option<u64> {
        self.timer.next()
    }

    /// PPR: no interrupt of this class or a lower one can be taken.
    fn priority(&self) -> u32 {
        let served = u32::from(highest(&self.in_service).unwrap_or(0));
        if self.tpr >> 4 >= served >> 4 {
            self.tpr
        } else {
            served & 0xF0
        }
    }

    /// The interrupt that the VMPL can take now.
    pub fn pending(&self) -> Option<u8> {
        highest(&self.requested)
            .filter(|vector| self.enabled() && u32::from(vector >> 4) > self.priority() >> 4)
    }

    /// The VMPL takes this interrupt, which [`LocalApic::pending`] named: it is in service until EOI.
    pub fn accept(&mut self, vector: u8) {
        clear(&mut self.requested, vector);
        set(&mut self.in_service, vector);
    }
}

impl Default for LocalApic {
    fn default() -> LocalApic {
        LocalApic::new()
    }
}

fn highest(set: &[u64; 4]) -> Option<u8> {
    let (index, word) = set.iter().enumerate().rev().find(|(_, word)| **word != 0)?;
    Some((index as u32 * 64 + 63 - word.leading_zeros()) as u8)
}

fn set(set: &mut [u64; 4], vector: u8) {
    set[usize::from(vector >> 6)] |= 1 << (vector & 63);
}

fn clear(set: &mut [u64; 4], vector: u8) {
    set[usize::from(vector >> 6)] &= !(1 << (vector & 63));
}

/// One of eight 32-bit registers, `offset` bytes after the first.
fn bits(set: &[u64; 4], offset: Offset) -> u32 {
    let index = usize::from(offset >> 4);
    set.get(index / 2)
        .map_or(0, |word| (word >> (index % 2 * 32)) as u32)
}

#[cfg(test)]
mod tests;
