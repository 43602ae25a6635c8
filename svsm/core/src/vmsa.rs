//! VMSAs that the SVSM builds: its own APs', and the guest's first (APM vol. 2 table B-4; contract with payloads:
//! `boot_abi::entry_mode`).

use boot_abi::{GuestImage, entry_mode};
use snp_abi::msr::EFER_SVME;
use snp_abi::vmsa::{DR6_RESET, DR7_RESET, FCW_INIT, G_PAT_RESET, MXCSR_RESET, Segment, Vmsa};
use snp_abi::{SevFeatures, Vmpl};
use zerocopy::FromZeros;

/// CR0: protection enabled.
const CR0_PE: u64 = 1;
/// CR0: extension type, always one.
const CR0_ET: u64 = 1 << 4;
/// CR0 after INIT: caches off, as firmware expects to find them.
const CR0_RESET: u64 = 0x6000_0010;

/// Attributes of segments, packed as in a VMSA.
mod attributes {
    /// 64-bit code, accessed.
    pub const CODE_64: u16 = 0xA9B;
    /// 32-bit code, flat, accessed.
    pub const CODE_32: u16 = 0xC9B;
    /// 32-bit data, flat, accessed.
    pub const DATA_32: u16 = 0xC93;
    /// 16-bit code.
    pub const CODE_16: u16 = 0x9B;
    /// 16-bit data.
    pub const DATA_16: u16 = 0x93;
    /// LDT.
    pub const LDT: u16 = 0x82;
    /// Busy TSS.
    pub const TSS: u16 = 0x8B;
}

/// Selectors of a flat 32-bit guest, in the GDT that it would have had to load.
const FLAT_CODE: u16 = 0x08;
const FLAT_DATA: u16 = 0x10;

/// Everything that the VMSAs here have in common.
fn common(vmpl: Vmpl, features: SevFeatures) -> Vmsa {
    let mut vmsa = Vmsa::new_zeroed();
    let table = Segment::new(0, 0, 0xFFFF, 0);
    vmsa.gdtr = table;
    vmsa.idtr = table;
    vmsa.ldtr = Segment::new(0, attributes::LDT, 0xFFFF, 0);
    vmsa.tr = Segment::new(0, attributes::TSS, 0xFFFF, 0);
    vmsa.vmpl = vmpl as u8;
    vmsa.efer = EFER_SVME.into();
    vmsa.dr6 = DR6_RESET.into();
    vmsa.dr7 = DR7_RESET.into();
    vmsa.rflags = 2.into();
    vmsa.g_pat = G_PAT_RESET.into();
    vmsa.xcr0 = 1.into();
    vmsa.mxcsr = MXCSR_RESET.into();
    vmsa.x87_fcw = FCW_INIT.into();
    vmsa.sev_features = features.bits().into();
    vmsa
}

/// SEV features of the guest's VMPL: the SVSM's own, except for what governs how events are injected (the hypervisor
/// injects into an unmodified guest as usual) and debug registers.
pub fn guest_features(own: SevFeatures) -> SevFeatures {
    own.difference(
        SevFeatures::RESTRICTED_INJECTION
            | SevFeatures::ALTERNATE_INJECTION
            | SevFeatures::DEBUG_SWAP,
    )
}

/// Where a guest starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestStart {
    /// Flat 32-bit protected mode: EIP, and EBX.
    Flat32 {
        /// First instruction.
        entry: u32,
        /// GPA of its parameters, in EBX.
        params: u32,
    },
    /// Real mode at the reset vector.
    ResetVector,
}

impl GuestStart {
    /// From the measured parameters; `None` when there is no guest.
    pub fn from_image(image: &GuestImage) -> Result<Option<GuestStart>, GuestStartError> {
        let mode = image.entry_mode.get();
        let below_4g = |name, value: u64| {
            u32::try_from(value).map_err(|_| GuestStartError::Address { name, value })
        };
        match mode {
            entry_mode::NONE => Ok(None),
            entry_mode::FLAT_32 => Ok(Some(GuestStart::Flat32 {
                entry: below_4g("entry", image.entry.get())?,
                params: below_4g("parameters", image.params_gpa.get())?,
            })),
            entry_mode::RESET_VECTOR => Ok(Some(GuestStart::ResetVector)),
            _ => Err(GuestStartError::Mode { mode }),
        }
    }

    /// The guest's first VMSA.
    pub fn vmsa(self, features: SevFeatures) -> Vmsa {
        let mut vmsa = common(Vmpl::Vmpl2, features);
        let data = match self {
            GuestStart::Flat32 { entry, params } => {
                vmsa.cs = Segment::new(FLAT_CODE, attributes::CODE_32, u32::MAX, 0);
                vmsa.cr0 = (CR0_PE | CR0_ET).into();
                vmsa.rip = u64::from(entry).into();
                vmsa.rbx = u64::from(params).into();
                Segment::new(FLAT_DATA, attributes::DATA_32, u32::MAX, 0)
            }
            GuestStart::ResetVector => {
                vmsa.cs = Segment::new(0xF000, attributes::CODE_16, 0xFFFF, 0xFFFF_0000);
                vmsa.cr0 = CR0_RESET.into();
                vmsa.rip = 0xFFF0.into();
                Segment::new(0, attributes::DATA_16, 0xFFFF, 0)
            }
        };
        for segment in [
            &mut vmsa.ds,
            &mut vmsa.es,
            &mut vmsa.ss,
            &mut vmsa.fs,
            &mut vmsa.gs,
        ] {
            *segment = data;
        }
        vmsa
    }
}

