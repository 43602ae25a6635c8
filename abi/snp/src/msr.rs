//! Model-specific registers that SEV guests and their hypervisor care about (APM vol. 2 appendix A).

/// Ring 0's shadow stacks (SDM vol. 4; APM vol. 2 §18).
pub const S_CET: u32 = 0x6A2;
/// The shadow stack for entries to ring 0.
pub const PL0_SSP: u32 = 0x6A4;
/// The table of shadow stacks that belong to exception stacks.
pub const INTERRUPT_SSP_TABLE: u32 = 0x6A8;
/// x2APIC and xAPIC base and mode.
pub const APIC_BASE: u32 = 0x1B;
/// First x2APIC register; register `r` of the xAPIC page is at `X2APIC_FIRST + r / 16`.
pub const X2APIC_FIRST: u32 = 0x800;
/// Last x2APIC register.
pub const X2APIC_LAST: u32 = 0x8FF;
/// TSC deadline of the local APIC timer.
pub const TSC_DEADLINE: u32 = 0x6E0;
/// Page attribute table.
pub const PAT: u32 = 0x277;
/// Extended supervisor state enabled for XSAVES.
pub const XSS: u32 = 0xDA0;
/// Extended features.
pub const EFER: u32 = 0xC000_0080;
/// SYSCALL targets for 32-bit mode.
pub const STAR: u32 = 0xC000_0081;
/// SYSCALL target for 64-bit mode.
pub const LSTAR: u32 = 0xC000_0082;
/// SYSCALL target for compatibility mode.
pub const CSTAR: u32 = 0xC000_0083;
/// SYSCALL flag mask.
pub const SFMASK: u32 = 0xC000_0084;
/// FS base.
pub const FS_BASE: u32 = 0xC000_0100;
/// GS base.
pub const GS_BASE: u32 = 0xC000_0101;
/// What SWAPGS exchanges with GS base.
pub const KERNEL_GS_BASE: u32 = 0xC000_0102;
/// What RDTSCP returns in ECX.
pub const TSC_AUX: u32 = 0xC000_0103;
/// SYSENTER code segment.
pub const SYSENTER_CS: u32 = 0x174;
/// SYSENTER stack pointer.
pub const SYSENTER_ESP: u32 = 0x175;
/// SYSENTER target.
pub const SYSENTER_EIP: u32 = 0x176;
/// System configuration.
pub const SYSCFG: u32 = 0xC001_0010;
/// Hardware configuration.
pub const HWCR: u32 = 0xC001_0015;
/// SVM control.
pub const VM_CR: u32 = 0xC001_0114;
/// Physical address of the host save area.
pub const VM_HSAVE_PA: u32 = 0xC001_0117;
/// GHCB address or MSR-protocol message; one per vCPU and VMPL.
pub const GHCB: u32 = 0xC001_0130;
/// Which SEV features are active; read-only.
pub const SEV_STATUS: u32 = 0xC001_0131;
/// TSC frequency in MHz (with SecureTSC).
pub const GUEST_TSC_FREQ: u32 = 0xC001_0134;
/// Address of the SVSM calling area; emulated by firmware's #VC handler, never by hardware (58019 §6).
pub const SVSM_CAA: u32 = 0xC001_F000;

/// EFER.SCE: SYSCALL enabled.
pub const EFER_SCE: u64 = 1 << 0;
/// EFER.LME: long mode enabled.
pub const EFER_LME: u64 = 1 << 8;
/// EFER.LMA: long mode active.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER.NXE: no-execute enabled.
pub const EFER_NXE: u64 = 1 << 11;
/// EFER.SVME: secure virtual machine enabled; VMRUN refuses a VMSA without it.
pub const EFER_SVME: u64 = 1 << 12;
