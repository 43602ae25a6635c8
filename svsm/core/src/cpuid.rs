//! CPUID from the page that the SNP firmware has checked, rather than from the instruction, which the host answers.

use snp_abi::cpuid::{CpuidEntry, CpuidPage, MAX_ENTRIES, sev};

/// Registers that CPUID returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CpuidResult {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// A feature that the SVSM does not run without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name in the manuals.
    pub name: &'static str,
    leaf: u32,
    register: Register,
    bit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

const fn feature(name: &'static str, leaf: u32, register: Register, bit: u32) -> Feature {
    Feature {
        name,
        leaf,
        register,
        bit,
    }
}

/// SMEP: the kernel executes no user page.
pub const SMEP: Feature = feature("SMEP", 7, Register::Ebx, 7);
/// SMAP: the kernel reads and writes no user page by accident.
pub const SMAP: Feature = feature("SMAP", 7, Register::Ebx, 20);
/// UMIP: user code cannot read where the descriptor tables are.
pub const UMIP: Feature = feature("UMIP", 7, Register::Ecx, 2);
/// NX: pages that cannot be executed.
pub const NX: Feature = feature("NX", 0x8000_0001, Register::Edx, 20);
/// 1 GiB pages.
pub const PAGE_1GB: Feature = feature("1GB pages", 0x8000_0001, Register::Edx, 26);
/// INVLPGB: TLB entries of all processors dropped by one instruction.
pub const INVLPGB: Feature = feature("INVLPGB", 0x8000_0008, Register::Ebx, 3);
/// VMPLs.
pub const VMPL: Feature = feature("VMPL", sev::LEAF, Register::Eax, 5);

/// RDRAND: random numbers.
pub const RDRAND: Feature = feature("RDRAND", 1, Register::Ecx, 30);
/// RDSEED: seeds for generators.
pub const RDSEED: Feature = feature("RDSEED", 7, Register::Ebx, 18);

/// Shadow stacks.
pub const CET_SS: Feature = feature("shadow stacks", 7, Register::Ecx, 7);
/// The APIC's registers are MSRs.
pub const X2APIC: Feature = feature("x2APIC", 1, Register::Ecx, 21);

/// Leaves whose answer depends on ECX (APM vol. 3 appendix E; Linux `asm/cpuid/api.h`).
fn has_subleaves(leaf: u32) -> bool {
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

/// The leaves of a CPUID page, read-only.
#[derive(Clone, Copy)]
pub struct CpuidTable<'a> {
    entries: &'a [CpuidEntry],
}

impl<'a> CpuidTable<'a> {
    /// The table of this page; `None` when its count is 0 or more than a page holds.
    pub fn new(page: &'a CpuidPage) -> Option<CpuidTable<'a>> {
        match page.count.get() as usize {
            count @ 1..=MAX_ENTRIES => Some(CpuidTable {
                entries: &page.entries[..count],
            }),
            _ => None,
        }
    }

    /// The leaf, all zero when the page lacks it. The first entry that fits wins, as for Linux.
    pub fn get(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        self.entries
            .iter()
            .find(|e| e.eax_in.get() == leaf && (!has_subleaves(leaf) || e.ecx_in.get() == subleaf))
            .map_or(CpuidResult::default(), |e| CpuidResult {
                eax: e.eax.get(),
                ebx: e.ebx.get(),
                ecx: e.ecx.get(),
                edx: e.edx.get(),
            })
    }

    /// Whether the processor has the feature.
    pub fn has(&self, feature: Feature) -> bool {
        let result = self.get(feature.leaf, 0);
        let register = match feature.register {
            Register::Eax => result.eax,
            Register::Ebx => result.ebx,
            Register::Ecx => result.ecx,
            Register::Edx => result.edx,
        };
        register & 1 << feature.bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn page(leaves: &[(u32, u32, u32, u32, u32, u32)]) -> CpuidPage {
        let mut page = CpuidPage::new_zeroed();
        page.count = (leaves.len() as u32).into();
        for (entry, &(leaf, subleaf, eax, ebx, ecx, edx)) in page.entries.iter_mut().zip(leaves) {
            entry.eax_in = leaf.into();
            entry.ecx_in = subleaf.into();
            entry.eax = eax.into();
            entry.ebx = ebx.into();
            entry.ecx = ecx.into();
            entry.edx = edx.into();
        }
        page
    }

    #[test]
    fn subleaves_count_only_where_the_leaf_has_them() {
        let page = page(&[
            (1, 0, 1, 2, 3, 4),
            (7, 1, 9, 0, 0, 0),
            (7, 0, 5, 6, 7, 8),
            (7, 0, 0, 0, 0, 0),
        ]);
        let table = CpuidTable::new(&page).unwrap();
        assert_eq!(table.get(1, 77).edx, 4);
        assert_eq!(table.get(7, 0).eax, 5);
        assert_eq!(table.get(7, 1).eax, 9);
        assert_eq!(table.get(7, 2), CpuidResult::default());
        assert_eq!(table.get(2, 0), CpuidResult::default());
    }

    #[test]
    fn an_absurd_count_is_refused() {
        let mut page = page(&[(1, 0, 1, 2, 3, 4)]);
        assert!(CpuidTable::new(&page).is_some());
        page.count = 0.into();
        assert!(CpuidTable::new(&page).is_none());
        page.count = 65.into();
        assert!(CpuidTable::new(&page).is_none());
    }
}
