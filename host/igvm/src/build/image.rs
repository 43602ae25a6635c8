//! From pages to the file: the headers, in the order that QEMU and KVM need.

use anyhow::{Context, Result};
use boot_abi::layout;
use igvm::snp_defs::SevVmsa;
use igvm::{
    IgvmDirectiveHeader, IgvmFile, IgvmInitializationHeader, IgvmPlatformHeader, IgvmRevision,
};
use igvm_defs::{
    IGVM_SEV_SNP_PLATFORM_VERSION, IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_INSERT,
    IGVM_VHS_SUPPORTED_PLATFORM, IgvmPageDataFlags, IgvmPageDataType, IgvmPlatformType,
};
use igvm_loader::PAGE_SIZE;
use snp_abi::LAUNCH_VMSA_GPA;
use snp_abi::vmsa::Vmsa;
use zerocopy::{FromBytes, IntoBytes};

use super::pages::{Contents, Pages};

/// The SEV-SNP platform's bit in compatibility masks. Every directive carries it, so that headers of further platforms
/// can stand beside them.
const SNP: u32 = 1 << 0;

/// Parameter areas: index, GPA, bytes.
const GENERAL_AREA: (u32, u64, u64) = (0, layout::GENERAL_PARAMS_GPA, PAGE_SIZE as u64);
const MEMORY_MAP_AREA: (u32, u64, u64) = (1, layout::MEMORY_MAP_GPA, layout::MEMORY_MAP_SIZE);
const MADT_AREA: (u32, u64, u64) = (2, layout::MADT_GPA, layout::MADT_SIZE);
/// All of them, by address.
pub const AREAS: [(u32, u64, u64); 3] = [GENERAL_AREA, MEMORY_MAP_AREA, MADT_AREA];

/// Makes the file.
///
/// `guest` says whether something is to run at a lower VMPL.
pub fn serialize(pages: &Pages, vmsa: &Vmsa, policy: u64, guest: bool) -> Result<Vec<u8>> {
    let platform = IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
        compatibility_mask: SNP,
        highest_vtl: if guest { 2 } else { 0 },
        platform_type: IgvmPlatformType::SEV_SNP,
        platform_version: IGVM_SEV_SNP_PLATFORM_VERSION,
        shared_gpa_boundary: 0,
    });
    let policy = IgvmInitializationHeader::GuestPolicy {
        policy,
        compatibility_mask: SNP,
    };
    // The SVSM's memory comes first: QEMU makes a region of what it finds no RAM for, and must make one of all of it.
    // Parameters come before page data, because QEMU launches page data late. The VMSA comes last, as with KVM.
    let mut directives = vec![IgvmDirectiveHeader::RequiredMemory {
        gpa: layout::SVSM_BASE,
        compatibility_mask: SNP,
        number_of_bytes: layout::SVSM_SIZE as u32,
        vtl2_protectable: false,
    }];
    directives.extend(parameters());
    directives.extend(pages.iter().map(|(gpa, contents)| page(gpa, contents)));
    directives.push(IgvmDirectiveHeader::SnpVpContext {
        gpa: LAUNCH_VMSA_GPA,
        compatibility_mask: SNP,
        vp_index: 0,
        vmsa: Box::new(
            SevVmsa::read_from_bytes(vmsa.as_bytes())
                .ok()
                .context("a VMSA is a page")?,
        ),
    });
    let file = IgvmFile::new(IgvmRevision::V1, vec![platform], vec![policy], directives)
        .context("the IGVM library refuses the image")?;
    let mut bytes = Vec::new();
    file.serialize(&mut bytes)
        .context("the IGVM library cannot write the image")?;
    Ok(bytes)
}

/// Parameter areas, what goes into them, and where they are inserted.
fn parameters() -> Vec<IgvmDirectiveHeader> {
    let parameter = |(index, ..): (u32, u64, u64), byte_offset| IGVM_VHS_PARAMETER {
        parameter_area_index: index,
        byte_offset,
    };
    let mut directives: Vec<_> = AREAS
        .iter()
        .map(|&(index, _, bytes)| IgvmDirectiveHeader::ParameterArea {
            number_of_bytes: bytes,
            parameter_area_index: index,
            initial_data: Vec::new(),
        })
        .collect();
    directives.extend([
        IgvmDirectiveHeader::VpCount(parameter(GENERAL_AREA, 0)),
        IgvmDirectiveHeader::EnvironmentInfo(parameter(GENERAL_AREA, 4)),
        IgvmDirectiveHeader::MemoryMap(parameter(MEMORY_MAP_AREA, 0)),
        IgvmDirectiveHeader::Madt(parameter(MADT_AREA, 0)),
    ]);
    directives.extend(AREAS.iter().map(|&(index, gpa, _)| {
        IgvmDirectiveHeader::ParameterInsert(IGVM_VHS_PARAMETER_INSERT {
            gpa,
            compatibility_mask: SNP,
            parameter_area_index: index,
        })
    }));
    directives
}

/// Page data: no file data for zeros, which QEMU then launches as a ZERO page.
fn page(gpa: u64, contents: &Contents) -> IgvmDirectiveHeader {
    let (data_type, data) = match contents {
        Contents::Data(page) if page.iter().all(|&byte| byte == 0) => {
            (IgvmPageDataType::NORMAL, Vec::new())
        }
        Contents::Data(page) => (IgvmPageDataType::NORMAL, page.to_vec()),
        Contents::Cpuid => (IgvmPageDataType::CPUID_DATA, Vec::new()),
        Contents::Secrets => (IgvmPageDataType::SECRETS, Vec::new()),
    };
    IgvmDirectiveHeader::PageData {
        gpa,
        compatibility_mask: SNP,
        flags: IgvmPageDataFlags::new(),
        data_type,
        data,
    }
}
