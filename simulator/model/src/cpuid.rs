//! The processor that the guest sees: the CPUID page made from the host's leaves, and run-time answers
//! (56860 §8.17.2.6; what Linux reads: `sev-shared.c:snp_cpuid`).
//!
//! The page is a filter: a leaf or bit that is not named here is not offered, so that a newer QEMU does not offer what
//! the machine cannot virtualise. What the guest's kernel would do with a bit decides, for example: no TSC_DEADLINE
//! (real SNP firmware refuses it, and QEMU's APIC lacks it), no MONITOR (every idle loop would be a #VC), no MTRR and
//! MCA (their MSRs would each be a #VC), no LA57, CET, FRED, protection keys, PMU or IBS.
//!
//! **XSAVE** is offered only if the host has XSAVEC or XSAVES: Linux takes a leaf 0xD subleaf 1 without either for a
//! hostile hypervisor and terminates (`sev-shared.c:snp_cpuid_postprocess`), as all SNP processors have both. QEMU's
//! TCG has neither. The guest then sees a processor with FXSAVE and SSE, but without XSAVE and AVX, and whose last
//! basic leaf is 0xB.

mod build;
mod filter;

use snp_abi::cpuid::CpuidPage;

pub use build::{build_page, hide_nx};

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
    /// Family, model and stepping as in leaf 1 EAX; `None` for the host's.
    pub signature: Option<u32>,
    /// Offer kvmclock's MSRs ([`crate::kvmclock`]).
    pub kvmclock: bool,
}

/// A host from which no page can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BuildError {
    #[error("CPUID leaf {leaf:#x}.{subleaf:#x} is the 65th entry; the CPUID page holds 64")]
    TableFull { leaf: u32, subleaf: u32 },
    #[error(
        "the processor's vendor is not AuthenticAMD (leaf 0: EBX {ebx:#x} EDX {edx:#x} ECX {ecx:#x})"
    )]
    Vendor { ebx: u32, ecx: u32, edx: u32 },
    #[error("the processor has no {name}, which an SNP guest needs (CPUID leaf {leaf:#x})")]
    MissingFeature { leaf: u32, name: &'static str },
}

/// The vCPU that executes CPUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Asker {
    pub apic_id: u32,
    pub cr4: u64,
    pub xcr0: u64,
    pub xss: u64,
    /// APIC_BASE.ENABLE, shown in bit 9 of leaf 1 EDX.
    pub apic_enabled: bool,
}

const CR4_OSXSAVE: u64 = 1 << 18;
/// Leaf 1 ECX: OSXSAVE.
const OSXSAVE: u32 = 1 << 27;
/// Leaf 1 EDX: APIC.
const APIC: u32 = 1 << 9;
/// Bytes of the XSAVE area's legacy region and header: all that XCR0 1 and 3 need, and what firmware fixes EBX of 0xD.0
/// and 0xD.1 to.
const XSAVE_LEGACY: u32 = 0x240;

/// What the hypervisor answers to a CPUID request: the page's entry with the vCPU's own values put in; zeros for a leaf
/// that is not in the table.
pub fn answer(page: &CpuidPage, asker: &Asker, leaf: u32, subleaf: u32) -> Leaf {
    let mut result = find(page, leaf, subleaf);
    match leaf {
        1 => {
            result.ebx = result.ebx & 0x00FF_FFFF | asker.apic_id << 24;
            set(&mut result.ecx, OSXSAVE, asker.cr4 & CR4_OSXSAVE != 0);
            set(&mut result.edx, APIC, asker.apic_enabled);
        }
        0xB => {
            result.ecx = result.ecx & !0xFF | subleaf & 0xFF;
            result.edx = asker.apic_id;
        }
        0xD if subleaf < 2 && result.eax != 0 => {
            result.ebx = xsave_size(page, asker, subleaf == 1);
        }
        0x8000_001E => {
            result.eax = asker.apic_id;
            result.ebx = result.ebx & !0xFF | asker.apic_id & 0xFF;
            result.ecx &= !0xFF;
        }
        _ => {}
    }
    result
}

/// Whether the leaf's result depends on ECX (Linux `asm/cpuid/api.h`).
const fn has_subleaves(leaf: u32) -> bool {
    matches!(
        leaf,
        4 | 7
            | 0xB
            | 0xD
            | 0xF
            | 0x10
            | 0x12
            | 0x14
            | 0x17
            | 0x18
            | 0x1D
            | 0x1E
            | 0x1F
            | 0x23
            | 0x24
            | 0x8000_001D
    )
}

/// The first matching entry, as Linux looks it up.
fn find(page: &CpuidPage, leaf: u32, subleaf: u32) -> Leaf {
    let count = (page.count.get() as usize).min(page.entries.len());
    page.entries
        .iter()
        .take(count)
        .find(|entry| {
            entry.eax_in.get() == leaf && (!has_subleaves(leaf) || entry.ecx_in.get() == subleaf)
        })
        .map(|entry| Leaf {
            eax: entry.eax.get(),
            ebx: entry.ebx.get(),
            ecx: entry.ecx.get(),
            edx: entry.edx.get(),
        })
        .unwrap_or_default()
}

/// Leaf 0xD EBX: bytes of an XSAVE area for what is enabled, in standard or compacted format (APM vol. 3 §E.3.8).
fn xsave_size(page: &CpuidPage, asker: &Asker, compacted: bool) -> u32 {
    let enabled = if compacted {
        asker.xcr0 | asker.xss
    } else {
        asker.xcr0
    };
    let mut end = XSAVE_LEGACY;
    for component in (2..63).filter(|component| enabled >> component & 1 != 0) {
        let state = find(page, 0xD, component);
        if compacted {
            // ECX bit 1: the component starts at a multiple of 64.
            let start = if state.ecx & 2 != 0 {
                end.next_multiple_of(64)
            } else {
                end
            };
            end = start.saturating_add(state.eax);
        } else {
            end = end.max(state.ebx.saturating_add(state.eax));
        }
    }
    end
}

fn set(register: &mut u32, bit: u32, on: bool) {
    if on {
        *register |= bit;
    } else {
        *register &= !bit;
    }
}

#[cfg(test)]
mod tests;
