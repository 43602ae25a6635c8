//! The GHCB MSR protocol: requests and responses that fit a register (56421 §2.3.1). Bits 11:0 are the code.

/// The code's bits; zero in them means that the MSR holds a GHCB's address.
pub const CODE_MASK: u64 = 0xFFF;

/// Response: protocol versions and C-bit; also the MSR's value at reset.
pub const SEV_INFO_RESPONSE: u64 = 0x001;
/// Request: protocol versions and C-bit.
pub const SEV_INFO_REQUEST: u64 = 0x002;
/// Request: one register of a CPUID leaf (function 63:32, register 31:30).
pub const CPUID_REQUEST: u64 = 0x004;
/// Response: its value in 63:32.
pub const CPUID_RESPONSE: u64 = 0x005;
/// Request: hold this vCPU until it gets INIT and SIPI.
pub const AP_RESET_HOLD_REQUEST: u64 = 0x006;
/// Response: 63:12 not zero once started.
pub const AP_RESET_HOLD_RESPONSE: u64 = 0x007;
/// Request: where the hypervisor would like the GHCB.
pub const PREFERRED_GPA_REQUEST: u64 = 0x010;
/// Response: page number in 63:12, all ones for none.
pub const PREFERRED_GPA_RESPONSE: u64 = 0x011;
/// Request: register the GHCB at page number 63:12.
pub const REGISTER_GPA_REQUEST: u64 = 0x012;
/// Response: the same page number, or all ones when refused.
pub const REGISTER_GPA_RESPONSE: u64 = 0x013;
/// Request: change one page's state (operation 55:52, page number 51:12).
pub const PSC_REQUEST: u64 = 0x014;
/// Response: error in 63:32.
pub const PSC_RESPONSE: u64 = 0x015;
/// Request: run VMPL 39:32 of this vCPU.
pub const RUN_VMPL_REQUEST: u64 = 0x016;
/// Response: error in 63:32.
pub const RUN_VMPL_RESPONSE: u64 = 0x017;
/// Request: hypervisor features.
pub const HV_FEATURES_REQUEST: u64 = 0x080;
/// Response: features in 63:12.
pub const HV_FEATURES_RESPONSE: u64 = 0x081;
/// Request: terminate (reason set 15:12, reason 23:16).
pub const TERMINATE: u64 = 0x100;

/// Page state change operation: assign to the guest as private.
pub const PSC_PRIVATE: u64 = 1;
/// Page state change operation: give to the hypervisor as shared.
pub const PSC_SHARED: u64 = 2;

/// The SEV_INFO response for these protocol versions and this C-bit position.
pub const fn sev_info(min: u16, max: u16, c_bit: u8) -> u64 {
    (max as u64) << 48 | (min as u64) << 32 | (c_bit as u64) << 24 | SEV_INFO_RESPONSE
}

/// The request to change the state of the 4 KiB page at `gpa`.
pub const fn psc_request(gpa: u64, operation: u64) -> u64 {
    operation << 52 | (gpa & 0x000F_FFFF_FFFF_F000) | PSC_REQUEST
}

/// The termination request with this reason.
pub const fn terminate(set: u8, reason: u8) -> u64 {
    (reason as u64) << 16 | ((set & 0xF) as u64) << 12 | TERMINATE
}

/// Hypervisor features (56421 §4.1.14), as in bits 63:12 of the response.
pub mod hv_features {
    /// SNP.
    pub const SNP: u64 = 1 << 0;
    /// AP creation.
    pub const AP_CREATION: u64 = 1 << 1;
    /// Restricted injection.
    pub const RESTRICTED_INJECTION: u64 = 1 << 2;
    /// Restricted injection's timer.
    pub const RESTRICTED_INJECTION_TIMER: u64 = 1 << 3;
    /// List of APIC IDs.
    pub const APIC_ID_LIST: u64 = 1 << 4;
    /// More than one VMPL.
    pub const MULTI_VMPL: u64 = 1 << 5;
}

/// Reason set 0: what 56421 itself defines; Linux and OVMF use it too.
pub mod reason_general {
    /// The reason code set.
    pub const SET: u8 = 0;
    /// No specific reason.
    pub const GENERAL: u8 = 0;
    /// GHCB protocol versions have no overlap.
    pub const PROTOCOL_RANGE: u8 = 1;
    /// SNP features the guest needs are missing, or there are some it does not know.
    pub const SNP_UNSUPPORTED: u8 = 2;
}
