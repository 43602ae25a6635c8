//! Loading: the checks between headers, and the calls that a machine gets.

use alloc::vec::Vec;
use core::convert::Infallible;

use igvm_defs::MemoryMapEntryType;
use launch_digest::{LaunchDigest, PageType};
use zerocopy::IntoBytes;

use crate::error::{FileError, HostError, LoadError, Problem};
use crate::file::Selection;
use crate::header::{Body, Header, PageKind, ParameterKind};
use crate::ranges::Ranges;
use crate::{
    MAX_PARAMETER_AREAS, MAX_REQUIRED_RANGES, MAX_VP_COUNT, MemoryMapEntry, PAGE_SIZE, Page,
    Platform,
};

/// Pages are at most this far up: 52 bits of address, the most that x86-64 has.
const GPA_LIMIT: u64 = 1 << 52;
const PAGE: u64 = PAGE_SIZE as u64;
const ZEROS: Page = [0; PAGE_SIZE];

/// What the host offers to the guest.
#[derive(Clone, Copy, Debug)]
pub struct HostParameters<'a> {
    /// Number of virtual processors, 1 to [`MAX_VP_COUNT`].
    pub vp_count: u32,
    /// The guest's memory: ascending, without overlaps. Required memory that is not in it is the machine's to provide.
    pub memory_map: &'a [MemoryMapEntry],
    /// The ACPI table MADT.
    pub madt: &'a [u8],
    /// Whether memory that is not launched starts out shared.
    pub memory_is_shared: bool,
    /// One past the highest guest-physical address that memory may have.
    pub gpa_limit: u64,
}

/// The machine that an image is loaded into. The calls come in the order of the file's directives, which is the order
/// of measurement, and only after the whole image was found to be good. The first error ends the loading.
pub trait Machine {
    /// Why the machine refuses.
    type Error;

    /// The guest policy; always the first call on SEV-SNP (there is exactly one).
    fn guest_policy(&mut self, policy: u64) -> Result<(), Self::Error>;

    /// `bytes` of memory at `gpa` must exist. The range is either within one RAM entry of the memory map or outside of
    /// every entry; in the second case the machine provides the memory. Not measured.
    fn required_memory(&mut self, gpa: u64, bytes: u64) -> Result<(), Self::Error>;

    /// Launches the page at `gpa`, which is within RAM or required memory and was not launched before. `contents` are
    /// zeros for [`PageKind::Zero`]; for [`PageKind::Secrets`] and [`PageKind::Cpuid`] they are the file's suggestion,
    /// mostly zeros.
    fn page(&mut self, gpa: u64, kind: PageKind, contents: &Page) -> Result<(), Self::Error>;

    /// A virtual processor's first state. On SEV-SNP `contents` are a VMSA to be launched at `gpa`, which need not be
    /// memory.
    fn vp_context(&mut self, vp_index: u16, gpa: u64, contents: &Page) -> Result<(), Self::Error>;
}

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Calls of [`Machine::page`] for page data.
    pub pages: u64,
    /// Calls of [`Machine::page`] for parameters.
    pub parameter_pages: u64,
    /// Calls of [`Machine::vp_context`].
    pub vp_contexts: u64,
}

