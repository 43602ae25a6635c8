//! One variable header: its bytes turned into a typed value, checked by itself.

use igvm_defs::{
    IGVM_VHS_GUEST_POLICY, IGVM_VHS_PAGE_DATA, IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_AREA,
    IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_REQUIRED_MEMORY, IGVM_VHS_SUPPORTED_PLATFORM,
    IGVM_VHS_VP_CONTEXT, IGVM_VHT_OPTIONAL_BIT, IgvmPageDataType, IgvmVariableHeaderType as Type,
};
use zerocopy::FromBytes;

use crate::error::{FileError, Problem};
use crate::file::Image;
use crate::header::{Body, Header, PageKind, ParameterKind, PlatformHeader};
use crate::reader::{aligned, expect, read};
use crate::{MAX_PARAMETER_AREA_SIZE, PAGE_SIZE, Page};

/// Types that the format defines and that are not supported: name, and offset of the compatibility mask if there is one.
const UNSUPPORTED: &[(Type, &str, Option<usize>)] = &[
    (
        Type::IGVM_VHT_RELOCATABLE_REGION,
        "relocatable region",
        Some(0),
    ),
    (
        Type::IGVM_VHT_PAGE_TABLE_RELOCATION_REGION,
        "page table relocation",
        Some(0),
    ),
    (Type::IGVM_VHT_CCA_POLICY, "CCA policy", Some(0)),
    (Type::IGVM_VHT_SNP_ID_BLOCK, "SNP ID block", Some(0)),
    (Type::IGVM_VHT_ERROR_RANGE, "error range", Some(8)),
    (Type::IGVM_VHT_VBS_MEASUREMENT, "VBS measurement", Some(0)),
    (Type::IGVM_VHT_SRAT, "SRAT parameter", None),
    (Type::IGVM_VHT_SLIT, "SLIT parameter", None),
    (Type::IGVM_VHT_PPTT, "PPTT parameter", None),
    (Type::IGVM_VHT_MMIO_RANGES, "MMIO ranges parameter", None),
    (Type::IGVM_VHT_COMMAND_LINE, "command line parameter", None),
    (Type::IGVM_VHT_DEVICE_TREE, "device tree parameter", None),
];

/// A header in the making: its content and place.
struct Raw<'a, 'i> {
    image: &'i Image<'a>,
    content: &'a [u8],
    offset: u64,
}

impl<'a> Raw<'a, '_> {
    /// The content as a `T`, which it must fill exactly.
    fn get<T: FromBytes>(&self, what: &'static str) -> Result<T, FileError> {
        expect(
            what,
            self.content.len() as u64,
            size_of::<T>() as u64,
            self.offset,
        )?;
        read(self.content, self.offset, what)
    }

    fn zero(&self, what: &'static str, value: impl Into<u64>) -> Result<(), FileError> {
        expect(what, value, 0u64, self.offset)
    }

    fn page_aligned(&self, what: &'static str, value: u64) -> Result<(), FileError> {
        aligned(what, value, PAGE_SIZE as u64, self.offset)
    }

    /// The file data at `start`; none at 0.
    fn data(
        &self,
        what: &'static str,
        start: u32,
        size: u64,
    ) -> Result<Option<&'a [u8]>, FileError> {
        if start == 0 {
            return Ok(None);
        }
        let low = self.image.data_start() as u64;
        let high = self.image.bytes().len() as u64;
        let start = u64::from(start);
        let end = start
            .checked_add(size)
            .filter(|&end| start >= low && end <= high);
        end.and_then(|end| self.image.bytes().get(start as usize..end as usize))
            .map(Some)
            .ok_or(
                Problem::OutsideFileData {
                    what,
                    start,
                    size,
                    low,
                    high,
                }
                .at(self.offset),
            )
    }

    fn page(&self, what: &'static str, start: u32) -> Result<Option<&'a Page>, FileError> {
        Ok(self
            .data(what, start, PAGE_SIZE as u64)?
            .and_then(|data| data.try_into().ok()))
    }

    fn bad(&self, what: &'static str, value: impl Into<u64>, expected: &'static str) -> FileError {
        Problem::Value {
            what,
            value: value.into(),
            expected,
        }
        .at(self.offset)
    }
}

