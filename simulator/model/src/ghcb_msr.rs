//! The GHCB MSR protocol: requests that fit a register (56421 §2.3.1).

use snp_abi::{Vmpl, ghcb_msr};

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
pub const fn decode(value: u64) -> Request {
    let gpa = value & GFN_MASK;
    match value & ghcb_msr::CODE_MASK {
        0 => Request::GhcbPage { gpa: value },
        ghcb_msr::SEV_INFO_REQUEST => Request::SevInfo,
        ghcb_msr::CPUID_REQUEST => Request::Cpuid {
            leaf: (value >> 32) as u32,
            register: match value >> 30 & 3 {
                0 => CpuidRegister::Eax,
                1 => CpuidRegister::Ebx,
                2 => CpuidRegister::Ecx,
                _ => CpuidRegister::Edx,
            },
        },
        ghcb_msr::AP_RESET_HOLD_REQUEST => Request::ApResetHold,
        ghcb_msr::PREFERRED_GPA_REQUEST => Request::PreferredGpa,
        ghcb_msr::REGISTER_GPA_REQUEST => Request::RegisterGpa {
            gpa: value & !ghcb_msr::CODE_MASK,
        },
        ghcb_msr::PSC_REQUEST => Request::PageStateChange {
            gpa,
            operation: (value >> 52 & 0xF) as u8,
        },
        ghcb_msr::RUN_VMPL_REQUEST => {
            let asked = (value >> 32) as u8;
            Request::RunVmpl {
                vmpl: Vmpl::new(asked),
                asked,
            }
        }
        ghcb_msr::HV_FEATURES_REQUEST => Request::HvFeatures,
        ghcb_msr::TERMINATE => Request::Terminate {
            set: (value >> 12 & 0xF) as u8,
            reason: (value >> 16) as u8,
        },
        _ => Request::Unknown { value },
    }
}

/// Bits 51:12: a page number in place.
const GFN_MASK: u64 = 0x000F_FFFF_FFFF_F000;

/// Response to [`Request::Cpuid`].
pub const fn cpuid_response(register: CpuidRegister, value: u32) -> u64 {
    (value as u64) << 32 | (register as u64) << 30 | ghcb_msr::CPUID_RESPONSE
}

/// Response to [`Request::ApResetHold`] when the vCPU is started.
pub const AP_RESET_HOLD_DONE: u64 = 1 << 12 | ghcb_msr::AP_RESET_HOLD_RESPONSE;

/// Response to [`Request::PreferredGpa`]: no preference.
pub const NO_PREFERRED_GPA: u64 = !ghcb_msr::CODE_MASK | ghcb_msr::PREFERRED_GPA_RESPONSE;

/// Response to [`Request::RegisterGpa`]: accepted at `gpa`, or refused.
pub const fn register_gpa_response(gpa: Option<u64>) -> u64 {
    let page = match gpa {
        Some(gpa) => gpa & !ghcb_msr::CODE_MASK,
        None => !ghcb_msr::CODE_MASK,
    };
    page | ghcb_msr::REGISTER_GPA_RESPONSE
}

/// Response to [`Request::PageStateChange`]; zero is success.
pub const fn psc_response(error: u32) -> u64 {
    (error as u64) << 32 | ghcb_msr::PSC_RESPONSE
}

/// Response to [`Request::RunVmpl`], put into the requester's MSR when it resumes; zero is success.
pub const fn run_vmpl_response(error: u32) -> u64 {
    (error as u64) << 32 | ghcb_msr::RUN_VMPL_RESPONSE
}

/// Response to [`Request::HvFeatures`].
pub const fn hv_features_response(features: u64) -> u64 {
    features << 12 | ghcb_msr::HV_FEATURES_RESPONSE
}

/// What a termination reason means, as far as its users say.
///
/// Set 0 is 56421's, set 1 is Linux's (`sev-common.h`, GHCB_TERM_*). OVMF's reset vector uses 1:1 and 1:2 with meanings
/// of its own, so both are named. Other sets are the guest's affair.
pub const fn termination_meaning(set: u8, reason: u8) -> &'static str {
    match (set, reason) {
        (0, 0) => {
            "no specific reason: an unhandled #VC, a failed hypervisor call, or a failed protocol negotiation"
        }
        (0, 1) => "no GHCB protocol version in common",
        (0, 2) => {
            "SNP not usable: confidential-computing blob, SEV_STATUS and hypervisor features do not fit together, or an SEV feature that the guest does not know is active"
        }
        (1, 0) => "Linux: registering the GHCB was refused",
        (1, 1) => "Linux: page state change failed (OVMF reset vector: #VC that is not CPUID)",
        (1, 2) => "Linux: PVALIDATE failed (OVMF reset vector: unexpected MSR protocol response)",
        (1, 3) => "Linux: not at VMPL0 and the hypervisor does not offer MULTI_VMPL",
        (1, 4) => "Linux: CPUID page missing, too short, or with a count that is not 1 to 64",
        (1, 5) => "Linux: the hypervisor did not answer a CPUID request",
        (1, 6) => "Linux: no secrets page in the confidential-computing blob",
        (1, 7) => "Linux: not at VMPL0, but the secrets page names no SVSM (svsm_size is 0)",
        (1, 8) => "Linux: the secrets page says VMPL0, RMPADJUST says otherwise",
        (1, 9) => "Linux: the secrets page's calling area is not page aligned",
        (1, 10) => "Linux: no SecureTSC information",
        (1, 11) => "Linux: the SVSM refused to remap the calling area",
        (1, 12) => "Linux: Secure AVIC could not be set up",
        (0, _) => "unknown reason of the GHCB specification's set",
        (1, _) => "unknown reason of Linux's set",
        _ => "reason of a set unknown to this machine",
    }
}

#[cfg(test)]
mod tests;
