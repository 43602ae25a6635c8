//! MSRs that the guest asks its hypervisor for.

use crate::arch::cpu;
use crate::vcpu::Vcpu;
use crate::{apic, trace};
use snp_model::event::Event;
use snp_model::ghcb::Reply;
use snp_model::msr_policy::{self, Emulated};
use snp_model::trace::Topic;

fn general_protection() -> Reply {
    Reply::exception(Event::gp0())
}

/// RDMSR.
pub fn read(vcpu: &mut Vcpu, msr: u32) -> Reply {
    let value = match msr_policy::emulated(msr) {
        Emulated::ApicBase => Some(apic::read_base(vcpu)),
        Emulated::X2Apic => apic::read_x2apic(vcpu, msr),
        Emulated::Constant(value) | Emulated::ReadOnly(value) => Some(value),
        Emulated::Tsc => Some(cpu::rdtsc()),
        // KVM reads these back as written; the machine, as if the clock were off.
        Emulated::KvmWallClock | Emulated::KvmSystemTime => Some(0),
        Emulated::TscDeadline | Emulated::GeneralProtection => None,
    };
    trace!(vcpu, Topic::Msr, "read {msr:#x}: {value:x?}");
    value.map_or_else(general_protection, Reply::value64)
}

/// WRMSR.
pub fn write(vcpu: &mut Vcpu, msr: u32, value: u64) -> Reply {
    let done = match msr_policy::emulated(msr) {
        Emulated::ApicBase => apic::write_base(vcpu, value),
        Emulated::X2Apic => apic::write_x2apic(vcpu, msr, value),
        Emulated::Constant(_) => true,
        // The guest's time is the host's: writes of the counter are ignored.
        Emulated::Tsc => true,
        Emulated::KvmWallClock => super::clock::write_wall_clock(value),
        Emulated::KvmSystemTime => super::clock::write_system_time(value),
        Emulated::ReadOnly(_) | Emulated::TscDeadline | Emulated::GeneralProtection => false,
    };
    trace!(vcpu, Topic::Msr, "write {msr:#x} := {value:#x}: {done}");
    if done {
        Reply::OK
    } else {
        general_protection()
    }
}