/// Decodes and checks one header.
pub(crate) fn decode<'a>(
    image: &Image<'a>,
    typ: u32,
    content: &'a [u8],
    offset: u64,
) -> Result<Header<'a>, FileError> {
    let raw = Raw {
        image,
        content,
        offset,
    };
    let plain = Type(typ & !IGVM_VHT_OPTIONAL_BIT);
    let (mask, body) = match plain {
        Type::IGVM_VHT_SUPPORTED_PLATFORM => platform(&raw)?,
        Type::IGVM_VHT_GUEST_POLICY => {
            let policy: IGVM_VHS_GUEST_POLICY = raw.get("size of a guest policy header")?;
            raw.zero("reserved field of a guest policy", policy.reserved)?;
            (
                Some(policy.compatibility_mask),
                Body::GuestPolicy {
                    policy: policy.policy,
                },
            )
        }
        Type::IGVM_VHT_VERSION_STRING => {
            let text = core::str::from_utf8(content).map_err(|error| {
                raw.bad(
                    "length of valid UTF-8 in the version string",
                    error.valid_up_to() as u64,
                    "all of it",
                )
            })?;
            (None, Body::VersionString(text))
        }
        Type::IGVM_VHT_PAGE_DATA => page_data(&raw)?,
        Type::IGVM_VHT_PARAMETER_AREA => parameter_area(&raw)?,
        Type::IGVM_VHT_VP_COUNT_PARAMETER => parameter(&raw, ParameterKind::VpCount)?,
        Type::IGVM_VHT_ENVIRONMENT_INFO_PARAMETER => {
            parameter(&raw, ParameterKind::EnvironmentInfo)?
        }
        Type::IGVM_VHT_MADT => parameter(&raw, ParameterKind::Madt)?,
        Type::IGVM_VHT_MEMORY_MAP => parameter(&raw, ParameterKind::MemoryMap)?,
        Type::IGVM_VHT_PARAMETER_INSERT => {
            let insert: IGVM_VHS_PARAMETER_INSERT = raw.get("size of a parameter insert header")?;
            raw.page_aligned("GPA of a parameter insert", insert.gpa)?;
            let body = Body::ParameterInsert {
                gpa: insert.gpa,
                index: insert.parameter_area_index,
            };
            (Some(insert.compatibility_mask), body)
        }
        Type::IGVM_VHT_REQUIRED_MEMORY => required_memory(&raw)?,
        Type::IGVM_VHT_VP_CONTEXT => vp_context(&raw)?,
        _ => other(&raw, typ, plain)?,
    };
    Ok(Header {
        offset,
        typ,
        mask,
        body,
    })
}

type Decoded<'a> = Result<(Option<u32>, Body<'a>), FileError>;

fn platform<'a>(raw: &Raw<'a, '_>) -> Decoded<'a> {
    let header: IGVM_VHS_SUPPORTED_PLATFORM = raw.get("size of a platform header")?;
    let mask = header.compatibility_mask;
    if mask.count_ones() != 1 {
        return Err(raw.bad("compatibility mask of a platform", mask, "a single bit"));
    }
    if !matches!(header.highest_vtl, 0 | 2) {
        return Err(raw.bad("highest VTL of a platform", header.highest_vtl, "0 or 2"));
    }
    let platform = PlatformHeader {
        mask,
        platform_type: header.platform_type.0,
        version: header.platform_version,
        highest_vtl: header.highest_vtl,
        shared_gpa_boundary: header.shared_gpa_boundary,
    };
    Ok((None, Body::Platform(platform)))
}

fn page_data<'a>(raw: &Raw<'a, '_>) -> Decoded<'a> {
    let page: IGVM_VHS_PAGE_DATA = raw.get("size of a page data header")?;
    raw.page_aligned("GPA of page data", page.gpa)?;
    raw.zero("reserved field of page data", page.reserved)?;
    raw.zero("reserved flags of page data", page.flags.reserved())?;
    if page.flags.is_2mb_page() || page.flags.shared() {
        return Err(raw.bad(
            "flags of page data",
            page.flags.into_bits(),
            "a private 4 KiB page",
        ));
    }
    let contents = raw.page("page data", page.file_offset)?;
    let unmeasured = page.flags.unmeasured();
    let kind = match page.data_type {
        IgvmPageDataType::NORMAL if unmeasured => PageKind::Unmeasured,
        IgvmPageDataType::NORMAL if contents.is_none() => PageKind::Zero,
        IgvmPageDataType::NORMAL => PageKind::Normal,
        IgvmPageDataType::SECRETS if !unmeasured => PageKind::Secrets,
        IgvmPageDataType::CPUID_DATA | IgvmPageDataType::CPUID_XF if !unmeasured => PageKind::Cpuid,
        IgvmPageDataType::SECRETS | IgvmPageDataType::CPUID_DATA | IgvmPageDataType::CPUID_XF => {
            return Err(raw.bad("unmeasured flag of a secrets or CPUID page", 1u32, "0"));
        }
        IgvmPageDataType(value) => {
            return Err(raw.bad(
                "type of page data",
                value,
                "0 (normal), 1 (secrets), 2 or 3 (CPUID)",
            ));
        }
    };
    let body = Body::PageData {
        gpa: page.gpa,
        kind,
        contents,
    };
    Ok((Some(page.compatibility_mask), body))
}