impl Selection<'_> {
    /// Checks the image against the host's parameters, then loads it into `machine`.
    ///
    /// # Errors
    /// With [`LoadError::File`] and [`LoadError::Host`] the machine has got no call.
    pub fn load<M: Machine>(
        &self,
        host: &HostParameters<'_>,
        machine: &mut M,
    ) -> Result<Summary, LoadError<M::Error>> {
        check_host(host)?;
        self.drive(Some(host), &mut Nothing)
            .map_err(|error| match error {
                LoadError::File(error) => LoadError::File(error),
                LoadError::Host(error) => LoadError::Host(error),
                LoadError::Machine(never) => match never {},
            })?;
        self.drive(Some(host), machine)
    }

    /// The digest that the firmware has computed once the image is loaded, whatever the host's parameters: those are
    /// not measured.
    ///
    /// # Errors
    /// What is wrong with the file, as far as the host's parameters do not decide it.
    pub fn launch_digest(&self) -> Result<LaunchDigest, FileError> {
        let mut digest = LaunchDigest::new();
        match self.drive(None, &mut digest) {
            Ok(_) => Ok(digest),
            Err(LoadError::File(error)) => Err(error),
            // Without host parameters there is nobody else to blame; the machine cannot fail.
            Err(LoadError::Host(_)) => Ok(digest),
            Err(LoadError::Machine(never)) => match never {},
        }
    }

    /// Walks the headers, checks them against each other and the host, and calls the machine.
    fn drive<M: Machine>(
        &self,
        host: Option<&HostParameters<'_>>,
        machine: &mut M,
    ) -> Result<Summary, LoadError<M::Error>> {
        let memory = self.memory(host)?;
        self.check_policy()?;
        let mut state = Loading {
            host,
            memory,
            platform: self.platform,
            claimed: Ranges::default(),
            areas: Vec::new(),
            contexts: [0; 4],
            summary: Summary::default(),
        };
        for header in self.headers() {
            state.header(&header?, machine)?;
        }
        if state.summary.vp_contexts == 0 {
            return Err(Problem::Missing { what: "VP context" }
                .at(self.image.data_start() as u64)
                .into());
        }
        Ok(state.summary)
    }

    /// The required memory, checked against the host's memory map.
    fn memory(&self, host: Option<&HostParameters<'_>>) -> Result<Vec<(u64, u64)>, FileError> {
        let limit = host.map_or(GPA_LIMIT, |host| host.gpa_limit);
        let mut required = Vec::new();
        for header in self.headers() {
            let Header {
                offset,
                body: Body::RequiredMemory { gpa, bytes },
                ..
            } = header?
            else {
                continue;
            };
            let end = end_of("required memory", gpa, bytes, limit)
                .map_err(|problem| problem.at(offset))?;
            let entries = host.map_or(&[][..], |host| host.memory_map);
            let partly = entries.iter().find(|&entry| {
                let (start, entry_end) = bounds(entry);
                let within = entry.entry_type == MemoryMapEntryType::MEMORY
                    && start <= gpa
                    && end <= entry_end;
                gpa < entry_end && start < end && !within
            });
            if let Some(entry) = partly {
                let other = bounds(entry).0;
                return Err(Problem::PartlyInMemoryMap {
                    gpa,
                    size: bytes,
                    other,
                }
                .at(offset));
            }
            if required.len() == MAX_REQUIRED_RANGES {
                return Err(Problem::TooMany {
                    what: "ranges of required memory",
                    limit: MAX_REQUIRED_RANGES,
                }
                .at(offset));
            }
            if let Some(&(other, _)) = required
                .iter()
                .find(|&&(start, other_end)| gpa < other_end && start < end)
            {
                return Err(Problem::Overlap {
                    what: "required memory",
                    gpa,
                    size: bytes,
                    other,
                }
                .at(offset));
            }
            push(&mut required, (gpa, end)).map_err(|problem| problem.at(offset))?;
        }
        Ok(required)
    }

    /// SEV-SNP: there is exactly one policy, with the bit that must be one (56860 §4.3).
    fn check_policy(&self) -> Result<(), FileError> {
        if self.platform != Platform::SevSnp {
            return Ok(());
        }
        let mut found = false;
        for header in self.headers() {
            let Header {
                offset,
                body: Body::GuestPolicy { policy },
                ..
            } = header?
            else {
                continue;
            };
            if found {
                return Err(Problem::Duplicate {
                    what: "guest policy",
                    value: policy,
                }
                .at(offset));
            }
            if policy & 1 << 17 == 0 {
                return Err(Problem::Value {
                    what: "guest policy",
                    value: policy,
                    expected: "bit 17 to be set",
                }
                .at(offset));
            }
            found = true;
        }
        if found {
            Ok(())
        } else {
            Err(Problem::Missing {
                what: "guest policy",
            }
            .at(self.image.data_start() as u64))
        }
    }
}

