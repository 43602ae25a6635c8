//! The file as a whole: fixed header, checksum, what holds between headers, and the choice of a platform.

use crate::error::{FileError, Problem};
use crate::header::{Body, Header, PlatformHeader};
use crate::reader::{aligned, expect, read};
use crate::walk::Headers;
use crate::{Platform, crc32};

/// ASCII "IGVM".
const MAGIC: u32 = igvm_defs::IGVM_MAGIC_VALUE;
/// Offsets of the fixed header's fields and its sizes in versions 1 and 2.
mod fixed {
    pub const VERSION: u64 = 4;
    pub const HEADER_OFFSET: u64 = 8;
    pub const HEADER_SIZE: u64 = 12;
    pub const FILE_SIZE: u64 = 16;
    pub const CHECKSUM: u64 = 20;
    pub const ARCHITECTURE: u64 = 24;
    pub const PAGE_SIZE: u64 = 28;
    pub const SIZE_V1: u64 = 24;
    pub const SIZE_V2: u64 = 32;
}

/// A file whose headers have all been checked one by one.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    version: u32,
    /// Where the variable headers start and end; the file data follow.
    headers_start: usize,
    headers_end: usize,
}

impl<'a> Image<'a> {
    /// Checks a file's fixed header, checksum and every variable header by itself.
    ///
    /// # Errors
    /// The first thing that is wrong. A file with one changed bit in its headers is always refused.
    pub fn parse(bytes: &'a [u8]) -> Result<Image<'a>, FileError> {
        let field = |offset: u64, what| -> Result<u32, FileError> {
            let rest = bytes.get(offset as usize..).unwrap_or(&[]);
            read::<zerocopy::little_endian::U32>(rest, offset, what).map(|value| value.get())
        };
        expect("magic", field(0, "magic")?, MAGIC, 0)?;
        let version = field(fixed::VERSION, "format version")?;
        let fixed_size = match version {
            1 => fixed::SIZE_V1,
            2 => fixed::SIZE_V2,
            _ => {
                return Err(Problem::Value {
                    what: "format version",
                    value: version.into(),
                    expected: "1 or 2",
                }
                .at(fixed::VERSION));
            }
        };
        let start = field(fixed::HEADER_OFFSET, "variable header offset")?;
        let size = field(fixed::HEADER_SIZE, "variable header size")?;
        let file_size = field(fixed::FILE_SIZE, "file size")?;
        let checksum = field(fixed::CHECKSUM, "checksum")?;
        expect("file size", file_size, bytes.len() as u64, fixed::FILE_SIZE)?;
        if u64::from(start) < fixed_size {
            return Err(Problem::Value {
                what: "variable header offset",
                value: start.into(),
                expected: "an offset after the fixed header",
            }
            .at(fixed::HEADER_OFFSET));
        }
        aligned(
            "variable header offset",
            start.into(),
            8,
            fixed::HEADER_OFFSET,
        )?;
        aligned("variable header size", size.into(), 8, fixed::HEADER_SIZE)?;
        let end = u64::from(start) + u64::from(size);
        if end > bytes.len() as u64 {
            return Err(Problem::TooShort {
                what: "the variable header section",
                size: size.into(),
                available: (bytes.len() as u64).saturating_sub(start.into()),
            }
            .at(start.into()));
        }
        let image = Image {
            bytes,
            version,
            headers_start: start as usize,
            headers_end: end as usize,
        };
        expect(
            "checksum",
            checksum,
            image.checksum(fixed_size as usize),
            fixed::CHECKSUM,
        )?;
        if version == 2 {
            let architecture = field(fixed::ARCHITECTURE, "architecture")?;
            expect("architecture", architecture, 0u32, fixed::ARCHITECTURE)?;
            let page_size = field(fixed::PAGE_SIZE, "page size")?;
            expect(
                "page size",
                page_size,
                crate::PAGE_SIZE as u64,
                fixed::PAGE_SIZE,
            )?;
        }
        image.check_headers()?;
        Ok(image)
    }

    /// CRC-32 of fixed and variable headers, the checksum field taken as zero.
    fn checksum(&self, fixed_size: usize) -> u32 {
        let at = fixed::CHECKSUM as usize;
        let part = |range: core::ops::Range<usize>| self.bytes.get(range).unwrap_or(&[]);
        let state = crc32::update(!0, part(0..at));
        let state = crc32::update(state, &[0; 4]);
        let state = crc32::update(state, part(at + 4..fixed_size));
        !crc32::update(state, part(self.headers_start..self.headers_end))
    }

    /// Walks the headers once, for what holds between them whatever the platform.
    fn check_headers(&self) -> Result<(), FileError> {
        let mut declared = 0;
        let mut types = 0u64;
        for header in self.headers() {
            let header = header?;
            if let Body::Platform(platform) = header.body {
                if declared & platform.mask != 0 {
                    return Err(Problem::Duplicate {
                        what: "platform header with compatibility mask",
                        value: platform.mask.into(),
                    }
                    .at(header.offset));
                }
                let bit = 1u64.checked_shl(platform.platform_type.into()).unwrap_or(0);
                if types & bit != 0 {
                    return Err(Problem::Duplicate {
                        what: "platform header with type",
                        value: platform.platform_type.into(),
                    }
                    .at(header.offset));
                }
                types |= bit;
                declared |= platform.mask;
            } else if let Some(mask) = header.mask
                && (mask == 0 || mask & !declared != 0)
            {
                return Err(Problem::Mask { mask, declared }.at(header.offset));
            }
        }
        Ok(())
    }

    /// All variable headers in the order of the file. After a successful [`Image::parse`] none of them is an error.
    pub fn headers(&self) -> Headers<'a> {
        Headers::new(*self, self.headers_start, self.headers_end)
    }