fn parameter_area<'a>(raw: &Raw<'a, '_>) -> Decoded<'a> {
    let area: IGVM_VHS_PARAMETER_AREA = raw.get("size of a parameter area header")?;
    raw.page_aligned("size of a parameter area", area.number_of_bytes)?;
    if !(1..=MAX_PARAMETER_AREA_SIZE).contains(&area.number_of_bytes) {
        return Err(raw.bad(
            "size of a parameter area",
            area.number_of_bytes,
            "0x1000 to 0x100000",
        ));
    }
    let initial = raw.data(
        "initial data of a parameter area",
        area.file_offset,
        area.number_of_bytes,
    )?;
    let body = Body::ParameterArea {
        index: area.parameter_area_index,
        bytes: area.number_of_bytes,
        initial,
    };
    Ok((None, body))
}

fn parameter<'a>(raw: &Raw<'a, '_>, kind: ParameterKind) -> Decoded<'a> {
    let parameter: IGVM_VHS_PARAMETER = raw.get("size of a parameter header")?;
    let body = Body::Parameter {
        kind,
        index: parameter.parameter_area_index,
        byte_offset: parameter.byte_offset,
    };
    Ok((None, body))
}

fn required_memory<'a>(raw: &Raw<'a, '_>) -> Decoded<'a> {
    let memory: IGVM_VHS_REQUIRED_MEMORY = raw.get("size of a required memory header")?;
    raw.page_aligned("GPA of required memory", memory.gpa)?;
    raw.page_aligned("size of required memory", memory.number_of_bytes.into())?;
    raw.zero("reserved field of required memory", memory.reserved)?;
    raw.zero("reserved flags of required memory", memory.flags.reserved())?;
    if memory.number_of_bytes == 0 {
        return Err(raw.bad("size of required memory", 0u32, "at least a page"));
    }
    let body = Body::RequiredMemory {
        gpa: memory.gpa,
        bytes: memory.number_of_bytes.into(),
    };
    Ok((Some(memory.compatibility_mask), body))
}

fn vp_context<'a>(raw: &Raw<'a, '_>) -> Decoded<'a> {
    let context: IGVM_VHS_VP_CONTEXT = raw.get("size of a VP context header")?;
    raw.page_aligned("GPA of a VP context", context.gpa.get())?;
    raw.zero("reserved field of a VP context", context.reserved)?;
    let Some(contents) = raw.page("VP context", context.file_offset)? else {
        return Err(raw.bad("file offset of a VP context", 0u32, "where its data are"));
    };
    let body = Body::VpContext {
        gpa: context.gpa.get(),
        vp_index: context.vp_index,
        contents,
    };
    Ok((Some(context.compatibility_mask), body))
}

/// A header that is not supported, or not known at all.
fn other<'a>(raw: &Raw<'a, '_>, typ: u32, plain: Type) -> Decoded<'a> {
    if typ & IGVM_VHT_OPTIONAL_BIT != 0 {
        return Ok((None, Body::Ignored));
    }
    if let Some(&(_, name, mask)) = UNSUPPORTED.iter().find(|(known, ..)| *known == plain) {
        let mask = match mask {
            Some(at) => {
                let rest = raw.content.get(at..).unwrap_or(&[]);
                let mask: zerocopy::little_endian::U32 =
                    read(rest, raw.offset, "compatibility mask")?;
                Some(mask.get())
            }
            None => None,
        };
        return Ok((mask, Body::Unsupported { name }));
    }
    Err(Problem::UnknownType { typ }.at(raw.offset))
}
