//! Filling the CPUID page.

use super::filter::*;
use super::{BuildError, Config, Leaf, XSAVE_LEGACY};
use crate::kvmclock::{FEATURE_CLOCKSOURCE_STABLE, FEATURE_CLOCKSOURCE2};
use snp_abi::Vmpl;
use snp_abi::cpuid::{CpuidEntry, CpuidPage, sev};
use zerocopy::FromZeros;

/// Last extended leaf.
const LAST_EXTENDED: u32 = 0x8000_0021;
/// Last basic leaf, with XSAVE and without.
const LAST_BASIC: u32 = 0xD;
const LAST_BASIC_WITHOUT_XSAVE: u32 = 0xB;

/// Fills `page` from the processor's own leaves (`host(leaf, subleaf)`).
pub fn build_page(
    page: &mut CpuidPage,
    config: &Config,
    host: impl FnMut(u32, u32) -> Leaf,
) -> Result<(), BuildError> {
    page.zero();
    Builder {
        page,
        config,
        host,
        xsave: false,
    }
    .build()
}

/// Takes NX out of a page, as if the processor lacked it.
pub fn hide_nx(page: &mut CpuidPage) {
    for entry in &mut page.entries {
        if entry.eax_in.get() == 0x8000_0001 {
            entry.edx.set(entry.edx.get() & !NX);
        }
    }
}

struct Builder<'a, H> {
    page: &'a mut CpuidPage,
    config: &'a Config,
    host: H,
    /// XSAVE and what builds on it is offered.
    xsave: bool,
}

