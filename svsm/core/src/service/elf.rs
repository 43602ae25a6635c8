//! The ELF file of a service, as it is to be loaded. Not a byte of it is trusted: the launch digest says which file it is,
//! not that it is a good one.
//!
//! A service is linked to fixed addresses and brings its segments page-aligned, with rights that already keep writing and
//! execution apart. What a loader would have to do beyond that (dynamic linking, relocation, thread-local storage) is refused.

use service_abi::layout::{IMAGE_BASE, IMAGE_LIMIT, PAGE_SIZE};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most segments of a service.
pub const MAX_SEGMENTS: usize = 8;
/// Most program headers, of any type.
pub const MAX_HEADERS: u16 = 32;

/// ELF64 file header (System V ABI, "ELF Header").
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct FileHeader {
    pub ident: [u8; 16],
    pub kind: U16,
    pub machine: U16,
    pub version: U32,
    pub entry: U64,
    pub program_headers: U64,
    pub section_headers: U64,
    pub flags: U32,
    pub header_size: U16,
    pub program_header_size: U16,
    pub program_header_count: U16,
    pub section_header_size: U16,
    pub section_header_count: U16,
    pub section_names: U16,
}

/// ELF64 program header.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)]
pub struct ProgramHeader {
    pub kind: U32,
    pub flags: U32,
    pub offset: U64,
    pub virtual_address: U64,
    pub physical_address: U64,
    pub file_size: U64,
    pub memory_size: U64,
    pub alignment: U64,
}

const _: () = assert!(size_of::<FileHeader>() == 64);
const _: () = assert!(size_of::<ProgramHeader>() == 56);

/// 0x7F "ELF", 64-bit, little-endian, version 1.
pub const IDENT: [u8; 7] = [0x7F, b'E', b'L', b'F', 2, 1, 1];
/// Executable, linked to fixed addresses.
pub const ET_EXEC: u16 = 2;
/// AMD64.
pub const EM_X86_64: u16 = 62;
/// To be loaded.
pub const PT_LOAD: u32 = 1;
/// For a dynamic linker.
pub const PT_DYNAMIC: u32 = 2;
/// Names a dynamic linker.
pub const PT_INTERP: u32 = 3;
const PT_TLS: u32 = 7;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// Why a file was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ElfError {
    #[error("{bytes} bytes are too short for an ELF file")]
    Short { bytes: usize },
    #[error("not a little-endian 64-bit ELF file: it starts with {found:02x?}")]
    Ident { found: [u8; 7] },
    #[error(
        "ELF type {kind} for machine {machine}; expected {ET_EXEC} (fixed addresses) for {EM_X86_64} (x86-64)"
    )]
    Kind { kind: u16, machine: u16 },
    #[error("ELF {what} is {found:#x}; expected {expected}")]
    Header {
        what: &'static str,
        found: u64,
        expected: &'static str,
    },
    #[error("program header {index} has type {kind:#x}: a service has no {what}")]
    Unwanted {
        index: u16,
        kind: u32,
        what: &'static str,
    },
    #[error("program header {index}: {what} is {found:#x}; expected {expected}")]
    Segment {
        index: u16,
        what: &'static str,
        found: u64,
        expected: &'static str,
    },
    #[error("program header {index}: rights {flags:#x}; expected R (4), RW (6) or RX (5)")]
    Rights { index: u16, flags: u32 },
    #[error("more than {MAX_SEGMENTS} segments")]
    Segments,
    #[error("the entry point {entry:#x} is not in the file's part of an executable segment")]
    Entry { entry: u64 },
}

/// What a service may do with a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Read.
    #[default]
    ReadOnly,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
}

/// Pages of a service's image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment<'a> {
    /// First address; a page's.
    pub va: u64,
    /// The bytes from there on; what they lack of the pages is zero.
    pub file: &'a [u8],
    /// How many pages; at least one, and enough for `file`.
    pub pages: u64,
    /// The service's rights.
    pub access: Access,
}

impl Access {
    /// As an ELF file says it.
    pub const fn flags(self) -> u32 {
        match self {
            Access::ReadOnly => PF_R,
            Access::ReadWrite => PF_R | PF_W,
            Access::ReadExecute => PF_R | PF_X,
        }
    }
}

impl Segment<'_> {
    /// One past the last page.
    pub const fn end(&self) -> u64 {
        self.va + self.pages * PAGE_SIZE
    }
}

/// A file that was found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    entry: u64,
    segments: [Segment<'a>; MAX_SEGMENTS],
    count: usize,
}

