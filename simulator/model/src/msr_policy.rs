//! Which MSRs a guest reaches directly and which raise #VC (KVM's set: `sev_es_recalc_msr_intercepts`), and what those
//! that it then asks for through the GHCB answer.

use crate::kvmclock;
use snp_abi::msr;

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
    /// EFER: see [`write_efer`].
    Efer,
    /// XSS: no supervisor state is offered: any bit is #GP.
    Xss,
    /// PAT: each byte a memory type, else #GP.
    Pat,
    /// TSC_AUX: 32 bits, else #GP.
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
    /// The APIC timer's deadline, which CPUID does not offer: #GP as long as the machine has none.
    TscDeadline,
    /// kvmclock: where to put [`crate::kvmclock::WallClock`], if offered.
    KvmWallClock,
    /// kvmclock: where to keep [`crate::kvmclock::TimeInfo`], if offered.
    KvmSystemTime,
    /// #GP.
    GeneralProtection,
}

/// What happens when the guest executes RDMSR or WRMSR.
pub const fn direct(msr: u32) -> Direct {
    match msr {
        msr::FS_BASE
        | msr::GS_BASE
        | msr::KERNEL_GS_BASE
        | msr::STAR
        | msr::LSTAR
        | msr::CSTAR
        | msr::SFMASK
        | msr::SYSENTER_CS
        | msr::SYSENTER_ESP
        | msr::SYSENTER_EIP => Direct::PassThrough,
        msr::GHCB => Direct::Hardware(Hardware::Ghcb),
        msr::SEV_STATUS => Direct::Hardware(Hardware::SevStatus),
        msr::EFER => Direct::Hardware(Hardware::Efer),
        msr::XSS => Direct::Hardware(Hardware::Xss),
        msr::PAT => Direct::Hardware(Hardware::Pat),
        msr::TSC_AUX => Direct::Hardware(Hardware::TscAux),
        _ => Direct::Vc,
    }
}

/// Time stamp counter.
const TSC: u32 = 0x10;
/// Microcode patch level.
const PATCH_LEVEL: u32 = 0x8B;
/// Decode configuration; bit 1: LFENCE is dispatch serialising.
const DE_CFG: u32 = 0xC001_1029;

/// What the hypervisor answers when the guest asks through the GHCB.
///
/// Registers that Linux reads without being told of them by CPUID read as KVM gives them (`kvm_get_msr_common`);
/// anything else is #GP, which Linux survives with a warning.
pub const fn emulated(msr: u32) -> Emulated {
    match msr {
        msr::APIC_BASE => Emulated::ApicBase,
        msr::X2APIC_FIRST..=msr::X2APIC_LAST => Emulated::X2Apic,
        TSC => Emulated::Tsc,
        msr::TSC_DEADLINE => Emulated::TscDeadline,
        kvmclock::MSR_WALL_CLOCK => Emulated::KvmWallClock,
        kvmclock::MSR_SYSTEM_TIME => Emulated::KvmSystemTime,
        // KVM's value for AMD.
        PATCH_LEVEL => Emulated::Constant(0x0100_0065),
        // Bit 24: the TSC runs at the P0 frequency; without it Linux complains about the firmware.
        msr::HWCR => Emulated::Constant(1 << 24),
        // Memory encryption (bit 23) is the host's affair; Linux goes by SEV_STATUS.
        msr::SYSCFG => Emulated::Constant(0),
        msr::VM_CR => Emulated::ReadOnly(0),
        DE_CFG => Emulated::Constant(1 << 1),
        // Platform ID, EBL_CR_POWERON, PERF_CTL, DEBUGCTL, interrupt pending, MMIO configuration base, TSEG address and
        // mask, northbridge, data cache, bus unit configuration.
        0x17 | 0x2A | 0x199 | 0x1D9 | 0xC001_0055 | 0xC001_0058 | 0xC001_0112 | 0xC001_0113
        | 0xC001_001F | 0xC001_1022 | 0xC001_102A => Emulated::Constant(0),
        _ => Emulated::GeneralProtection,
    }
}

/// EFER bits that a guest may set: SCE, LME, LMA (kept), NXE, SVME, FFXSR.
pub const EFER_ALLOWED: u64 =
    msr::EFER_SCE | msr::EFER_LME | msr::EFER_LMA | msr::EFER_NXE | msr::EFER_SVME | EFER_FFXSR;
const EFER_FFXSR: u64 = 1 << 14;

/// A new EFER value, or `None` for #GP: reserved bits, LME changed while paging (`cr0_pg`).
///
/// LMA keeps its value. SVME is the guest's to clear, as on hardware: its VMSA then fails the next VMRUN, which
/// `vmsa_check` names. (The VMCB that QEMU sees must have it all the time.)
pub const fn write_efer(old: u64, new: u64, cr0_pg: bool) -> Option<u64> {
    if new & !EFER_ALLOWED != 0 {
        return None;
    }
    if cr0_pg && (old ^ new) & msr::EFER_LME != 0 {
        return None;
    }
    Some(new & !msr::EFER_LMA | old & msr::EFER_LMA)
}

/// Whether each of PAT's eight bytes is a memory type (APM vol. 2 §7.8.1).
pub const fn pat_is_valid(value: u64) -> bool {
    let bytes = value.to_le_bytes();
    let mut index = 0;
    while index < bytes.len() {
        if !matches!(bytes[index], 0 | 1 | 4..=7) {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests;
