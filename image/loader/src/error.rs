//! What can be wrong with an image or with what the host wants to load it with. Every error prints as one line that
//! names the place, the value and what was expected.

use thiserror::Error;

/// A fault of the file, with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("IGVM file, offset {offset:#x}: {problem}")]
pub struct FileError {
    /// Where in the file: the fixed header's field, or the start of the variable header at fault.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at a place in the file. `what` names the field or structure at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum Problem {
    #[error("{what} needs {size:#x} bytes, but only {available:#x} follow")]
    TooShort {
        what: &'static str,
        size: u64,
        available: u64,
    },
    #[error("{what} is {value:#x}, expected {expected:#x}")]
    Differs {
        what: &'static str,
        value: u64,
        expected: u64,
    },
    #[error("{what} is {value:#x}, expected {expected}")]
    Value {
        what: &'static str,
        value: u64,
        expected: &'static str,
    },
    #[error("{what} is {value:#x}, expected a multiple of {alignment:#x}")]
    Misaligned {
        what: &'static str,
        value: u64,
        alignment: u64,
    },
    #[error(
        "{what} at file offset {start:#x}, {size:#x} bytes, is not within the file data {low:#x} to {high:#x}"
    )]
    OutsideFileData {
        what: &'static str,
        start: u64,
        size: u64,
        low: u64,
        high: u64,
    },
    #[error("{what} at GPA {gpa:#x}, {size:#x} bytes, reaches past the highest address {limit:#x}")]
    PastGpaLimit {
        what: &'static str,
        gpa: u64,
        size: u64,
        limit: u64,
    },
    #[error(
        "{what} at GPA {gpa:#x}, {size:#x} bytes, overlaps what an earlier header puts at {other:#x}"
    )]
    Overlap {
        what: &'static str,
        gpa: u64,
        size: u64,
        other: u64,
    },
    #[error("{what} at GPA {gpa:#x}, {size:#x} bytes, is neither in RAM nor in required memory")]
    NotInMemory {
        what: &'static str,
        gpa: u64,
        size: u64,
    },
    #[error(
        "required memory at GPA {gpa:#x}, {size:#x} bytes, is partly in the memory map's entry at {other:#x}"
    )]
    PartlyInMemoryMap { gpa: u64, size: u64, other: u64 },
    #[error("required memory at GPA {gpa:#x}, {size:#x} bytes, is not in RAM")]
    NotInRam { gpa: u64, size: u64 },
    #[error("{section} header {typ:#x} follows headers of a later section")]
    Order { typ: u32, section: &'static str },
    #[error("header type {typ:#x} is unknown and not marked as optional")]
    UnknownType { typ: u32 },
    #[error("header type {typ:#x} ({name}) is not supported")]
    Unsupported { typ: u32, name: &'static str },
    #[error(
        "compatibility mask {mask:#x} is not made of bits that platform headers declare ({declared:#x})"
    )]
    Mask { mask: u32, declared: u32 },
    #[error("there is no platform header for {platform}")]
    NoPlatform { platform: &'static str },
    #[error("{what} is nothing for the {platform} platform")]
    NotOfPlatform {
        what: &'static str,
        platform: &'static str,
    },
    #[error("there is no {what} for the platform")]
    Missing { what: &'static str },
    #[error("{what} {value:#x} appears a second time")]
    Duplicate { what: &'static str, value: u64 },
    #[error("there are more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    #[error("parameter area {index} is not declared before this header")]
    UndeclaredArea { index: u32 },
    #[error("parameter area {index} is used after it was inserted")]
    InsertedArea { index: u32 },
    #[error(
        "{what}, {size:#x} bytes, does not fit at offset {offset:#x} of parameter area {index}, which has {bytes:#x} bytes"
    )]
    DoesNotFit {
        what: &'static str,
        size: u64,
        offset: u64,
        index: u32,
        bytes: u64,
    },
    #[error("VP context is for VP {vp_index}, but there are only {vp_count}")]
    NoSuchVp { vp_index: u32, vp_count: u32 },
    #[error("no memory for {size:#x} bytes of {what}")]
    OutOfMemory { what: &'static str, size: u64 },
}

impl Problem {
    /// The problem with its place.
    pub(crate) const fn at(self, offset: u64) -> FileError {
        FileError {
            offset,
            problem: self,
        }
    }
}

/// A fault of the host's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum HostError {
    #[error("{vp_count} virtual processors, expected 1 to {limit}")]
    VpCount { vp_count: u32, limit: u32 },
    #[error("memory map entry {index} has no pages")]
    EmptyEntry { index: usize },
    #[error(
        "memory map entry {index} (page {first:#x}, {pages:#x} pages) reaches past the highest address {limit:#x}"
    )]
    EntryPastLimit {
        index: usize,
        first: u64,
        pages: u64,
        limit: u64,
    },
    #[error(
        "memory map entry {index} (page {first:#x}) starts before the end of the one before it (page {previous_end:#x})"
    )]
    EntryOrder {
        index: usize,
        first: u64,
        previous_end: u64,
    },
    #[error("the memory map has no RAM")]
    NoRam,
}

/// Why an image was not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LoadError<E> {
    /// The file is at fault; nothing was loaded.
    #[error("{0}")]
    File(#[from] FileError),
    /// The host's parameters are at fault; nothing was loaded.
    #[error("{0}")]
    Host(HostError),
    /// The machine refused, in the middle of loading.
    #[error("{0}")]
    Machine(E),
}

impl<E> From<HostError> for LoadError<E> {
    fn from(error: HostError) -> LoadError<E> {
        LoadError::Host(error)
    }
}