    /// The version of the fixed header, 1 or 2.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The whole file.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the file data start: the end of the variable headers.
    pub const fn data_start(&self) -> usize {
        self.headers_end
    }

    /// The platforms that the file declares.
    pub fn platforms(&self) -> impl Iterator<Item = PlatformHeader> + use<'a> {
        self.headers().filter_map(|header| match header {
            Ok(Header {
                body: Body::Platform(platform),
                ..
            }) => Some(platform),
            _ => None,
        })
    }

    /// Picks the headers of `platform`.
    ///
    /// # Errors
    /// The file does not declare it, or declares it in a way that is not supported (version, shared GPA boundary).
    pub fn select(&self, platform: Platform) -> Result<Selection<'a>, FileError> {
        for header in self.headers() {
            let header = header?;
            let Body::Platform(found) = header.body else {
                continue;
            };
            if found.platform_type != platform as u8 {
                continue;
            }
            expect("platform version", found.version, 1u32, header.offset)?;
            expect(
                "shared GPA boundary",
                found.shared_gpa_boundary,
                0u32,
                header.offset,
            )?;
            return Ok(Selection {
                image: *self,
                platform,
                mask: found.mask,
            });
        }
        Err(Problem::NoPlatform {
            platform: platform.name(),
        }
        .at(self.headers_start as u64))
    }
}

/// An image's headers that concern one platform.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    pub(crate) image: Image<'a>,
    pub(crate) platform: Platform,
    pub(crate) mask: u32,
}

impl<'a> Selection<'a> {
    /// The headers that concern the platform, in the order of the file: those with its bit in their compatibility
    /// mask, and those that have no mask. Platform headers are left out.
    pub fn headers(&self) -> impl Iterator<Item = Result<Header<'a>, FileError>> + use<'a> {
        let mask = self.mask;
        self.image.headers().filter(move |header| match header {
            Ok(Header {
                body: Body::Platform(_),
                ..
            }) => false,
            Ok(header) => header.mask.is_none_or(|bits| bits & mask != 0),
            Err(_) => true,
        })
    }

    /// The platform.
    pub const fn platform(&self) -> Platform {
        self.platform
    }

    /// Its bit in compatibility masks.
    pub const fn mask(&self) -> u32 {
        self.mask
    }
}
