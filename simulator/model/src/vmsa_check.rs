//! VMRUN's checks of a VMSA (APM vol. 2 §15.5.1, §15.36.12): what fails here is VMEXIT_INVALID.

use crate::msr_policy;
use snp_abi::vmsa::Vmsa;
use snp_abi::{SevFeatures, Vmpl, msr};

/// A VMSA that VMRUN refuses: which field, its value, and the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value:#x}: {rule}")]
#[allow(missing_docs)]
pub struct Invalid {
    pub field: &'static str,
    pub value: u64,
    pub rule: &'static str,
}

impl Invalid {
    const fn new(field: &'static str, value: u64, rule: &'static str) -> Invalid {
        Invalid { field, value, rule }
    }
}

const CR0_PE: u64 = 1 << 0;
const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
const CR0_PG: u64 = 1 << 31;
/// CR4 bits that this machine offers: VME to MCE, PGE, PCE, OSFXSR, OSXMMEXCPT, UMIP, FSGSBASE, PCIDE, OSXSAVE, SMEP,
/// SMAP. Not: LA57 (12), PKE (22), CET (23).
const CR4_ALLOWED: u64 = 0x7F
    | 1 << 7
    | 1 << 8
    | 1 << 9
    | 1 << 10
    | 1 << 11
    | 1 << 16
    | 1 << 17
    | 1 << 18
    | 1 << 20
    | 1 << 21;
const CR4_PAE: u64 = 1 << 5;
/// Segment attributes L and D.
const ATTRIBUTES_L_AND_D: u16 = 0x600;
/// SEV_FEATURES that this machine implements.
const FEATURES: SevFeatures = SevFeatures::SNP_ACTIVE.union(SevFeatures::RESTRICTED_INJECTION);

/// Checks everything VMRUN checks. `vmpl` is the level that is to run, `features` what that level must have (fixed by its
/// first VMSA); `None` for the first.
///
/// Not checked, because hardware does not: TR and LDTR attributes (OVMF leaves TR's at 0), segment limits, CPL.
pub fn check(vmsa: &Vmsa, vmpl: Vmpl, features: Option<SevFeatures>) -> Result<(), Invalid> {
    if vmsa.vmpl != vmpl as u8 {
        let rule = "not the VMPL that is to run";
        return Err(Invalid::new("VMPL", u64::from(vmsa.vmpl), rule));
    }
    check_features(vmsa.sev_features.get(), features)?;
    let efer = check_efer(vmsa)?;
    check_cr0(vmsa.cr0.get())?;
    check_cr4(vmsa.cr4.get())?;
    check_modes(vmsa, efer)?;
    for (field, value) in [("DR6", vmsa.dr6.get()), ("DR7", vmsa.dr7.get())] {
        if value >> 32 != 0 {
            return Err(Invalid::new(field, value, "bits 63:32 must be zero"));
        }
    }
    let pat = vmsa.g_pat.get();
    if !msr_policy::pat_is_valid(pat) {
        return Err(Invalid::new("G_PAT", pat, "a byte is not a memory type"));
    }
    check_xcr0(vmsa.xcr0.get())
}

fn check_features(value: u64, expected: Option<SevFeatures>) -> Result<(), Invalid> {
    let invalid = |rule| Err(Invalid::new("SEV_FEATURES", value, rule));
    let features = SevFeatures::from_bits_retain(value);
    if !features.contains(SevFeatures::SNP_ACTIVE) {
        return invalid("SNP_ACTIVE (bit 0) must be set");
    }
    if features.contains(SevFeatures::RESTRICTED_INJECTION | SevFeatures::ALTERNATE_INJECTION) {
        return invalid("restricted and alternate injection exclude each other");
    }
    if !FEATURES.contains(features) {
        return invalid("this machine offers SNP_ACTIVE (0) and RESTRICTED_INJECTION (3) only");
    }
    if expected.is_some_and(|expected| expected != features) {
        return invalid("differs from the features with which this VMPL was first started");
    }
    Ok(())
}

fn check_efer(vmsa: &Vmsa) -> Result<u64, Invalid> {
    let efer = vmsa.efer.get();
    if efer & msr::EFER_SVME == 0 {
        let rule = "SVME (bit 12) must be set, or VMRUN does not enter the VMSA";
        return Err(Invalid::new("EFER", efer, rule));
    }
    if efer & !msr_policy::EFER_ALLOWED != 0 {
        return Err(Invalid::new("EFER", efer, "a reserved bit is set"));
    }
    Ok(efer)
}

fn check_modes(vmsa: &Vmsa, efer: u64) -> Result<(), Invalid> {
    let (cr0, cr4) = (vmsa.cr0.get(), vmsa.cr4.get());
    let long = efer & msr::EFER_LME != 0 && cr0 & CR0_PG != 0;
    if long && cr4 & CR4_PAE == 0 {
        let rule = "long mode with paging needs PAE (bit 5)";
        return Err(Invalid::new("CR4", cr4, rule));
    }
    if long && cr0 & CR0_PE == 0 {
        let rule = "long mode with paging needs PE (bit 0)";
        return Err(Invalid::new("CR0", cr0, rule));
    }
    let attributes = vmsa.cs.attributes.get();
    if long && cr4 & CR4_PAE != 0 && attributes & ATTRIBUTES_L_AND_D == ATTRIBUTES_L_AND_D {
        let rule = "L and D (bits 9 and 10) exclude each other in long mode";
        return Err(Invalid::new("CS.attributes", u64::from(attributes), rule));
    }
    // Not in APM's list, but VMRUN loads EFER as it is, and QEMU would run with a mode that does not exist.
    if (efer & msr::EFER_LMA != 0) != long {
        let rule = "LMA (bit 10) must be LME (bit 8) and CR0.PG";
        return Err(Invalid::new("EFER", efer, rule));
    }
    Ok(())
}

fn check_xcr0(value: u64) -> Result<(), Invalid> {
    let rule = match value {
        1 | 3 | 7 => return Ok(()),
        _ if value & 1 == 0 => "x87 (bit 0) must be set",
        _ if value & !7 != 0 => "this machine offers x87, SSE and AVX (bits 2:0) only",
        _ => "AVX (bit 2) needs SSE (bit 1)",
    };
    Err(Invalid::new("XCR0", value, rule))
}

/// Whether a guest may load this XCR0 by XSETBV (else #GP(0)).
pub fn check_xsetbv(value: u64) -> Result<(), Invalid> {
    check_xcr0(value)
}

/// Whether a guest may load this CR0 (else #GP(0)): reserved bits, NW without CD, PG without PE.
pub const fn check_cr0(value: u64) -> Result<(), Invalid> {
    if value >> 32 != 0 {
        return Err(Invalid::new("CR0", value, "bits 63:32 must be zero"));
    }
    if value & CR0_NW != 0 && value & CR0_CD == 0 {
        let rule = "NW (bit 29) needs CD (bit 30)";
        return Err(Invalid::new("CR0", value, rule));
    }
    if value & CR0_PG != 0 && value & CR0_PE == 0 {
        let rule = "PG (bit 31) needs PE (bit 0)";
        return Err(Invalid::new("CR0", value, rule));
    }
    Ok(())
}

/// Whether a guest may load this CR4 (else #GP(0)): bits that this machine does not offer (LA57, CET, ...). QEMU would
/// answer a reserved bit with an exit of its own, so the machine must check first.
pub const fn check_cr4(value: u64) -> Result<(), Invalid> {
    if value & !CR4_ALLOWED != 0 {
        let rule = "a bit is set that this machine does not offer";
        return Err(Invalid::new("CR4", value, rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