/// The state of a walk over the directives.
struct Loading<'h, 'm> {
    host: Option<&'h HostParameters<'m>>,
    /// Required memory, start and end.
    memory: Vec<(u64, u64)>,
    platform: Platform,
    /// What has been launched.
    claimed: Ranges,
    areas: Vec<Area>,
    /// The VPs that have a context, a bit each.
    contexts: [u64; 4],
    summary: Summary,
}

/// A parameter area; no buffer after it was inserted.
struct Area {
    index: u32,
    buffer: Option<Vec<u8>>,
}

impl Loading<'_, '_> {
    fn header<M: Machine>(
        &mut self,
        header: &Header<'_>,
        machine: &mut M,
    ) -> Result<(), LoadError<M::Error>> {
        let at = |problem: Problem| problem.at(header.offset);
        match header.body {
            Body::GuestPolicy { policy } => {
                machine.guest_policy(policy).map_err(LoadError::Machine)?
            }
            Body::RequiredMemory { gpa, bytes } => {
                machine
                    .required_memory(gpa, bytes)
                    .map_err(LoadError::Machine)?;
            }
            Body::PageData {
                gpa,
                kind,
                contents,
            } => {
                self.claim("page data", gpa, PAGE).map_err(at)?;
                machine
                    .page(gpa, kind, contents.unwrap_or(&ZEROS))
                    .map_err(LoadError::Machine)?;
                self.summary.pages += 1;
            }
            Body::ParameterArea {
                index,
                bytes,
                initial,
            } => self.declare(index, bytes, initial).map_err(at)?,
            Body::Parameter {
                kind,
                index,
                byte_offset,
            } => self.parameter(kind, index, byte_offset).map_err(at)?,
            Body::ParameterInsert { gpa, index } => {
                let buffer = self.insert(gpa, index).map_err(at)?;
                let (pages, _) = buffer.as_chunks::<PAGE_SIZE>();
                for (gpa, page) in (gpa..).step_by(PAGE_SIZE).zip(pages) {
                    machine
                        .page(gpa, PageKind::Unmeasured, page)
                        .map_err(LoadError::Machine)?;
                    self.summary.parameter_pages += 1;
                }
            }
            Body::VpContext {
                gpa,
                vp_index,
                contents,
            } => {
                self.context(gpa, vp_index).map_err(at)?;
                machine
                    .vp_context(vp_index, gpa, contents)
                    .map_err(LoadError::Machine)?;
                self.summary.vp_contexts += 1;
            }
            Body::Unsupported { name } => {
                return Err(at(Problem::Unsupported {
                    typ: header.typ,
                    name,
                })
                .into());
            }
            Body::Platform(_) | Body::VersionString(_) | Body::Ignored => {}
        }
        Ok(())
    }

    /// Notes a launched range, which must be new and in memory.
    fn claim(&mut self, what: &'static str, gpa: u64, size: u64) -> Result<(), Problem> {
        let limit = self.host.map_or(GPA_LIMIT, |host| host.gpa_limit);
        let end = end_of(what, gpa, size, limit)?;
        if let Some(host) = self.host {
            let in_ram = host.memory_map.iter().any(|entry| {
                let (start, entry_end) = bounds(entry);
                entry.entry_type == MemoryMapEntryType::MEMORY && start <= gpa && end <= entry_end
            });
            let required = self
                .memory
                .iter()
                .any(|&(start, range_end)| start <= gpa && end <= range_end);
            if !in_ram && !required {
                return Err(Problem::NotInMemory { what, gpa, size });
            }
        }
        self.claimed.add(what, gpa, end)
    }

