//! From pages to the file: the headers, in the order that QEMU and KVM need.

use anyhow::{Context, Result};
use boot_abi::layout;
use igvm::snp_defs::SevVmsa;
use igvm::{
    IgvmDirectiveHeader, IgvmFile, IgvmInitializationHeader, IgvmPlatformHeader, IgvmRevision,
};
use igvm_defs::{
    IGVM_NATIVE_PLATFORM_VERSION, IGVM_SEV_SNP_PLATFORM_VERSION, IGVM_VHS_PARAMETER,
    IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_SUPPORTED_PLATFORM, IgvmNativeVpContextX64,
    IgvmPageDataFlags, IgvmPageDataType, IgvmPlatformType,
};
use igvm_loader::PAGE_SIZE;
use snp_abi::LAUNCH_VMSA_GPA;
use snp_abi::vmsa::Vmsa;
use zerocopy::{FromBytes, IntoBytes};

use super::pages::{Contents, Pages};

/// The platforms' bits in compatibility masks.
const SNP: u32 = 1 << 0;
const NATIVE: u32 = 1 << 1;

/// Parameter areas: index, GPA, bytes. The native platform has areas of its own, since one can be inserted only once.
const GENERAL_AREA: (u32, u64, u64) = (0, layout::GENERAL_PARAMS_GPA, PAGE_SIZE as u64);
const MEMORY_MAP_AREA: (u32, u64, u64) = (1, layout::MEMORY_MAP_GPA, layout::MEMORY_MAP_SIZE);
const MADT_AREA: (u32, u64, u64) = (2, layout::MADT_GPA, layout::MADT_SIZE);
/// All of them, by address.
pub const AREAS: [(u32, u64, u64); 3] = [GENERAL_AREA, MEMORY_MAP_AREA, MADT_AREA];

/// Index of the native platform's area, from SEV-SNP's.
const NATIVE_AREAS: u32 = AREAS.len() as u32;

/// What of an image differs from platform to platform.
#[derive(Clone, Copy)]
struct Target {
    mask: u32,
    svsm: u64,
    /// From the index of an area in [`AREAS`] to its own.
    areas: u32,
}

const SNP_TARGET: Target = Target {
    mask: SNP,
    svsm: layout::SVSM_BASE,
    areas: 0,
};
const NATIVE_TARGET: Target = Target {
    mask: NATIVE,
    svsm: layout::NATIVE_SVSM_BASE,
    areas: NATIVE_AREAS,
};

/// Makes the file.
///
/// `guest` says whether something is to run at a lower VMPL; `native` is what the native platform starts with, if the
/// image is for that, too. File data are there once, however many headers name them.
pub fn serialize(
    pages: &Pages,
    vmsa: &Vmsa,
    policy: u64,
    guest: bool,
    native: Option<(&Pages, Box<IgvmNativeVpContextX64>)>,
) -> Result<Vec<u8>> {
    let mut platforms = vec![platform(
        SNP,
        if guest { 2 } else { 0 },
        IgvmPlatformType::SEV_SNP,
        IGVM_SEV_SNP_PLATFORM_VERSION,
    )];
    let policy = IgvmInitializationHeader::GuestPolicy {
        policy,
        compatibility_mask: SNP,
    };
    let mut directives = memory_and_parameters(SNP_TARGET);
    if native.is_some() {
        // Headers of areas have no mask, so they stand before SEV-SNP's page data, like its own.
        directives.extend(memory_and_parameters(NATIVE_TARGET));
    }
    directives.extend(pages.iter().map(|(gpa, contents)| page(SNP, gpa, contents)));
    // The VMSA comes last, as with KVM.
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
    if let Some((pages, context)) = native {
        let version = IGVM_NATIVE_PLATFORM_VERSION;
        platforms.push(platform(NATIVE, 0, IgvmPlatformType::NATIVE, version));
        let native_pages = pages.iter();
        directives.extend(native_pages.map(|(gpa, contents)| page(NATIVE, gpa, contents)));
        directives.push(IgvmDirectiveHeader::X64NativeVpContext {
            compatibility_mask: NATIVE,
            vp_index: 0,
            context,
        });
    }
    let file = IgvmFile::new(IgvmRevision::V1, platforms, vec![policy], directives)
        .context("the IGVM library refuses the image")?;
    let mut bytes = Vec::new();
    file.serialize(&mut bytes)
        .context("the IGVM library cannot write the image")?;
    Ok(bytes)
}

fn platform(
    mask: u32,
    highest_vtl: u8,
    platform_type: IgvmPlatformType,
    platform_version: u16,
) -> IgvmPlatformHeader {
    IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
        compatibility_mask: mask,
        highest_vtl,
        platform_type,
        platform_version,
        shared_gpa_boundary: 0,
    })
}

/// The SVSM's memory; then parameter areas, what goes into them, and where they are inserted.
///
/// The memory comes first: QEMU makes a region of what it finds no RAM for, and must make one of all of it. Parameters come
/// before page data, because QEMU launches page data late.
fn memory_and_parameters(target: Target) -> Vec<IgvmDirectiveHeader> {
    let mut directives = vec![IgvmDirectiveHeader::RequiredMemory {
        gpa: target.svsm,
        compatibility_mask: target.mask,
        number_of_bytes: layout::SVSM_SIZE as u32,
        vtl2_protectable: false,
    }];
    let parameter = |(index, ..): (u32, u64, u64), byte_offset| IGVM_VHS_PARAMETER {
        parameter_area_index: target.areas + index,
        byte_offset,
    };
    directives.extend(AREAS.iter().map(|&(index, _, number_of_bytes)| {
        IgvmDirectiveHeader::ParameterArea {
            number_of_bytes,
            parameter_area_index: target.areas + index,
            initial_data: Vec::new(),
        }
    }));
    directives.extend([
        IgvmDirectiveHeader::VpCount(parameter(GENERAL_AREA, 0)),
        IgvmDirectiveHeader::EnvironmentInfo(parameter(GENERAL_AREA, 4)),
        IgvmDirectiveHeader::MemoryMap(parameter(MEMORY_MAP_AREA, 0)),
        IgvmDirectiveHeader::Madt(parameter(MADT_AREA, 0)),
    ]);
    directives.extend(AREAS.iter().map(|&(index, gpa, _)| {
        IgvmDirectiveHeader::ParameterInsert(IGVM_VHS_PARAMETER_INSERT {
            gpa: gpa - layout::SVSM_BASE + target.svsm,
            compatibility_mask: target.mask,
            parameter_area_index: target.areas + index,
        })
    }));
    directives
}

/// Page data: no file data for zeros, which QEMU then launches as a ZERO page.
fn page(mask: u32, gpa: u64, contents: &Contents) -> IgvmDirectiveHeader {
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
        compatibility_mask: mask,
        flags: IgvmPageDataFlags::new(),
        data_type,
        data,
    }
}
