//! SEV_FEATURES of a VMSA (offset 0x3B0) and SEV_STATUS, the MSR that shows them to the guest (APM vol. 2 §15.34.10).

use bitflags::bitflags;

bitflags! {
    /// Bits of a VMSA's SEV_FEATURES.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct SevFeatures: u64 {
        /// Snp active.
        const SNP_ACTIVE = 1 << 0;
        /// Vtom.
        const VTOM = 1 << 1;
        /// Reflect vc.
        const REFLECT_VC = 1 << 2;
        /// Restricted injection.
        const RESTRICTED_INJECTION = 1 << 3;
        /// Alternate injection.
        const ALTERNATE_INJECTION = 1 << 4;
        /// Debug swap.
        const DEBUG_SWAP = 1 << 5;
        /// Prevent host ibs.
        const PREVENT_HOST_IBS = 1 << 6;
        /// Btb isolation.
        const BTB_ISOLATION = 1 << 7;
        /// Vmpl sss.
        const VMPL_SSS = 1 << 8;
        /// Secure tsc.
        const SECURE_TSC = 1 << 9;
        /// Vmgexit parameter.
        const VMGEXIT_PARAMETER = 1 << 10;
        /// Pmc virt.
        const PMC_VIRT = 1 << 11;
        /// Ibs virt.
        const IBS_VIRT = 1 << 12;
        /// Guest intercept ctl.
        const GUEST_INTERCEPT_CTL = 1 << 13;
        /// Vmsa reg prot.
        const VMSA_REG_PROT = 1 << 14;
        /// Smt protection.
        const SMT_PROTECTION = 1 << 15;
        /// Secure avic.
        const SECURE_AVIC = 1 << 16;
        /// Ibpb on entry.
        const IBPB_ON_ENTRY = 1 << 21;
    }
}

/// SEV_STATUS bit 0: SEV is on.
pub const SEV_STATUS_SEV: u64 = 1 << 0;
/// SEV_STATUS bit 1: SEV-ES is on.
pub const SEV_STATUS_SEV_ES: u64 = 1 << 1;
/// SEV_STATUS bit 2: SEV-SNP is on.
pub const SEV_STATUS_SNP: u64 = 1 << 2;

impl SevFeatures {
    /// SEV_STATUS as the guest that runs with these features reads it: SEV and SEV-ES, then the features from bit 2.
    pub const fn sev_status(self) -> u64 {
        self.bits() << 2 | SEV_STATUS_SEV | SEV_STATUS_SEV_ES
    }

    /// The features of the VMSA that shows this SEV_STATUS.
    pub const fn from_sev_status(status: u64) -> SevFeatures {
        SevFeatures::from_bits_retain(status >> 2)
    }
}
