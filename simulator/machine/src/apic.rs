//! The guest's local APIC: the real one's registers, x2APIC mode emulated over xAPIC, and what may not pass: NMI, INIT and
//! start-up commands, which act on vCPUs rather than on processors, and the timer, which is the machine's own
//! (`vcpu::timers`). A VMPL with restricted injection has a local APIC of its own instead (`snp_model::lapic`).

use crate::arch::{lapic, percpu, time};
use crate::trace;
use crate::vcpu::{Vcpu, requests};
use snp_model::apic::{self, DeliveryMode, Icr, Mode, Offset, Shorthand, Target};
use snp_model::lapic::Timer;
use snp_model::trace::Topic;

const ID: Offset = 0x20;
const LDR: Offset = 0xD0;
const DFR: Offset = 0xE0;
const ICR_LOW: Offset = 0x300;
const ICR_HIGH: Offset = 0x310;
const SELF_IPI: Offset = 0x3F0;
/// Real command: fixed delivery, asserted.
const FIXED: u32 = 1 << 14;
const MODE_SHIFT: u32 = 8;
/// Shorthand: to itself.
const SELF: u32 = 1 << 18;

/// Vectors below are exceptions for the machine, which takes all interrupts itself.
const FIRST_VECTOR: u8 = 32;
/// Local vector table.
const LVT: core::ops::RangeInclusive<Offset> = 0x320..=0x370;
const LVT_MASKED: u32 = 1 << 16;
const LVT_MODE: u32 = 7 << 8;

/// What may be written to a register: a local vector below 32 stays masked.
fn lvt(register: Offset, value: u32) -> u32 {
    if LVT.contains(&register) && value & LVT_MODE == 0 && (value as u8) < FIRST_VECTOR {
        value | LVT_MASKED
    } else {
        value
    }
}

fn mode(vcpu: &Vcpu) -> Mode {
    apic::mode(vcpu.apic_base).unwrap_or(Mode::Disabled)
}

/// The timer's registers, of which the processor's are the machine's.
const fn of_timer(register: Offset) -> bool {
    matches!(
        register,
        apic::LVT_TIMER | apic::TIMER_INITIAL | apic::TIMER_CURRENT | apic::TIMER_DIVIDE
    )
}

fn read(vcpu: &Vcpu, register: Offset) -> u32 {
    match register {
        apic::LVT_TIMER => vcpu.timer.lvt(),
        apic::TIMER_INITIAL => vcpu.timer.initial(),
        apic::TIMER_CURRENT => vcpu.timer.current(time::now()),
        apic::TIMER_DIVIDE => vcpu.timer.divide(),
        _ => lapic::read(register),
    }
}

fn write(vcpu: &mut Vcpu, register: Offset, value: u32) {
    let value = lvt(register, value);
    if !of_timer(register) {
        return lapic::write(register, value);
    }
    let (timer, now) = (&mut vcpu.timer, time::now());
    match register {
        apic::LVT_TIMER => timer.write_lvt(value, now),
        apic::TIMER_INITIAL => timer.write_initial(value, now),
        apic::TIMER_DIVIDE => timer.write_divide(value, now),
        _ => {}
    }
}

/// Requests an interrupt of this processor's guest, as its local sources do.
pub fn request_own(vector: u8) {
    if vector >= FIRST_VECTOR {
        lapic::send(0, FIXED | SELF | u32::from(vector));
    }
}

/// The register that an MMIO address means, in xAPIC mode.
pub fn register_at(vcpu: &mut Vcpu, gpa: u64) -> Option<Offset> {
    let inside = (apic::BASE_ADDRESS..apic::BASE_ADDRESS + 0x1000).contains(&gpa);
    let there = vcpu.own_apic().is_some() || mode(vcpu) != Mode::Disabled;
    // Registers are 16 bytes apart, of which the first four count.
    (inside && there).then_some((gpa & 0xFF0) as Offset)
}

/// Reads a register by MMIO; in x2APIC mode there is nothing.
pub fn read_xapic(vcpu: &mut Vcpu, register: Offset) -> u32 {
    if let Some((own, owner)) = vcpu.own_apic() {
        return own.read_mmio(owner, register, time::now());
    }
    match mode(vcpu) {
        Mode::XApic => read(vcpu, register),
        Mode::X2Apic | Mode::Disabled => u32::MAX,
    }
}

/// Writes a register by MMIO.
pub fn write_xapic(vcpu: &mut Vcpu, register: Offset, value: u32) {
    if let Some((own, owner)) = vcpu.own_apic() {
        return own.write_mmio(owner, register, value, time::now());
    }
    if mode(vcpu) != Mode::XApic {
        return;
    }
    match register {
        ICR_LOW => {
            let command = Icr::from_xapic(value, lapic::read(ICR_HIGH));
            if matches!(
                command.mode,
                DeliveryMode::Fixed | DeliveryMode::LowestPriority
            ) {
                if command.vector >= FIRST_VECTOR {
                    lapic::write(ICR_LOW, value);
                }
            } else {
                send(vcpu, &command);
            }
        }
        // The ID stays: the machine addresses processors by it.
        ID => {}
        _ => write(vcpu, register, value),
    }
    if matches!(register, LDR | DFR) {
        publish(vcpu);
    }
}

