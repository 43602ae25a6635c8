//! The processor that the guest sees: the CPUID page made from the host's leaves, and run-time answers
//! (56860 §8.17.2.6; what Linux reads: `sev-shared.c:snp_cpuid`).

use snp_abi::cpuid::CpuidPage;

/// One leaf's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Leaf {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// What the guest's processor is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Config {
    /// C-bit position and physical address width as page tables have them.
    pub geometry: crate::Geometry,
    /// vCPUs (logical processors of one package).
    pub vcpus: u32,
}

/// The table has no room: more leaves than 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CPUID leaf {leaf:#x}.{subleaf:#x} is the 65th entry; the CPUID page holds 64")]
#[allow(missing_docs)]
pub struct TableFull {
    pub leaf: u32,
    pub subleaf: u32,
}

/// Fills `page` from the processor's own leaves (`host(leaf, subleaf)`).
pub fn build_page(
    page: &mut CpuidPage,
    config: &Config,
    host: impl FnMut(u32, u32) -> Leaf,
) -> Result<(), TableFull> {
    let _ = (page, config, host);
    todo!()
}

/// The vCPU that executes CPUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Asker {
    pub apic_id: u32,
    pub vcpus: u32,
    pub cr4: u64,
    pub xcr0: u64,
    pub xss: u64,
    /// APIC_BASE.ENABLE, shown in leaf 1 EDX[9].
    pub apic_enabled: bool,
}

/// What the hypervisor answers to a CPUID request: the page's entry with the vCPU's own values put in; zeros for a leaf
/// that is not in the table.
pub fn answer(page: &CpuidPage, asker: &Asker, leaf: u32, subleaf: u32) -> Leaf {
    let _ = (page, asker, leaf, subleaf);
    todo!()
}
