//! The GHCB MSR protocol (56421 §2.3.1): requests that fit a register and need no GHCB page.

use crate::{cpu, snp};
use snp_abi::{ghcb_msr as proto, msr};

/// Writes `request` into the GHCB MSR, exits, and returns the MSR's new value. The MSR's previous value is put back.
pub fn call(request: u64) -> u64 {
    let previous = cpu::rdmsr(msr::GHCB);
    // SAFETY: the GHCB MSR only carries messages to the hypervisor.
    unsafe { cpu::wrmsr(msr::GHCB, request) };
    snp::vmgexit();
    let response = cpu::rdmsr(msr::GHCB);
    // SAFETY: as above.
    unsafe { cpu::wrmsr(msr::GHCB, previous) };
    response
}

/// A response that does not follow the protocol, with the request that got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadResponse {
    /// What was asked.
    pub request: u64,
    /// What came back.
    pub response: u64,
}

fn expect(request: u64, code: u64) -> Result<u64, BadResponse> {
    let response = call(request);
    if response & proto::CODE_MASK == code {
        Ok(response)
    } else {
        Err(BadResponse { request, response })
    }
}

/// Protocol versions and C-bit: the raw SEV_INFO response.
pub fn sev_info() -> Result<u64, BadResponse> {
    expect(proto::SEV_INFO_REQUEST, proto::SEV_INFO_RESPONSE)
}

/// One register (0 EAX .. 3 EDX) of a CPUID leaf.
pub fn cpuid(leaf: u32, register: u64) -> Result<u32, BadResponse> {
    let request = (leaf as u64) << 32 | register << 30 | proto::CPUID_REQUEST;
    Ok((expect(request, proto::CPUID_RESPONSE)? >> 32) as u32)
}

/// The hypervisor's features.
pub fn hv_features() -> Result<u64, BadResponse> {
    Ok(expect(proto::HV_FEATURES_REQUEST, proto::HV_FEATURES_RESPONSE)? >> 12)
}

/// Registers the page as this vCPU's GHCB (for this VMPL).
pub fn register_ghcb(gpa: u64) -> Result<(), BadResponse> {
    let request = gpa | proto::REGISTER_GPA_REQUEST;
    let response = expect(request, proto::REGISTER_GPA_RESPONSE)?;
    if response & !proto::CODE_MASK == gpa {
        Ok(())
    } else {
        Err(BadResponse { request, response })
    }
}

/// Changes one page's state; `operation` is [`proto::PSC_PRIVATE`] or [`proto::PSC_SHARED`].
pub fn page_state_change(gpa: u64, operation: u64) -> Result<(), BadResponse> {
    let request = proto::psc_request(gpa, operation);
    let response = expect(request, proto::PSC_RESPONSE)?;
    if response >> 32 == 0 {
        Ok(())
    } else {
        Err(BadResponse { request, response })
    }
}

/// Runs VMPL `vmpl` of this vCPU; returns when this VMPL runs again.
pub fn run_vmpl(vmpl: u64) -> Result<(), BadResponse> {
    let request = vmpl << 32 | proto::RUN_VMPL_REQUEST;
    let response = expect(request, proto::RUN_VMPL_RESPONSE)?;
    if response >> 32 == 0 {
        Ok(())
    } else {
        Err(BadResponse { request, response })
    }
}

/// Asks the hypervisor to end the guest.
pub fn terminate(set: u8, reason: u8) -> ! {
    loop {
        call(proto::terminate(set, reason));
        cpu::cli();
        cpu::hlt();
    }
}
