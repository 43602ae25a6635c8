//! What a variable header says, as typed values.

use launch_digest::PageType;

use crate::Page;

/// A variable header.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its type with the optional bit, as in the file (IGVM_VHT_*).
    pub typ: u32,
    /// Its compatibility mask, if the type has one.
    pub mask: Option<u32>,
    /// Its content.
    pub body: Body<'a>,
}

/// A variable header's content.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Body<'a> {
    /// A supported platform.
    Platform(PlatformHeader),
    /// The guest policy of SNP_LAUNCH_START.
    GuestPolicy { policy: u64 },
    /// A page to be launched. No contents: the page is zero, or filled by the firmware.
    PageData {
        gpa: u64,
        kind: PageKind,
        contents: Option<&'a Page>,
    },
    /// A buffer for parameters, with its initial contents (else zeros).
    ParameterArea {
        index: u32,
        bytes: u64,
        initial: Option<&'a [u8]>,
    },
    /// A parameter that the host writes into an area.
    Parameter {
        kind: ParameterKind,
        index: u32,
        byte_offset: u32,
    },
    /// An area to be launched as unmeasured pages.
    ParameterInsert { gpa: u64, index: u32 },
    /// Memory that must exist.
    RequiredMemory { gpa: u64, bytes: u64 },
    /// A virtual processor's first state: on SEV-SNP a VMSA.
    VpContext {
        gpa: u64,
        vp_index: u16,
        contents: &'a Page,
    },
    /// The version of the image, for humans.
    VersionString(&'a str),
    /// A header that the format defines and this loader does not support; refused at loading if it concerns the
    /// platform.
    Unsupported { name: &'static str },
    /// A header that is unknown or not supported, and marked as optional.
    Ignored,
}

/// A platform header (IGVM_VHS_SUPPORTED_PLATFORM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformHeader {
    /// One bit, by which other headers name the platform.
    pub mask: u32,
    /// Platform type: see [`crate::Platform`]; others are possible.
    pub platform_type: u8,
    /// Platform version.
    pub version: u16,
    /// Highest virtual trust level, 0 or 2.
    pub highest_vtl: u8,
    /// First GPA that is shared, or 0.
    pub shared_gpa_boundary: u64,
}

/// How a page is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Given contents, measured.
    Normal,
    /// Zeros, made by the firmware; the contents are not measured.
    Zero,
    /// Given contents, not measured: parameters and page data with the unmeasured flag.
    Unmeasured,
    /// The secrets page.
    Secrets,
    /// The CPUID page.
    Cpuid,
}

impl PageKind {
    /// The page type of SNP_LAUNCH_UPDATE.
    pub const fn snp_page_type(self) -> PageType {
        match self {
            PageKind::Normal => PageType::Normal,
            PageKind::Zero => PageType::Zero,
            PageKind::Unmeasured => PageType::Unmeasured,
            PageKind::Secrets => PageType::Secrets,
            PageKind::Cpuid => PageType::Cpuid,
        }
    }
}

/// The parameters that this loader provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Number of virtual processors, a u32.
    VpCount,
    /// A u32; bit 0: memory starts out shared.
    EnvironmentInfo,
    /// The ACPI table MADT.
    Madt,
    /// An array of [`crate::MemoryMapEntry`], followed by a zero entry where there is room.
    MemoryMap,
}

impl ParameterKind {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            ParameterKind::VpCount => "VP count",
            ParameterKind::EnvironmentInfo => "environment info",
            ParameterKind::Madt => "MADT",
            ParameterKind::MemoryMap => "memory map",
        }
    }
}
