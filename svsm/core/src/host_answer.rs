//! The host's answers to GHCB requests, checked before they are used (56421 §2.3, §4.1).

use snp_abi::ghcb_msr::{
    self, CODE_MASK, HV_FEATURES_RESPONSE, PSC_RESPONSE, REGISTER_GPA_RESPONSE, RUN_VMPL_RESPONSE,
    SEV_INFO_RESPONSE, hv_features,
};

/// What this SVSM needs of the hypervisor.
pub const REQUIRED_FEATURES: u64 =
    hv_features::SNP | hv_features::AP_CREATION | hv_features::MULTI_VMPL;

/// The protocol version that this SVSM speaks.
pub const VERSION: u64 = snp_abi::ghcb::PROTOCOL_VERSION as u64;

/// An answer that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum HostError {
    #[error(
        "host: answer {answer:#x} to MSR request {request:#x}; code {expected:#x} was expected"
    )]
    Code {
        request: u64,
        answer: u64,
        expected: u64,
    },
    #[error("host: GHCB versions {min} to {max}; {VERSION} is needed")]
    Version { min: u64, max: u64 },
    #[error("host: C-bit at {host}, CPUID says {own}")]
    CBit { host: u64, own: u64 },
    #[error(
        "host: features {features:#x} lack {missing:#x} (SNP 0x1, AP creation 0x2, multiple VMPLs 0x20)"
    )]
    Features { features: u64, missing: u64 },
    #[error("host: GHCB at {gpa:#x} refused, answer {answer:#x}")]
    Registration { gpa: u64, answer: u64 },
    #[error("host: page state change of {gpa:#x} failed with {error:#x}")]
    PageState { gpa: u64, error: u64 },
    #[error("host: VMPL {vmpl} not run, error {error:#x}")]
    RunVmpl { vmpl: u64, error: u64 },
    #[error("host: event {event:#x} failed with {info1:#x}, {info2:#x}")]
    Event { event: u64, info1: u64, info2: u64 },
    #[error("host: page state list is at entry {current} of {end} and gets no further")]
    PageStateStuck { current: u16, end: u16 },
}

fn code(request: u64, answer: u64, expected: u64) -> Result<(), HostError> {
    if answer & CODE_MASK == expected {
        Ok(())
    } else {
        Err(HostError::Code {
            request,
            answer,
            expected,
        })
    }
}

/// Answer to [`ghcb_msr::SEV_INFO_REQUEST`]; `c_bit` is the position that CPUID gives.
pub fn sev_info(answer: u64, c_bit: u64) -> Result<(), HostError> {
    code(ghcb_msr::SEV_INFO_REQUEST, answer, SEV_INFO_RESPONSE)?;
    let (max, min) = (answer >> 48, answer >> 32 & 0xFFFF);
    if !(min..=max).contains(&VERSION) {
        return Err(HostError::Version { min, max });
    }
    let host = answer >> 24 & 0xFF;
    if host != c_bit {
        return Err(HostError::CBit { host, own: c_bit });
    }
    Ok(())
}

/// Answer to [`ghcb_msr::HV_FEATURES_REQUEST`]: the features.
pub fn features(answer: u64) -> Result<u64, HostError> {
    code(ghcb_msr::HV_FEATURES_REQUEST, answer, HV_FEATURES_RESPONSE)?;
    let features = answer >> 12;
    match REQUIRED_FEATURES & !features {
        0 => Ok(features),
        missing => Err(HostError::Features { features, missing }),
    }
}

/// Answer to [`ghcb_msr::REGISTER_GPA_REQUEST`].
pub fn registration(answer: u64, gpa: u64) -> Result<(), HostError> {
    code(
        ghcb_msr::REGISTER_GPA_REQUEST,
        answer,
        REGISTER_GPA_RESPONSE,
    )?;
    if answer >> 12 == gpa >> 12 {
        Ok(())
    } else {
        Err(HostError::Registration { gpa, answer })
    }
}

/// Answer to [`ghcb_msr::PSC_REQUEST`].
pub fn page_state(answer: u64, gpa: u64) -> Result<(), HostError> {
    code(ghcb_msr::PSC_REQUEST, answer, PSC_RESPONSE)?;
    match answer >> 32 {
        0 => Ok(()),
        error => Err(HostError::PageState { gpa, error }),
    }
}

