//! Which MSRs a guest reaches directly and which raise #VC (KVM's set: `sev_es_recalc_msr_intercepts`), and what those
//! that it then asks for through the GHCB answer.

/// What happens at RDMSR or WRMSR in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direct {
    /// The processor's register, switched with the VMSA: no intercept, no #VC.
    PassThrough,
    /// The machine intercepts and answers as the hardware would, without #VC.
    Hardware(Hardware),
    /// #VC 0x7C; the guest then asks through the GHCB.
    Vc,
}

/// MSRs that the hardware implements for the guest and this machine must model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Hardware {
    /// GHCB MSR, per vCPU and VMPL.
    Ghcb,
    /// SEV_STATUS: read-only (write: #GP).
    SevStatus,
    /// EFER: SVME is shown and kept set; a write that breaks a rule is #GP.
    Efer,
    /// XSS: no supervisor state is offered: any bit is #GP.
    Xss,
    /// PAT: each byte a memory type, else #GP.
    Pat,
    TscAux,
}

/// What an MSR asked for through the GHCB is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Emulated {
    /// APIC_BASE: see [`crate::apic::write_base`].
    ApicBase,
    /// x2APIC register, if in x2APIC mode.
    X2Apic,
    /// Reads as this; writes are ignored.
    Constant(u64),
    /// Reads as this; writes are #GP.
    ReadOnly(u64),
    /// Time stamp counter (MSR 0x10).
    Tsc,
    TscDeadline,
    /// #GP.
    GeneralProtection,
}

/// What happens when the guest executes RDMSR or WRMSR.
pub fn direct(msr: u32) -> Direct {
    let _ = msr;
    todo!()
}

/// What the hypervisor answers when the guest asks through the GHCB.
pub fn emulated(msr: u32) -> Emulated {
    let _ = msr;
    todo!()
}

/// A new EFER value, or `None` for #GP: reserved bits, LME changed while paging (`cr0_pg`). LMA and SVME keep their
/// values: SVME cannot be cleared from within, or the VMSA would not run again.
pub fn write_efer(old: u64, new: u64, cr0_pg: bool) -> Option<u64> {
    let _ = (old, new, cr0_pg);
    todo!()
}

/// Whether each of PAT's eight bytes is a memory type (APM vol. 2 §7.8.1).
pub fn pat_is_valid(value: u64) -> bool {
    let _ = value;
    todo!()
}