    fn declare(&mut self, index: u32, bytes: u64, initial: Option<&[u8]>) -> Result<(), Problem> {
        if self.areas.iter().any(|area| area.index == index) {
            return Err(Problem::Duplicate {
                what: "parameter area",
                value: index.into(),
            });
        }
        if self.areas.len() == MAX_PARAMETER_AREAS {
            return Err(Problem::TooMany {
                what: "parameter areas",
                limit: MAX_PARAMETER_AREAS,
            });
        }
        let mut buffer = Vec::new();
        let no_memory = Problem::OutOfMemory {
            what: "a parameter area",
            size: bytes,
        };
        buffer
            .try_reserve_exact(bytes as usize)
            .map_err(|_| no_memory)?;
        match initial {
            Some(initial) => buffer.extend_from_slice(initial),
            None => buffer.resize(bytes as usize, 0),
        }
        push(
            &mut self.areas,
            Area {
                index,
                buffer: Some(buffer),
            },
        )
    }

    /// The buffer of an area that is declared and not yet inserted.
    fn area(&mut self, index: u32) -> Result<&mut Option<Vec<u8>>, Problem> {
        let area = self.areas.iter_mut().find(|area| area.index == index);
        match area {
            None => Err(Problem::UndeclaredArea { index }),
            Some(area) if area.buffer.is_none() => Err(Problem::InsertedArea { index }),
            Some(area) => Ok(&mut area.buffer),
        }
    }

    fn parameter(
        &mut self,
        kind: ParameterKind,
        index: u32,
        byte_offset: u32,
    ) -> Result<(), Problem> {
        let host = self.host;
        let Some(buffer) = self.area(index)? else {
            return Err(Problem::InsertedArea { index });
        };
        let mut at = byte_offset as usize;
        let mut put = |bytes: &[u8], size: usize| {
            let area_bytes = buffer.len() as u64;
            let place = at
                .checked_add(bytes.len())
                .and_then(|end| buffer.get_mut(at..end));
            at += bytes.len();
            place
                .map(|place| place.copy_from_slice(bytes))
                .ok_or(Problem::DoesNotFit {
                    what: kind.name(),
                    size: size as u64,
                    offset: byte_offset.into(),
                    index,
                    bytes: area_bytes,
                })
        };
        let Some(host) = host else {
            // Only whether the place is in the area at all can be told.
            let least = match kind {
                ParameterKind::VpCount | ParameterKind::EnvironmentInfo => 4,
                ParameterKind::Madt | ParameterKind::MemoryMap => 0,
            };
            return put(&ZEROS[..least], least);
        };
        match kind {
            ParameterKind::VpCount => put(&host.vp_count.to_le_bytes(), 4),
            ParameterKind::EnvironmentInfo => {
                put(&u32::from(host.memory_is_shared).to_le_bytes(), 4)
            }
            ParameterKind::Madt => put(host.madt, host.madt.len()),
            ParameterKind::MemoryMap => {
                let size = size_of_val(host.memory_map);
                host.memory_map
                    .iter()
                    .try_for_each(|entry| put(entry.as_bytes(), size))?;
                // The terminating entry, where there is room.
                let _ = put(&ZEROS[..size_of::<MemoryMapEntry>()], size);
                Ok(())
            }
        }
    }

    /// Takes an area's buffer for launching at `gpa`.
    fn insert(&mut self, gpa: u64, index: u32) -> Result<Vec<u8>, Problem> {
        let buffer = self.area(index)?.take().unwrap_or_default();
        self.claim("a parameter area", gpa, buffer.len() as u64)?;
        Ok(buffer)
    }

    /// Notes a VP context: one for each VP, each at a place of its own.
    fn context(&mut self, gpa: u64, vp_index: u16) -> Result<(), Problem> {
        let vp_count = self.host.map_or(MAX_VP_COUNT, |host| host.vp_count);
        if u32::from(vp_index) >= vp_count {
            return Err(Problem::NoSuchVp {
                vp_index: vp_index.into(),
                vp_count,
            });
        }
        let (word, bit) = (usize::from(vp_index / 64), 1 << (vp_index % 64));
        if self.contexts[word] & bit != 0 {
            return Err(Problem::Duplicate {
                what: "VP context for VP",
                value: vp_index.into(),
            });
        }
        self.contexts[word] |= bit;
        match self.platform {
            Platform::SevSnp => {
                let end = end_of("a VP context", gpa, PAGE, GPA_LIMIT)?;
                self.claimed.add("a VP context", gpa, end)
            }
            Platform::Native if gpa != 0 => Err(Problem::Differs {
                what: "GPA of a native VP context",
                value: gpa,
                expected: 0,
            }),
            Platform::Native => Ok(()),
        }
    }
}

