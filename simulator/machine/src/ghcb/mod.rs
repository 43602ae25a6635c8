//! VMGEXIT: what the guest asks of its hypervisor, by the GHCB MSR or by the GHCB page (56421).

mod clock;
mod io;
mod mmio;
mod msrs;
mod page;
mod state_change;
mod vcpus;

pub use page::Shared;

use crate::arch::cpu;
use crate::diagnosis;
use crate::exit_status::ExitStatus;
use crate::vcpu::{LevelState, Vcpu, sev_info};
use crate::{platform, trace};
use snp_abi::PageSize;
use snp_abi::ghcb_msr::hv_features;
use snp_model::cpuid::{self, Asker};
use snp_model::ghcb_msr::{self, CpuidRegister, Request};
use snp_model::trace::Topic;

/// The hypervisor features on offer.
pub const HV_FEATURES: u64 = hv_features::SNP
    | hv_features::AP_CREATION
    | hv_features::RESTRICTED_INJECTION
    | hv_features::APIC_ID_LIST
    | hv_features::MULTI_VMPL;

/// VMGEXIT was executed; RIP is past it.
pub fn vmgexit(vcpu: &mut Vcpu) {
    let value = vcpu.level().ghcb_msr;
    let request = ghcb_msr::decode(value);
    if let Request::GhcbPage { gpa } = request {
        if gpa != 0 {
            page::handle(vcpu, gpa);
        }
        return;
    }
    trace!(vcpu, Topic::Ghcb, "MSR {value:#x}: {request:x?}");
    let response = match request {
        Request::GhcbPage { .. } => return,
        Request::SevInfo => sev_info(),
        Request::Cpuid { leaf, register } => {
            let answer = cpuid(vcpu, leaf, 0, None, None);
            let value = match register {
                CpuidRegister::Eax => answer.eax,
                CpuidRegister::Ebx => answer.ebx,
                CpuidRegister::Ecx => answer.ecx,
                CpuidRegister::Edx => answer.edx,
            };
            ghcb_msr::cpuid_response(register, value)
        }
        Request::ApResetHold => {
            vcpu.level().set_state(LevelState::Held);
            ghcb_msr::AP_RESET_HOLD_DONE
        }
        Request::PreferredGpa => ghcb_msr::NO_PREFERRED_GPA,
        Request::RegisterGpa { gpa } => {
            let accepted = page::may_be_ghcb(gpa);
            vcpu.level().registered = accepted.then_some(gpa);
            ghcb_msr::register_gpa_response(accepted.then_some(gpa))
        }
        Request::PageStateChange { gpa, operation } => {
            let private = u64::from(operation) == snp_abi::ghcb_msr::PSC_PRIVATE;
            let known = private || u64::from(operation) == snp_abi::ghcb_msr::PSC_SHARED;
            let done = known && state_change::one(vcpu, gpa, PageSize::Size4K, private);
            ghcb_msr::psc_response(u32::from(!done))
        }
        Request::RunVmpl { vmpl, asked } => {
            // The answer waits in this VMPL's MSR until it runs again.
            let own = vcpu.vmpl();
            let started = vmpl.is_some_and(|vmpl| vcpu.run_vmpl(vmpl));
            if !started {
                trace!(vcpu, Topic::Ap, "VMPL{asked} has no VMSA that could run");
            }
            vcpu.level_of(own).ghcb_msr = ghcb_msr::run_vmpl_response(u32::from(!started));
            return;
        }
        Request::HvFeatures => ghcb_msr::hv_features_response(HV_FEATURES),
        Request::Terminate { set, reason } => terminated(vcpu, set, reason, None),
        // KVM leaves the MSR as it is.
        Request::Unknown { .. } => return,
    };
    trace!(vcpu, Topic::Ghcb, "MSR response {response:#x}");
    vcpu.level().ghcb_msr = response;
}

/// The guest asked for its end.
fn terminated(vcpu: &mut Vcpu, set: u8, reason: u8, info: Option<u64>) -> ! {
    let meaning = ghcb_msr::termination_meaning(set, reason);
    let info = info.unwrap_or(0);
    diagnosis::stop(
        vcpu,
        ExitStatus::GuestTerminated,
        format_args!(
            "the guest asked for termination, reason {set}:{reason} ({meaning}), information {info:#x}"
        ),
    )
}

/// CPUID as the hypervisor answers it.
fn cpuid(vcpu: &Vcpu, leaf: u32, subleaf: u32, xcr0: Option<u64>, xss: Option<u64>) -> cpuid::Leaf {
    let platform = platform::get();
    let asker = Asker {
        apic_id: vcpu.apic_id(),
        cr4: vcpu.state().cr4.get(),
        xcr0: xcr0.unwrap_or(1),
        xss: xss.unwrap_or(0),
        apic_enabled: vcpu.apic_base & snp_model::apic::BASE_ENABLE != 0,
    };
    let answer = cpuid::answer(&platform.cpuid, &asker, leaf, subleaf);
    trace!(vcpu, Topic::Cpuid, "{leaf:#x}.{subleaf:#x}: {answer:x?}");
    answer
}

/// The time stamp counter.
fn tsc() -> u64 {
    cpu::rdtsc()
}
