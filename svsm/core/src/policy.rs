//! What the SVSM does with the processor's protections: which are on, and without which it does not run.
//!
//! On a confidential platform a protection is required, so that a host cannot take it away; on the native one it is used where
//! it is found, so that the SVSM runs on every machine. `docs/src/policy.md` has the table.

use crate::cpuid::{CET_SS, CpuidTable, Feature, NX, SMAP, SMEP, UMIP, VMPL};
use core::fmt;

/// Which protections are on. Write protection always is: every processor has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The kernel executes no user page.
    pub smep: bool,
    /// The kernel reads and writes no user page by accident.
    pub smap: bool,
    /// User code cannot read where the descriptor tables are.
    pub umip: bool,
    /// Pages that cannot be executed.
    pub nx: bool,
    /// Return addresses are kept twice.
    pub shadow_stacks: bool,
}

/// What a confidential platform must have. Shadow stacks are used where CPUID promises them, and most processors that the
/// SVSM runs on do not.
const REQUIRED: [Feature; 5] = [NX, SMEP, SMAP, UMIP, VMPL];

impl Policy {
    /// All that the processor has.
    pub fn of(cpuid: &CpuidTable<'_>) -> Policy {
        Policy {
            smep: cpuid.has(SMEP),
            smap: cpuid.has(SMAP),
            umip: cpuid.has(UMIP),
            nx: cpuid.has(NX),
            shadow_stacks: cpuid.has(CET_SS),
        }
    }

    /// The name of the first feature that is required and missing.
    pub fn missing(&self, cpuid: &CpuidTable<'_>, confidential: bool) -> Option<&'static str> {
        REQUIRED
            .into_iter()
            .find(|&feature| confidential && !cpuid.has(feature))
            .map(|feature| feature.name)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = |on| if on { "on" } else { "absent" };
        write!(
            f,
            "SMEP {}, SMAP {}, UMIP {}, NX {}, WP on, shadow stacks {}",
            state(self.smep),
            state(self.smap),
            state(self.umip),
            state(self.nx),
            state(self.shadow_stacks)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snp_abi::cpuid::CpuidPage;
    use std::string::ToString;
    use zerocopy::FromZeros;

    /// Leaf, register (EBX, ECX, EDX) and bit of every feature (APM vol. 3 appendix E; SDM vol. 2 CPUID for CET_SS).
    const BITS: [(&str, u32, usize, u32); 6] = [
        ("NX", 0x8000_0001, 2, 20),
        ("SMEP", 7, 0, 7),
        ("SMAP", 7, 0, 20),
        ("UMIP", 7, 1, 2),
        ("VMPL", 0x8000_001F, 3, 5),
        ("shadow stacks", 7, 1, 7),
    ];

    /// A CPUID page with all of them but one.
    fn page(without: &str) -> CpuidPage {
        let mut page = CpuidPage::new_zeroed();
        let leaves = [7, 0x8000_0001, 0x8000_001F];
        page.count = (leaves.len() as u32).into();
        for (entry, leaf) in page.entries.iter_mut().zip(leaves) {
            entry.eax_in = leaf.into();
            let mut registers = [0u32; 4];
            for (_, of, register, bit) in BITS.into_iter().filter(|bit| bit.0 != without) {
                if of == leaf {
                    registers[register] |= 1 << bit;
                }
            }
            let [ebx, ecx, edx, eax] = registers;
            (entry.eax, entry.ebx) = (eax.into(), ebx.into());
            (entry.ecx, entry.edx) = (ecx.into(), edx.into());
        }
        page
    }

    #[test]
    fn what_is_missing_is_named_where_it_is_required() {
        for (name, ..) in BITS {
            let page = page(name);
            let table = CpuidTable::new(&page).unwrap();
            let policy = Policy::of(&table);
            let expected = Some(name).filter(|&name| name != "shadow stacks");
            assert_eq!(policy.missing(&table, true), expected);
            assert_eq!(policy.missing(&table, false), None);
            let line = policy.to_string();
            assert_eq!(
                line.contains("absent"),
                line.contains(&std::format!("{name} absent")),
                "{line}"
            );
        }
        let page = page("");
        let policy = Policy::of(&CpuidTable::new(&page).unwrap());
        assert_eq!(
            policy.to_string(),
            "SMEP on, SMAP on, UMIP on, NX on, WP on, shadow stacks on"
        );
    }
}