impl<H: FnMut(u32, u32) -> Leaf> Builder<'_, H> {
    fn build(mut self) -> Result<(), BuildError> {
        let zero = (self.host)(0, 0);
        self.check(zero)?;
        self.xsave = self.can_offer_xsave(zero.eax);
        self.basic(zero)?;
        self.hypervisor()?;
        self.extended()
    }

    /// What no SNP guest can do without.
    fn check(&mut self, zero: Leaf) -> Result<(), BuildError> {
        if (zero.ebx, zero.edx, zero.ecx) != (0x6874_7541, 0x6974_6E65, 0x444D_4163) {
            return Err(BuildError::Vendor {
                ebx: zero.ebx,
                ecx: zero.ecx,
                edx: zero.edx,
            });
        }
        let one = (self.host)(1, 0);
        let extended = (self.host)(0x8000_0001, 0);
        for (leaf, register, bit, name) in [
            (1, one.ecx, RDRAND, "RDRAND"),
            (1, one.ecx, CX16, "CMPXCHG16B"),
            (1, one.edx, SSE2, "SSE2"),
            (1, one.edx, super::APIC, "APIC"),
            (0x8000_0001, extended.edx, NX, "NX"),
            (0x8000_0001, extended.edx, LM, "long mode"),
        ] {
            if register & bit == 0 {
                return Err(BuildError::MissingFeature { leaf, name });
            }
        }
        Ok(())
    }

    fn can_offer_xsave(&mut self, last_basic: u32) -> bool {
        last_basic >= 0xD
            && (self.host)(1, 0).ecx & XSAVE != 0
            && (self.host)(0xD, 1).eax & XSAVEC != 0
    }

    /// `mask`, and `with_xsave` if XSAVE is offered.
    const fn mask(&self, mask: u32, with_xsave: u32) -> u32 {
        if self.xsave { mask | with_xsave } else { mask }
    }

    fn basic(&mut self, zero: Leaf) -> Result<(), BuildError> {
        let last = if self.xsave {
            LAST_BASIC
        } else {
            LAST_BASIC_WITHOUT_XSAVE
        };
        self.add(0, 0, Leaf { eax: last, ..zero })?;

        let one = (self.host)(1, 0);
        let vcpus = self.config.vcpus;
        let several = vcpus > 1;
        self.add(
            1,
            0,
            Leaf {
                eax: self.config.signature.unwrap_or(one.eax),
                // CLFLUSH line size; logical processors; the APIC ID is each vCPU's own.
                ebx: one.ebx & 0xFF00 | vcpus.min(0xFF) << 16,
                ecx: one.ecx & self.mask(LEAF_1_ECX, LEAF_1_ECX_XSAVE) | X2APIC | HYPERVISOR,
                edx: one.edx & LEAF_1_EDX | if several { HTT } else { 0 },
            },
        )?;
        self.add(
            6,
            0,
            Leaf {
                eax: ARAT,
                ..Leaf::default()
            },
        )?;
        self.structured_features(zero.eax)?;
        self.topology()?;
        if self.xsave {
            self.extended_state()?;
        }
        Ok(())
    }

    fn structured_features(&mut self, last_basic: u32) -> Result<(), BuildError> {
        if last_basic < 7 {
            return Ok(());
        }
        let seven = (self.host)(7, 0);
        let has_1 = seven.eax >= 1;
        self.add(
            7,
            0,
            Leaf {
                eax: u32::from(has_1),
                ebx: seven.ebx & self.mask(LEAF_7_EBX, LEAF_7_EBX_XSAVE),
                ecx: seven.ecx & self.mask(LEAF_7_ECX, LEAF_7_ECX_XSAVE),
                edx: seven.edx & LEAF_7_EDX,
            },
        )?;
        if has_1 {
            let eax = (self.host)(7, 1).eax & self.mask(LEAF_7_1_EAX, LEAF_7_1_EAX_XSAVE);
            self.add(
                7,
                1,
                Leaf {
                    eax,
                    ..Leaf::default()
                },
            )?;
        }
        Ok(())
    }

    /// Leaf 0xB: one thread a core, all cores in one package. EDX is each vCPU's own.
    fn topology(&mut self) -> Result<(), BuildError> {
        let threads = Leaf {
            eax: 0,
            ebx: 1,
            ecx: 1 << 8,
            edx: 0,
        };
        let cores = Leaf {
            eax: self.apic_id_bits(),
            ebx: self.config.vcpus,
            ecx: 2 << 8 | 1,
            edx: 0,
        };
        self.add(0xB, 0, threads)?;
        self.add(0xB, 1, cores)
    }

    const fn apic_id_bits(&self) -> u32 {
        match self.config.vcpus {
            0 | 1 => 0,
            vcpus => (vcpus - 1).ilog2() + 1,
        }
    }

    /// Leaf 0xD, its first two subleaves once for XCR0 = 1 and once for 3, the two values that Linux looks for.
    fn extended_state(&mut self) -> Result<(), BuildError> {
        let zero = (self.host)(0xD, 0);
        let states = zero.eax & XCR0;
        let mut end = XSAVE_LEGACY;
        let avx = (self.host)(0xD, 2);
        if states & 4 != 0 {
            end = end.max(avx.eax.saturating_add(avx.ebx));
        }
        let features = (self.host)(0xD, 1).eax & LEAF_D_1_EAX;
        for xcr0 in [1, 3] {
            self.add_state(
                xcr0,
                0,
                Leaf {
                    eax: states,
                    ebx: XSAVE_LEGACY,
                    ecx: end,
                    edx: 0,
                },
            )?;
            self.add_state(
                xcr0,
                1,
                Leaf {
                    eax: features,
                    ebx: XSAVE_LEGACY,
                    ..Leaf::default()
                },
            )?;
        }
        if states & 4 != 0 {
            // ECX: bit 0, a supervisor state, is clear.
            self.add(
                0xD,
                2,
                Leaf {
                    ecx: avx.ecx & 2,
                    edx: 0,
                    ..avx
                },
            )?;
        }
        Ok(())
    }

    /// KVM's leaves: enough for Linux to use x2APIC, and with kvmclock to know the TSC's frequency.
    fn hypervisor(&mut self) -> Result<(), BuildError> {
        self.add(
            0x4000_0000,
            0,
            Leaf {
                eax: 0x4000_0001,
                ebx: u32::from_le_bytes(*b"KVMK"),
                ecx: u32::from_le_bytes(*b"VMKV"),
                edx: u32::from_le_bytes(*b"M\0\0\0"),
            },
        )?;
        let features = if self.config.kvmclock {
            FEATURE_CLOCKSOURCE2 | FEATURE_CLOCKSOURCE_STABLE
        } else {
            0
        };
        self.add(
            0x4000_0001,
            0,
            Leaf {
                eax: features,
                ..Leaf::default()
            },
        )
    }

    fn extended(&mut self) -> Result<(), BuildError> {
        let zero = (self.host)(0x8000_0000, 0);
        self.add(
            0x8000_0000,
            0,
            Leaf {
                eax: LAST_EXTENDED,
                ..zero
            },
        )?;
        let vcpus = self.config.vcpus;
        let features = (self.host)(0x8000_0001, 0);
        self.add(
            0x8000_0001,
            0,
            Leaf {
                eax: self.config.signature.unwrap_or(features.eax),
                ebx: 0,
                ecx: features.ecx & LEAF_80000001_ECX | if vcpus > 1 { CMP_LEGACY } else { 0 },
                edx: features.edx & LEAF_80000001_EDX,
            },
        )?;
        // Name, and caches and TLBs.
        for leaf in 0x8000_0002..=0x8000_0006 {
            if leaf <= zero.eax {
                let as_is = (self.host)(leaf, 0);
                self.add(leaf, 0, as_is)?;
            }
        }
        self.add(
            0x8000_0007,
            0,
            Leaf {
                edx: INVARIANT_TSC,
                ..Leaf::default()
            },
        )?;
        let clzero = if zero.eax >= 0x8000_0008 {
            (self.host)(0x8000_0008, 0).ebx & LEAF_80000008_EBX
        } else {
            0
        };
        self.add(
            0x8000_0008,
            0,
            Leaf {
                eax: u32::from(self.config.geometry.physical_bits) | 48 << 8,
                ebx: clzero,
                ecx: vcpus.saturating_sub(1) & 0xFF | self.apic_id_bits() << 12,
                edx: 0,
            },
        )?;
        self.add(0x8000_001E, 0, Leaf::default())?;
        self.add(sev::LEAF, 0, self.sev())?;
        self.add(
            LAST_EXTENDED,
            0,
            Leaf {
                eax: LEAF_80000021_EAX,
                ..Leaf::default()
            },
        )
    }

    /// The SEV leaf, which QEMU does not have.
    fn sev(&self) -> Leaf {
        let geometry = self.config.geometry;
        let reduction = u64::from(geometry.physical_bits) - u64::from(geometry.gpa_limit().ilog2());
        Leaf {
            eax: sev::EAX_SEV
                | sev::EAX_SEV_ES
                | sev::EAX_SNP
                | sev::EAX_VMPL
                | sev::EAX_RMPQUERY
                | sev::EAX_COHERENT
                | sev::EAX_RESTRICTED_INJECTION,
            ebx: u32::from(geometry.c_bit) & sev::EBX_C_BIT_MASK
                | (reduction as u32) << 6
                | (Vmpl::COUNT as u32) << 12
                | sev::EBX_COHERENCY_SFW_NO,
            ecx: 0,
            edx: 0,
        }
    }

    fn add(&mut self, leaf: u32, subleaf: u32, result: Leaf) -> Result<(), BuildError> {
        self.add_entry(leaf, subleaf, 0, result)
    }

    fn add_state(&mut self, xcr0: u64, subleaf: u32, result: Leaf) -> Result<(), BuildError> {
        self.add_entry(0xD, subleaf, xcr0, result)
    }

    fn add_entry(
        &mut self,
        leaf: u32,
        subleaf: u32,
        xcr0: u64,
        result: Leaf,
    ) -> Result<(), BuildError> {
        let count = self.page.count.get();
        let slot = self
            .page
            .entries
            .get_mut(count as usize)
            .ok_or(BuildError::TableFull { leaf, subleaf })?;
        *slot = CpuidEntry {
            eax_in: leaf.into(),
            ecx_in: subleaf.into(),
            xcr0_in: xcr0.into(),
            eax: result.eax.into(),
            ebx: result.ebx.into(),
            ecx: result.ecx.into(),
            edx: result.edx.into(),
            ..CpuidEntry::default()
        };
        self.page.count.set(count + 1);
        Ok(())
    }
}
