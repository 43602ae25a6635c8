//! VMRUN's checks of a VMSA (APM vol. 2 §15.5.1, §15.36.12): what fails here is VMEXIT_INVALID.

use snp_abi::SevFeatures;
use snp_abi::vmsa::Vmsa;

/// A VMSA that VMRUN refuses: which field, its value, and the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value:#x}: {rule}")]
#[allow(missing_docs)]
pub struct Invalid {
    pub field: &'static str,
    pub value: u64,
    pub rule: &'static str,
}

/// Checks everything VMRUN checks. `vmpl` is the level the VMCB asks for, `features` what that level must have (fixed
/// by its first VMSA); `None` for the first.
pub fn check(
    vmsa: &Vmsa,
    vmpl: snp_abi::Vmpl,
    features: Option<SevFeatures>,
) -> Result<(), Invalid> {
    let _ = (vmsa, vmpl, features);
    todo!()
}

/// Whether a guest may load this CR0 (else #GP(0)): reserved bits, NW without CD, PG without PE.
pub fn check_cr0(value: u64) -> Result<(), Invalid> {
    let _ = value;
    todo!()
}

/// Whether a guest may load this CR4 (else #GP(0)): bits that this machine does not offer (LA57, CET, ...). QEMU would
/// answer a reserved bit with an exit of its own, so the machine must check first.
pub fn check_cr4(value: u64) -> Result<(), Invalid> {
    let _ = value;
    todo!()
}
