//! VMEXIT codes (APM vol. 2 appendix C), which are also #VC error codes and GHCB exit codes, and the GHCB's own
//! non-automatic-exit events (56421 §4).

/// MOV from DR7.
pub const READ_DR7: u64 = 0x27;
/// MOV to DR7.
pub const WRITE_DR7: u64 = 0x37;
/// First of the 32 exception intercepts.
pub const EXCEPTION_BASE: u64 = 0x40;
/// Physical interrupt.
pub const INTR: u64 = 0x60;
/// NMI.
pub const NMI: u64 = 0x61;
/// SMI.
pub const SMI: u64 = 0x62;
/// INIT.
pub const INIT: u64 = 0x63;
/// A virtual interrupt is about to be taken.
pub const VINTR: u64 = 0x64;
/// RDTSC.
pub const RDTSC: u64 = 0x6E;
/// RDPMC.
pub const RDPMC: u64 = 0x6F;
/// CPUID.
pub const CPUID: u64 = 0x72;
/// IRET.
pub const IRET: u64 = 0x74;
/// INVD.
pub const INVD: u64 = 0x76;
/// PAUSE.
pub const PAUSE: u64 = 0x77;
/// HLT.
pub const HLT: u64 = 0x78;
/// INVLPGA.
pub const INVLPGA: u64 = 0x7A;
/// IN, OUT, INS, OUTS.
pub const IOIO: u64 = 0x7B;
/// RDMSR (EXITINFO1 0) and WRMSR (EXITINFO1 1).
pub const MSR: u64 = 0x7C;
/// Shutdown (triple fault).
pub const SHUTDOWN: u64 = 0x7F;
/// VMRUN.
pub const VMRUN: u64 = 0x80;
/// VMMCALL.
pub const VMMCALL: u64 = 0x81;
/// VMLOAD.
pub const VMLOAD: u64 = 0x82;
/// VMSAVE.
pub const VMSAVE: u64 = 0x83;
/// STGI.
pub const STGI: u64 = 0x84;
/// CLGI.
pub const CLGI: u64 = 0x85;
/// SKINIT.
pub const SKINIT: u64 = 0x86;
/// RDTSCP.
pub const RDTSCP: u64 = 0x87;
/// ICEBP.
pub const ICEBP: u64 = 0x88;
/// WBINVD.
pub const WBINVD: u64 = 0x89;
/// MONITOR.
pub const MONITOR: u64 = 0x8A;
/// MWAIT.
pub const MWAIT: u64 = 0x8B;
/// XSETBV.
pub const XSETBV: u64 = 0x8D;
/// Nested page fault.
pub const NPF: u64 = 0x400;
/// VMGEXIT.
pub const VMGEXIT: u64 = 0x403;
/// #VC only: access to a private page that is assigned but not validated.
pub const PAGE_NOT_VALIDATED: u64 = 0x404;
/// VMRUN refused the state.
pub const INVALID: u64 = u64::MAX;
/// VMRUN found the VMSA in use.
pub const BUSY: u64 = u64::MAX - 1;