/// Tells the other vCPUs how this one is addressed.
fn publish(vcpu: &Vcpu) {
    requests::shared(vcpu.index()).publish_apic(mode(vcpu), lapic::read(LDR), lapic::read(DFR));
}

/// Reads APIC_BASE.
pub fn read_base(vcpu: &mut Vcpu) -> u64 {
    match vcpu.own_apic() {
        Some((own, owner)) => own.base(owner),
        None => vcpu.apic_base,
    }
}

/// Writes APIC_BASE; `false`: #GP.
pub fn write_base(vcpu: &mut Vcpu, value: u64) -> bool {
    if let Some((own, owner)) = vcpu.own_apic() {
        return own.write_base(owner, value).is_ok();
    }
    match apic::write_base(vcpu.apic_base, value) {
        Ok(base) => {
            vcpu.apic_base = base;
            if mode(vcpu) == Mode::Disabled {
                vcpu.timer = Timer::new();
            }
            publish(vcpu);
            true
        }
        Err(apic::GeneralProtection) => false,
    }
}

/// Reads an x2APIC register; `None`: #GP.
pub fn read_x2apic(vcpu: &mut Vcpu, msr: u32) -> Option<u64> {
    if let Some((own, owner)) = vcpu.own_apic() {
        return own.read_msr(owner, msr, time::now());
    }
    if mode(vcpu) != Mode::X2Apic {
        return None;
    }
    let register = apic::x2apic_register(msr, false).ok()?;
    Some(match register {
        ID => vcpu.apic_id().into(),
        LDR => apic::x2apic_ldr(vcpu.apic_id()).into(),
        ICR_LOW => u64::from(lapic::read(ICR_LOW)) | u64::from(lapic::read(ICR_HIGH) >> 24) << 32,
        _ => read(vcpu, register).into(),
    })
}

/// Writes an x2APIC register; `false`: #GP.
pub fn write_x2apic(vcpu: &mut Vcpu, msr: u32, value: u64) -> bool {
    if let Some((own, owner)) = vcpu.own_apic() {
        let valid = own.write_msr(owner, msr, value, time::now());
        if valid && apic::x2apic_register(msr, true) == Ok(ICR_LOW) {
            send_to_own(vcpu, &Icr::from_x2apic(value));
        }
        return valid;
    }
    if mode(vcpu) != Mode::X2Apic {
        return false;
    }
    let Ok(register) = apic::x2apic_register(msr, true) else {
        return false;
    };
    if apic::check_x2apic_write(register, value).is_err() {
        return false;
    }
    match register {
        ICR_LOW => send(vcpu, &Icr::from_x2apic(value)),
        SELF_IPI => send(vcpu, &Icr::self_ipi(value as u8)),
        _ => write(vcpu, register, value as u32),
    }
    true
}

/// Sends an IPI of a VMPL with an APIC of its own to the same VMPL of other vCPUs.
fn send_to_own(vcpu: &Vcpu, command: &Icr) {
    let sender = vcpu.apic_id();
    let others = percpu::all().filter(|cpu| cpu.index() != vcpu.index());
    for cpu in others.filter(|_| command.mode == DeliveryMode::Fixed) {
        let target = Target {
            apic_id: cpu.apic_id(),
            mode: Mode::X2Apic,
            ldr: apic::x2apic_ldr(cpu.apic_id()),
            dfr: u32::MAX,
        };
        if command.reaches(sender, &target) {
            requests::interrupt(cpu.index(), vcpu.vmpl(), command.vector);
        }
    }
}

/// Sends an IPI to the vCPUs that it reaches.
fn send(vcpu: &mut Vcpu, command: &Icr) {
    trace!(vcpu, Topic::Irq, "{command:x?}");
    let fixed = matches!(
        command.mode,
        DeliveryMode::Fixed | DeliveryMode::LowestPriority
    );
    if fixed && command.vector < FIRST_VECTOR {
        return;
    }
    // Shorthands keep their meaning in hardware.
    if fixed && command.shorthand != Shorthand::None {
        let bits = match command.shorthand {
            Shorthand::None => 0,
            Shorthand::SelfOnly => 1,
            Shorthand::All => 2,
            Shorthand::AllButSelf => 3,
        };
        lapic::send(0, FIXED | bits << 18 | u32::from(command.vector));
        return;
    }
    let sender = vcpu.apic_id();
    for cpu in percpu::all() {
        let target = requests::shared(cpu.index()).apic_target(cpu.apic_id());
        if !command.reaches(sender, &target) {
            continue;
        }
        match command.mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                lapic::send(
                    cpu.apic_id(),
                    FIXED | (command.mode as u32) << MODE_SHIFT | u32::from(command.vector),
                );
                if command.mode == DeliveryMode::LowestPriority {
                    return;
                }
            }
            DeliveryMode::Nmi => requests::nmi(cpu.index()),
            DeliveryMode::Init if command.assert => requests::init(cpu.index()),
            DeliveryMode::Startup => requests::startup(cpu.index()),
            DeliveryMode::Init
            | DeliveryMode::Smi
            | DeliveryMode::RemoteRead
            | DeliveryMode::External => {}
        }
    }
}
