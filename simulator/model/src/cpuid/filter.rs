//! Which feature bits of the host's leaves go through.

/// Leaf 1 ECX: XSAVE.
pub(super) const XSAVE: u32 = 1 << 26;
/// Leaf 1 ECX: hypervisor present.
pub(super) const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1 ECX: x2APIC, which the machine emulates.
pub(super) const X2APIC: u32 = 1 << 21;
/// Leaf 1 ECX: CMPXCHG16B.
pub(super) const CX16: u32 = 1 << 13;
/// Leaf 1 ECX: RDRAND.
pub(super) const RDRAND: u32 = 1 << 30;

/// Leaf 1 ECX: SSE3, PCLMULQDQ, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, RDRAND. Left out among others:
/// MONITOR (3), VMX (5), PDCM (15), PCID (17), TSC_DEADLINE (24), OSXSAVE (27, set per vCPU).
pub(super) const LEAF_1_ECX: u32 =
    1 << 0 | 1 << 1 | 1 << 9 | CX16 | 1 << 19 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 25 | RDRAND;
/// Leaf 1 ECX, only with XSAVE: FMA, XSAVE, AVX, F16C.
pub(super) const LEAF_1_ECX_XSAVE: u32 = 1 << 12 | XSAVE | 1 << 28 | 1 << 29;

/// Leaf 1 EDX: SSE2.
pub(super) const SSE2: u32 = 1 << 26;
/// Leaf 1 EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, CX8, APIC, SEP, PGE, CMOV, PAT, PSE36, CLFSH, MMX, FXSR, SSE, SSE2.
/// Left out: MCE (7), MCA (14), MTRR (12), and bits that AMD reserves (18, 21, 22, 27, 29, 31).
pub(super) const LEAF_1_EDX: u32 = 0x7F
    | 1 << 8
    | super::APIC
    | 1 << 11
    | 1 << 13
    | 1 << 15
    | 1 << 16
    | 1 << 17
    | 1 << 19
    | 1 << 23
    | 1 << 24
    | 1 << 25
    | SSE2;
/// Leaf 1 EDX: more than one logical processor in the package.
pub(super) const HTT: u32 = 1 << 28;

/// Leaf 7.0 EBX: FSGSBASE, BMI1, SMEP, BMI2, ERMS, INVPCID, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA. Left out:
/// TSC_ADJUST (1), MPX (14), AVX-512.
pub(super) const LEAF_7_EBX: u32 = 1 << 0
    | 1 << 3
    | 1 << 7
    | 1 << 8
    | 1 << 9
    | 1 << 18
    | 1 << 19
    | 1 << 20
    | 1 << 23
    | 1 << 24
    | 1 << 29;
/// Leaf 7.0 EBX, only with XSAVE: AVX2.
pub(super) const LEAF_7_EBX_XSAVE: u32 = 1 << 5;
/// Leaf 7.0 ECX: UMIP, GFNI, RDPID. Left out: PKU (3), OSPKE (4), CET_SS (7), LA57 (16).
pub(super) const LEAF_7_ECX: u32 = 1 << 2 | 1 << 8 | 1 << 22;
/// Leaf 7.0 ECX, only with XSAVE: VAES, VPCLMULQDQ.
pub(super) const LEAF_7_ECX_XSAVE: u32 = 1 << 9 | 1 << 10;
/// Leaf 7.0 EDX: FSRM. Left out: everything on speculation (MSRs 0x48, 0x49, 0x10A, 0x10B), IBT (20), AVX-512, AMX.
pub(super) const LEAF_7_EDX: u32 = 1 << 4;
/// Leaf 7.1 EAX: FZRM, FSRS, FSRC. Left out: FRED (17), LKGS, LAM.
pub(super) const LEAF_7_1_EAX: u32 = 1 << 10 | 1 << 11 | 1 << 12;
/// Leaf 7.1 EAX, only with XSAVE: AVX-VNNI.
pub(super) const LEAF_7_1_EAX_XSAVE: u32 = 1 << 4;

/// Leaf 6 EAX: the APIC timer runs always.
pub(super) const ARAT: u32 = 1 << 2;

/// Leaf 0xD.1 EAX: XSAVEOPT, XSAVEC, XGETBV with ECX 1.
pub(super) const LEAF_D_1_EAX: u32 = 1 << 0 | XSAVEC | 1 << 2;
/// Leaf 0xD.1 EAX: XSAVEC.
pub(super) const XSAVEC: u32 = 1 << 1;
/// x87, SSE and AVX state.
pub(super) const XCR0: u32 = 7;

/// Leaf 0x8000_0001 ECX: LAHF in 64-bit mode, LOCK MOV CR0, LZCNT, SSE4A, misaligned SSE, 3DNOW prefetch. Left out: SVM
/// (2), extended APIC space (3), OSVW (9), IBS (10), SKINIT, WDT, TOPOEXT (22), performance counters (23, 24, 28),
/// MONITORX (29), data breakpoint extension.
pub(super) const LEAF_80000001_ECX: u32 = 1 << 0 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8;
/// Leaf 0x8000_0001 ECX: the package has several processors.
pub(super) const CMP_LEGACY: u32 = 1 << 1;
/// Leaf 0x8000_0001 EDX: NX.
pub(super) const NX: u32 = 1 << 20;
/// Leaf 0x8000_0001 EDX: long mode.
pub(super) const LM: u32 = 1 << 29;
/// Leaf 0x8000_0001 EDX: what it shares with leaf 1 (FPU to PAT and PSE36, MMX, FXSR), SYSCALL, NX, MMX extensions,
/// FFXSR, 1 GiB pages, RDTSCP, LM, 3DNOW extensions.
pub(super) const LEAF_80000001_EDX: u32 = 0x7F
    | 1 << 8
    | super::APIC
    | 1 << 11
    | 1 << 13
    | 1 << 15
    | 1 << 16
    | 1 << 17
    | NX
    | 1 << 22
    | 1 << 23
    | 1 << 24
    | 1 << 25
    | 1 << 26
    | 1 << 27
    | LM
    | 1 << 30
    | 1 << 31;

/// Leaf 0x8000_0007 EDX: invariant TSC.
pub(super) const INVARIANT_TSC: u32 = 1 << 8;
/// Leaf 0x8000_0008 EBX: CLZERO, WBNOINVD.
pub(super) const LEAF_80000008_EBX: u32 = 1 << 0 | 1 << 9;
/// Leaf 0x8000_0021 EAX: LFENCE is always serialising, loading a null selector clears the base. True of QEMU's.
pub(super) const LEAF_80000021_EAX: u32 = 1 << 2 | 1 << 6;