/// GHCB event: MMIO read.
pub const MMIO_READ: u64 = 0x8000_0001;
/// GHCB event: MMIO write.
pub const MMIO_WRITE: u64 = 0x8000_0002;
/// GHCB event: the guest's NMI handler is done.
pub const NMI_COMPLETE: u64 = 0x8000_0003;
/// GHCB event: halt until this vCPU is started anew.
pub const AP_RESET_HOLD: u64 = 0x8000_0004;
/// GHCB event: get or set the AP jump table (SEV-ES).
pub const AP_JUMP_TABLE: u64 = 0x8000_0005;
/// GHCB event: page state change.
pub const PAGE_STATE_CHANGE: u64 = 0x8000_0010;
/// GHCB event: message to the SNP firmware.
pub const GUEST_REQUEST: u64 = 0x8000_0011;
/// GHCB event: the same with certificates.
pub const EXTENDED_GUEST_REQUEST: u64 = 0x8000_0012;
/// GHCB event: create or destroy a vCPU.
pub const AP_CREATION: u64 = 0x8000_0013;
/// GHCB event: #HV doorbell page.
pub const HV_DOORBELL: u64 = 0x8000_0014;
/// #HV doorbell page: which GPA does the hypervisor prefer.
pub const DOORBELL_PREFERRED: u64 = 0;
/// #HV doorbell page: set it.
pub const DOORBELL_SET: u64 = 1;
/// #HV doorbell page: which one is set.
pub const DOORBELL_QUERY: u64 = 2;
/// #HV doorbell page: none from here on.
pub const DOORBELL_CLEAR: u64 = 3;
/// GHCB event: IPI sent by the hypervisor for the guest.
pub const HV_IPI: u64 = 0x8000_0015;
/// GHCB event: list of APIC IDs.
pub const GET_APIC_IDS: u64 = 0x8000_0017;
/// GHCB event: run another VMPL of this vCPU.
pub const RUN_VMPL: u64 = 0x8000_0018;
/// GHCB event: which features the hypervisor has.
pub const HV_FEATURES: u64 = 0x8000_FFFD;
/// GHCB event: the guest asks to be terminated.
pub const TERMINATE: u64 = 0x8000_FFFE;
/// GHCB event: the guest's #VC handler does not know this exit code.
pub const UNSUPPORTED: u64 = 0x8000_FFFF;

/// EXITINFO1 of [`AP_CREATION`], bits 15:0: start with this VMSA at the next INIT.
pub const AP_CREATE_ON_INIT: u64 = 0;
/// As above: start with this VMSA now.
pub const AP_CREATE: u64 = 1;
/// As above: stop the vCPU.
pub const AP_DESTROY: u64 = 2;

/// EXITINFO1 of an IOIO exit (APM vol. 2 §15.10.2).
pub mod ioio {
    /// IN rather than OUT.
    pub const IN: u64 = 1 << 0;
    /// String instruction.
    pub const STRING: u64 = 1 << 2;
    /// With REP.
    pub const REP: u64 = 1 << 3;
    /// One byte.
    pub const SIZE_8: u64 = 1 << 4;
    /// Two bytes.
    pub const SIZE_16: u64 = 1 << 5;
    /// Four bytes.
    pub const SIZE_32: u64 = 1 << 6;
    /// 16-bit addresses.
    pub const ADDRESS_16: u64 = 1 << 7;
    /// 32-bit addresses.
    pub const ADDRESS_32: u64 = 1 << 8;
    /// 64-bit addresses.
    pub const ADDRESS_64: u64 = 1 << 9;
    /// Where the segment number starts: ES 0, DS 3.
    pub const SEGMENT_SHIFT: u32 = 10;
    /// Where the port number starts.
    pub const PORT_SHIFT: u32 = 16;
}

/// EXITINFO1 of a nested page fault (APM vol. 2 §15.25.6, §15.36.10).
pub mod npf {
    /// The nested entry was present.
    pub const PRESENT: u64 = 1 << 0;
    /// A write.
    pub const WRITE: u64 = 1 << 1;
    /// A user access; nested walks always are.
    pub const USER: u64 = 1 << 2;
    /// A reserved bit was set: how a hypervisor marks MMIO, which makes it a #VC.
    pub const RESERVED: u64 = 1 << 3;
    /// An instruction fetch.
    pub const FETCH: u64 = 1 << 4;
    /// An RMP check failed.
    pub const RMP: u64 = 1 << 31;
    /// While translating the final address.
    pub const FINAL: u64 = 1 << 32;
    /// While walking the guest's page tables.
    pub const TABLE_WALK: u64 = 1 << 33;
    /// The access was private (C = 1).
    pub const ENCRYPTED: u64 = 1 << 34;
    /// PVALIDATE or RMPADJUST asked for a smaller page than the RMP entry's.
    pub const SIZE_MISMATCH: u64 = 1 << 35;
    /// A VMPL permission was missing.
    pub const VMPL: u64 = 1 << 36;
}