impl<'a> Image<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// The first value that is not as it must be.
    pub fn parse(bytes: &'a [u8]) -> Result<Image<'a>, ElfError> {
        let (header, table) = headers(bytes)?;
        let mut image = Image {
            entry: header.entry.get(),
            segments: [Segment::default(); MAX_SEGMENTS],
            count: 0,
        };
        let mut end = IMAGE_BASE;
        for (index, entry) in (0..).zip(table) {
            let unwanted = match entry.kind.get() {
                PT_LOAD if entry.memory_size.get() != 0 || entry.file_size.get() != 0 => {
                    let segment = segment(bytes, index, entry, end)?;
                    end = segment.end();
                    let free = image.segments.get_mut(image.count);
                    *free.ok_or(ElfError::Segments)? = segment;
                    image.count += 1;
                    continue;
                }
                PT_DYNAMIC => "dynamic linking",
                PT_INTERP => "interpreter",
                PT_TLS => "thread-local storage",
                _ => continue,
            };
            return Err(ElfError::Unwanted {
                index,
                kind: entry.kind.get(),
                what: unwanted,
            });
        }
        let entry = image.entry;
        let code = |segment: Segment<'_>| {
            segment.access == Access::ReadExecute
                && (segment.va..segment.va + segment.file.len() as u64).contains(&entry)
        };
        if image.segments().any(code) {
            Ok(image)
        } else {
            Err(ElfError::Entry { entry })
        }
    }

    /// Where the service starts: in the file's part of an executable segment.
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// The segments: by ascending address, no page in two of them, all within the place of images.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + use<'a> {
        self.segments.into_iter().take(self.count)
    }
}

/// The file header and the program headers.
fn headers(bytes: &[u8]) -> Result<(&FileHeader, &[ProgramHeader]), ElfError> {
    let short = ElfError::Short { bytes: bytes.len() };
    let (header, _) = FileHeader::ref_from_prefix(bytes).map_err(|_| short)?;
    if header.ident[..7] != IDENT {
        let mut found = [0; 7];
        found.copy_from_slice(&header.ident[..7]);
        return Err(ElfError::Ident { found });
    }
    let (kind, machine) = (header.kind.get(), header.machine.get());
    if (kind, machine) != (ET_EXEC, EM_X86_64) {
        return Err(ElfError::Kind { kind, machine });
    }
    let wrong = |what, found, expected| ElfError::Header {
        what,
        found,
        expected,
    };
    let size = header.program_header_size.get();
    if usize::from(size) != size_of::<ProgramHeader>() {
        return Err(wrong("program header size", size.into(), "56"));
    }
    let count = header.program_header_count.get();
    if !(1..=MAX_HEADERS).contains(&count) {
        return Err(wrong("program header count", count.into(), "1 to 32"));
    }
    let offset = header.program_headers.get();
    let table = slice(bytes, offset, u64::from(count) * u64::from(size))
        .and_then(|table| <[ProgramHeader]>::ref_from_bytes(table).ok())
        .ok_or(wrong(
            "program header offset",
            offset,
            "a table within the file",
        ))?;
    Ok((header, table))
}

/// A header that loads something. It must lie at or after `after`.
fn segment<'a>(
    bytes: &'a [u8],
    index: u16,
    entry: &ProgramHeader,
    after: u64,
) -> Result<Segment<'a>, ElfError> {
    let wrong = |what, found, expected| ElfError::Segment {
        index,
        what,
        found,
        expected,
    };
    let (va, memory) = (entry.virtual_address.get(), entry.memory_size.get());
    if !va.is_multiple_of(PAGE_SIZE) {
        return Err(wrong("address", va, "a page's first"));
    }
    if va < after {
        let expected = "one within 0x400000 to 0x800000, after the pages of the segment before";
        return Err(wrong("address", va, expected));
    }
    // The limit is a page's, so whole pages fit if the bytes do.
    let end = va.checked_add(memory).filter(|&end| end <= IMAGE_LIMIT);
    if end.is_none() {
        let expected = "so much that the segment ends by 0x800000";
        return Err(wrong("size in memory", memory, expected));
    }
    let (offset, size) = (entry.offset.get(), entry.file_size.get());
    if size > memory {
        let expected = "no more than the size in memory";
        return Err(wrong("size in the file", size, expected));
    }
    let file = slice(bytes, offset, size).ok_or(wrong(
        "offset",
        offset,
        "one that keeps the segment within the file",
    ))?;
    let flags = entry.flags.get();
    let access = [Access::ReadOnly, Access::ReadWrite, Access::ReadExecute]
        .into_iter()
        .find(|access| access.flags() == flags)
        .ok_or(ElfError::Rights { index, flags })?;
    Ok(Segment {
        va,
        file,
        pages: memory.div_ceil(PAGE_SIZE),
        access,
    })
}

/// `size` bytes at `offset`, if the file has them.
fn slice(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let end = usize::try_from(offset.checked_add(size)?).ok()?;
    bytes.get(usize::try_from(offset).ok()?..end)
}