/// Answer to [`ghcb_msr::RUN_VMPL_REQUEST`].
pub fn run_vmpl(answer: u64, vmpl: u64) -> Result<(), HostError> {
    code(ghcb_msr::RUN_VMPL_REQUEST, answer, RUN_VMPL_RESPONSE)?;
    match answer >> 32 {
        0 => Ok(()),
        error => Err(HostError::RunVmpl { vmpl, error }),
    }
}

/// SW_EXITINFO1 and 2 after an event that has no results there.
pub fn event(event: u64, info1: u64, info2: u64) -> Result<(), HostError> {
    if info1 as u32 == 0 {
        Ok(())
    } else {
        Err(HostError::Event {
            event,
            info1,
            info2,
        })
    }
}

/// Progress of a page state change request: `Ok(true)` when all entries are done. The host may stop in between, but
/// only forward.
pub fn page_state_progress(before: u16, current: u16, end: u16) -> Result<bool, HostError> {
    if current > end {
        Ok(true)
    } else if current > before {
        Ok(false)
    } else {
        Err(HostError::PageStateStuck { current, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_must_include_ours_and_the_c_bit_agree() {
        assert_eq!(sev_info(ghcb_msr::sev_info(1, 2, 47), 47), Ok(()));
        assert_eq!(sev_info(ghcb_msr::sev_info(2, 9, 51), 51), Ok(()));
        assert_eq!(
            sev_info(ghcb_msr::sev_info(1, 1, 47), 47),
            Err(HostError::Version { min: 1, max: 1 })
        );
        assert_eq!(
            sev_info(ghcb_msr::sev_info(3, 4, 47), 47),
            Err(HostError::Version { min: 3, max: 4 })
        );
        assert_eq!(
            sev_info(ghcb_msr::sev_info(1, 2, 51), 47),
            Err(HostError::CBit { host: 51, own: 47 })
        );
        assert!(matches!(sev_info(2, 47), Err(HostError::Code { .. })));
    }

    #[test]
    fn features_are_those_of_bits_63_to_12() {
        assert_eq!(features(0x37 << 12 | 0x81), Ok(0x37));
        assert_eq!(features(0x23 << 12 | 0x81), Ok(0x23));
        assert_eq!(
            features(0x03 << 12 | 0x81),
            Err(HostError::Features {
                features: 3,
                missing: 0x20
            })
        );
        assert!(matches!(
            features(0x37 << 12 | 0x80),
            Err(HostError::Code { .. })
        ));
    }

    #[test]
    fn a_registration_must_name_the_same_page() {
        assert_eq!(registration(0x1234_5013, 0x1234_5000), Ok(()));
        assert!(registration(0xFFFF_FFFF_FFFF_F013, 0x1234_5000).is_err());
        assert!(registration(0x1234_5012, 0x1234_5000).is_err());
    }

    #[test]
    fn errors_are_in_the_upper_half() {
        assert_eq!(page_state(0x15, 0x1000), Ok(()));
        assert_eq!(
            page_state(7 << 32 | 0x15, 0x1000),
            Err(HostError::PageState {
                gpa: 0x1000,
                error: 7
            })
        );
        assert!(page_state(0x14, 0x1000).is_err());
        assert_eq!(run_vmpl(0x17, 2), Ok(()));
        assert_eq!(
            run_vmpl(1 << 32 | 0x17, 2),
            Err(HostError::RunVmpl { vmpl: 2, error: 1 })
        );
        assert!(run_vmpl(2 << 32 | 0x16, 2).is_err());
        assert_eq!(event(0x8000_0013, 0, 99), Ok(()));
        assert!(event(0x8000_0013, 2, 5).is_err());
    }

    #[test]
    fn page_state_lists_only_go_forward() {
        assert_eq!(page_state_progress(0, 10, 9), Ok(true));
        assert_eq!(page_state_progress(0, 5, 9), Ok(false));
        assert!(page_state_progress(5, 5, 9).is_err());
        assert!(page_state_progress(5, 4, 9).is_err());
        assert!(page_state_progress(0, 0, 0).is_err());
    }
}