/// Why the guest cannot be started as the image says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum GuestStartError {
    #[error(
        "boot parameters: guest entry mode {mode} is not known (0 none, 1 flat 32-bit, 2 reset vector)"
    )]
    Mode { mode: u32 },
    #[error("boot parameters: guest {name} {value:#x} is not below 4 GiB")]
    Address { name: &'static str, value: u64 },
}

/// Processor state in which an AP of the SVSM starts: the boot processor's, on a stack and a per-CPU area of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ApStart {
    pub rip: u64,
    pub rsp: u64,
    /// First argument of the function at `rip`.
    pub rdi: u64,
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub gs_base: u64,
    /// Base and limit.
    pub gdt: (u64, u32),
    pub idt: (u64, u32),
    /// Selector, base and limit.
    pub tss: (u16, u64, u32),
    pub code_selector: u16,
    pub data_selector: u16,
}

impl ApStart {
    /// The AP's VMSA.
    pub fn vmsa(&self, features: SevFeatures) -> Vmsa {
        let mut vmsa = common(Vmpl::Vmpl0, features);
        vmsa.ss = Segment::new(self.data_selector, attributes::DATA_32, u32::MAX, 0);
        vmsa.cs = Segment::new(self.code_selector, attributes::CODE_64, u32::MAX, 0);
        // The others are null, as on the boot processor: ring 3 finds no selector of the kernel's.
        vmsa.gs = Segment::new(0, 0, 0, self.gs_base);
        vmsa.gdtr = Segment::new(0, 0, self.gdt.1, self.gdt.0);
        vmsa.idtr = Segment::new(0, 0, self.idt.1, self.idt.0);
        vmsa.tr = Segment::new(self.tss.0, attributes::TSS, self.tss.2, self.tss.1);
        vmsa.efer = (self.efer | EFER_SVME).into();
        vmsa.cr0 = self.cr0.into();
        vmsa.cr3 = self.cr3.into();
        vmsa.cr4 = self.cr4.into();
        vmsa.rip = self.rip.into();
        vmsa.rsp = self.rsp.into();
        vmsa.rdi = self.rdi.into();
        vmsa
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn at(vmsa: &Vmsa, offset: usize) -> u64 {
        u64::from_le_bytes(vmsa.as_bytes()[offset..offset + 8].try_into().unwrap())
    }

    #[test]
    fn the_guest_takes_no_injection_features_over() {
        let own =
            SevFeatures::SNP_ACTIVE | SevFeatures::RESTRICTED_INJECTION | SevFeatures::DEBUG_SWAP;
        assert_eq!(guest_features(own), SevFeatures::SNP_ACTIVE);
    }

    #[test]
    fn a_flat_guest_starts_without_paging_and_with_its_parameters_in_ebx() {
        let start = GuestStart::Flat32 {
            entry: 0x82_0000,
            params: 0x80_0000,
        };
        let vmsa = start.vmsa(SevFeatures::SNP_ACTIVE);
        assert_eq!(at(&vmsa, 0x10), 0xFFFF_FFFF_0C9B_0008); // CS
        assert_eq!(at(&vmsa, 0x30), 0xFFFF_FFFF_0C93_0010); // DS
        assert_eq!(at(&vmsa, 0xC8) >> 16 & 0xFF, 2); // VMPL
        assert_eq!(at(&vmsa, 0xD0), 0x1000); // EFER
        assert_eq!(at(&vmsa, 0x148), 0); // CR4
        assert_eq!(at(&vmsa, 0x158), 0x11); // CR0
        assert_eq!(at(&vmsa, 0x160), 0x400); // DR7
        assert_eq!(at(&vmsa, 0x168), 0xFFFF_0FF0); // DR6
        assert_eq!(at(&vmsa, 0x170), 2); // RFLAGS
        assert_eq!(at(&vmsa, 0x178), 0x82_0000); // RIP
        assert_eq!(at(&vmsa, 0x318), 0x80_0000); // RBX
        assert_eq!(at(&vmsa, 0x3B0), 1); // SEV_FEATURES
        assert_eq!(at(&vmsa, 0x3E8), 1); // XCR0
    }

    #[test]
    fn firmware_starts_at_the_reset_vector() {
        let vmsa = GuestStart::ResetVector.vmsa(SevFeatures::SNP_ACTIVE);
        assert_eq!(at(&vmsa, 0x10), 0xFFFF_009B_F000); // CS
        assert_eq!(at(&vmsa, 0x18), 0xFFFF_0000); // its base
        assert_eq!(at(&vmsa, 0x30), 0xFFFF_0093_0000); // DS
        assert_eq!(at(&vmsa, 0x70), 0xFFFF_0082_0000); // LDTR
        assert_eq!(at(&vmsa, 0x90), 0xFFFF_008B_0000); // TR
        assert_eq!(at(&vmsa, 0x158), 0x6000_0010); // CR0
        assert_eq!(at(&vmsa, 0x178), 0xFFF0); // RIP
    }

    #[test]
    fn entry_modes_are_checked() {
        let mut image = GuestImage::new_zeroed();
        assert_eq!(GuestStart::from_image(&image), Ok(None));
        image.entry_mode = 1.into();
        image.entry = (1u64 << 32).into();
        assert_eq!(
            GuestStart::from_image(&image),
            Err(GuestStartError::Address {
                name: "entry",
                value: 1 << 32
            })
        );
        image.entry_mode = 3.into();
        assert_eq!(
            GuestStart::from_image(&image),
            Err(GuestStartError::Mode { mode: 3 })
        );
    }
}
