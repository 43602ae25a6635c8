//! The GHCB MSR protocol (56421 §2.3.1, and KVM's answers).

use crate::ram;
use guest_rt::ghcb::Ghcb;
use guest_rt::need;
use guest_rt::report::{check, check_that};
use guest_rt::{msr_protocol, paging, vc_from_page};
use snp_abi::ghcb_msr as proto;

/// Features that this machine must offer (56421 §4.1.14).
pub const FEATURES: u64 = proto::hv_features::SNP
    | proto::hv_features::AP_CREATION
    | proto::hv_features::RESTRICTED_INJECTION
    | proto::hv_features::APIC_ID_LIST
    | proto::hv_features::MULTI_VMPL;

/// Runs the group.
pub fn run() {
    sev_info();
    cpuid();
    features();
    registration();
    page_state();
    run_vmpl();
    unknown();
}

fn sev_info() {
    let info = need!("msr-sev-info", msr_protocol::sev_info());
    let (min, max) = (info >> 32 & 0xFFFF, info >> 48);
    check_that(
        "msr-sev-info-versions",
        min <= 2 && 2 <= max,
        "version 2 in range",
        (min, max),
    );
    check(
        "msr-sev-info-c-bit",
        paging::c_bit(),
        1 << (info >> 24 & 0x3F),
    );
}

fn cpuid() {
    for (name, leaf) in [
        ("msr-cpuid-80000000", 0x8000_0000),
        ("msr-cpuid-8000001f", 0x8000_001F),
        ("msr-cpuid-80000001", 0x8000_0001),
    ] {
        let page = vc_from_page(leaf, 0);
        let expected = [page.eax, page.ebx, page.ecx, page.edx];
        let mut got = [0; 4];
        for (register, value) in got.iter_mut().enumerate() {
            *value = need!(name, msr_protocol::cpuid(leaf, register as u64));
        }
        check(name, expected, got);
    }
    let request = 0x8000_001F << 32 | 1 << 30 | proto::CPUID_REQUEST;
    let response = msr_protocol::call(request);
    check("msr-cpuid-reserved-zero", 0, response & 0x3FFF_F000);
    let apic_id = need!("msr-cpuid-apic-id", msr_protocol::cpuid(1, 1)) >> 24;
    check("msr-cpuid-apic-id", 0, apic_id);
}

fn features() {
    check(
        "msr-hv-features",
        Ok(FEATURES),
        msr_protocol::hv_features().map_err(|e| e.response),
    );
}

fn registration() {
    let current = Ghcb::current();
    let preferred = msr_protocol::call(proto::PREFERRED_GPA_REQUEST);
    check(
        "msr-preferred-ghcb-none",
        !0xFFF | proto::PREFERRED_GPA_RESPONSE,
        preferred,
    );
    let other = need!("msr-register", Ghcb::new().map_err(|_| 0));
    // Nothing can be printed while the other one is registered: a vCPU may register anew, the last registration counts.
    let registered = msr_protocol::call(other.gpa() | proto::REGISTER_GPA_REQUEST);
    let again = msr_protocol::call(current.gpa() | proto::REGISTER_GPA_REQUEST);
    let expected = other.gpa() | proto::REGISTER_GPA_RESPONSE;
    check("msr-register-ghcb", expected, registered);
    let expected = current.gpa() | proto::REGISTER_GPA_RESPONSE;
    check("msr-register-ghcb-again", expected, again);
}

fn page_state() {
    let page = ram::shared();
    let response = msr_protocol::call(proto::psc_request(page, proto::PSC_PRIVATE));
    check("msr-psc-private", proto::PSC_RESPONSE, response);
    let response = msr_protocol::call(proto::psc_request(page, proto::PSC_SHARED));
    check("msr-psc-shared", proto::PSC_RESPONSE, response);
    for (name, operation) in [("msr-psc-operation-0", 0), ("msr-psc-operation-5", 5)] {
        let response = msr_protocol::call(proto::psc_request(page, operation));
        let refused = response & 0xFFF == proto::PSC_RESPONSE && response >> 32 != 0;
        check_that(name, refused, "0x015 with an error in 63:32", response);
    }
}

fn run_vmpl() {
    for (name, vmpl) in [("msr-run-vmpl-4", 4u64), ("msr-run-vmpl-255", 255)] {
        let response = msr_protocol::call(vmpl << 32 | proto::RUN_VMPL_REQUEST);
        let refused = response & 0xFFF == proto::RUN_VMPL_RESPONSE && response >> 32 != 0;
        check_that(name, refused, "0x017 with an error in 63:32", response);
    }
}

/// KVM leaves the MSR alone and resumes the guest.
fn unknown() {
    for (name, request) in [
        ("msr-unknown-7fe", 0x1234_5000_0000_07FE),
        ("msr-unknown-0ff", 0xFF),
    ] {
        check(name, request, msr_protocol::call(request));
    }
}