/// Appends without panic.
fn push<T>(list: &mut Vec<T>, value: T) -> Result<(), Problem> {
    let no_memory = Problem::OutOfMemory {
        what: "a list",
        size: size_of::<T>() as u64,
    };
    list.try_reserve(1).map_err(|_| no_memory)?;
    list.push(value);
    Ok(())
}

/// The end of `size` bytes at `gpa`, which must not be past `limit`.
fn end_of(what: &'static str, gpa: u64, size: u64, limit: u64) -> Result<u64, Problem> {
    let end = gpa.checked_add(size).filter(|&end| end <= limit);
    end.ok_or(Problem::PastGpaLimit {
        what,
        gpa,
        size,
        limit,
    })
}

/// Start and end of a memory map entry that [`check_host`] accepts.
fn bounds(entry: &MemoryMapEntry) -> (u64, u64) {
    let start = entry.starting_gpa_page_number.saturating_mul(PAGE);
    (
        start,
        start.saturating_add(entry.number_of_pages.saturating_mul(PAGE)),
    )
}

/// Checks what the host offers by itself.
fn check_host(host: &HostParameters<'_>) -> Result<(), HostError> {
    if !(1..=MAX_VP_COUNT).contains(&host.vp_count) {
        return Err(HostError::VpCount {
            vp_count: host.vp_count,
            limit: MAX_VP_COUNT,
        });
    }
    let mut previous_end = 0;
    let limit = host.gpa_limit.min(GPA_LIMIT);
    for (index, entry) in host.memory_map.iter().enumerate() {
        let (first, pages) = (entry.starting_gpa_page_number, entry.number_of_pages);
        if pages == 0 {
            return Err(HostError::EmptyEntry { index });
        }
        let end = first.checked_add(pages).filter(|&end| end <= limit / PAGE);
        let Some(end) = end else {
            return Err(HostError::EntryPastLimit {
                index,
                first,
                pages,
                limit,
            });
        };
        if first < previous_end {
            return Err(HostError::EntryOrder {
                index,
                first,
                previous_end,
            });
        }
        previous_end = end;
    }
    if !host
        .memory_map
        .iter()
        .any(|entry| entry.entry_type == MemoryMapEntryType::MEMORY)
    {
        return Err(HostError::NoRam);
    }
    Ok(())
}

/// A machine for the checks alone.
struct Nothing;

impl Machine for Nothing {
    type Error = Infallible;

    fn guest_policy(&mut self, _: u64) -> Result<(), Infallible> {
        Ok(())
    }

    fn required_memory(&mut self, _: u64, _: u64) -> Result<(), Infallible> {
        Ok(())
    }

    fn page(&mut self, _: u64, _: PageKind, _: &Page) -> Result<(), Infallible> {
        Ok(())
    }

    fn vp_context(&mut self, _: u16, _: u64, _: &Page) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Measures what it is given, as the firmware does.
impl Machine for LaunchDigest {
    type Error = Infallible;

    fn guest_policy(&mut self, _: u64) -> Result<(), Infallible> {
        Ok(())
    }

    fn required_memory(&mut self, _: u64, _: u64) -> Result<(), Infallible> {
        Ok(())
    }

    fn page(&mut self, gpa: u64, kind: PageKind, contents: &Page) -> Result<(), Infallible> {
        self.update(kind.snp_page_type(), gpa, contents);
        Ok(())
    }

    fn vp_context(&mut self, _: u16, gpa: u64, contents: &Page) -> Result<(), Infallible> {
        self.update(PageType::Vmsa, gpa, contents);
        Ok(())
    }
}
