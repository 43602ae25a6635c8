//! The GHCB MSR protocol: requests that fit a register (56421 §2.3.1).

use snp_abi::Vmpl;

/// What the MSR holds at VMGEXIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request {
    /// Not a message: the GHCB's address. Zero means that no GHCB is set: resume, nothing happens.
    GhcbPage {
        gpa: u64,
    },
    SevInfo,
    Cpuid {
        leaf: u32,
        register: CpuidRegister,
    },
    ApResetHold,
    PreferredGpa,
    RegisterGpa {
        gpa: u64,
    },
    PageStateChange {
        gpa: u64,
        operation: u8,
    },
    /// `None`: a level that does not exist.
    RunVmpl {
        vmpl: Option<Vmpl>,
        asked: u8,
    },
    HvFeatures,
    Terminate {
        set: u8,
        reason: u8,
    },
    /// KVM leaves the MSR as it is and resumes.
    Unknown {
        value: u64,
    },
}

/// Which register of a CPUID leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum CpuidRegister {
    Eax = 0,
    Ebx = 1,
    Ecx = 2,
    Edx = 3,
}

/// Decodes the MSR's value.
pub fn decode(value: u64) -> Request {
    let _ = value;
    todo!()
}

/// Response to [`Request::Cpuid`].
pub const fn cpuid_response(register: CpuidRegister, value: u32) -> u64 {
    (value as u64) << 32 | (register as u64) << 30 | snp_abi::ghcb_msr::CPUID_RESPONSE
}

/// Response to [`Request::ApResetHold`] when the vCPU is started.
pub const AP_RESET_HOLD_DONE: u64 = 1 << 12 | snp_abi::ghcb_msr::AP_RESET_HOLD_RESPONSE;

/// Response to [`Request::PreferredGpa`]: no preference.
pub const NO_PREFERRED_GPA: u64 =
    !snp_abi::ghcb_msr::CODE_MASK | snp_abi::ghcb_msr::PREFERRED_GPA_RESPONSE;

/// Response to [`Request::RegisterGpa`]: accepted at `gpa`, or refused.
pub const fn register_gpa_response(gpa: Option<u64>) -> u64 {
    let page = match gpa {
        Some(gpa) => gpa & !snp_abi::ghcb_msr::CODE_MASK,
        None => !snp_abi::ghcb_msr::CODE_MASK,
    };
    page | snp_abi::ghcb_msr::REGISTER_GPA_RESPONSE
}

/// Response to [`Request::PageStateChange`]; zero is success.
pub const fn psc_response(error: u32) -> u64 {
    (error as u64) << 32 | snp_abi::ghcb_msr::PSC_RESPONSE
}

/// Response to [`Request::RunVmpl`], put into the requester's MSR when it resumes; zero is success.
pub const fn run_vmpl_response(error: u32) -> u64 {
    (error as u64) << 32 | snp_abi::ghcb_msr::RUN_VMPL_RESPONSE
}

/// Response to [`Request::HvFeatures`].
pub const fn hv_features_response(features: u64) -> u64 {
    features << 12 | snp_abi::ghcb_msr::HV_FEATURES_RESPONSE
}

/// What a termination reason means, as far as its users say (set 0: 56421; set 1: Linux and OVMF's reset vector,
/// which collide; others unknown).
pub fn termination_meaning(set: u8, reason: u8) -> &'static str {
    let _ = (set, reason);
    todo!()
}
