//! Loading: the checks between headers, and the calls that a machine gets.

use alloc::vec::Vec;

use igvm_defs::MemoryMapEntryType;
use launch_digest::LaunchDigest;

use crate::areas::Areas;
use crate::error::{FileError, LoadError, Problem};
use crate::file::Selection;
use crate::header::{Body, Header, PageKind};
use crate::host::{HostParameters, bounds};
use crate::machine::{Machine, Nothing};
use crate::native;
use crate::ranges::Ranges;
use crate::{GPA_LIMIT, MAX_REQUIRED_RANGES, MAX_VP_COUNT, PAGE_SIZE, Page, Platform, push};

const PAGE: u64 = PAGE_SIZE as u64;
const ZEROS: Page = [0; PAGE_SIZE];
const CONTEXT_WORDS: usize = MAX_VP_COUNT.div_ceil(64) as usize;

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
        host.check()?;
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
            areas: Areas::default(),
            contexts: [0; CONTEXT_WORDS],
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
            // Nobody puts memory into a machine that isolates nothing.
            let absent = self.platform == Platform::Native
                && host.is_some()
                && !entries.iter().any(|entry| {
                    let (start, entry_end) = bounds(entry);
                    entry.entry_type == MemoryMapEntryType::MEMORY
                        && start <= gpa
                        && end <= entry_end
                });
            if absent {
                return Err(Problem::NotInRam { gpa, size: bytes }.at(offset));
            }
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
    areas: Areas,
    /// The VPs that have a context, a bit each.
    contexts: [u64; CONTEXT_WORDS],
    summary: Summary,
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
                self.only_on(Platform::SevSnp, "a guest policy")
                    .map_err(at)?;
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
                match kind {
                    PageKind::Normal | PageKind::Zero | PageKind::Unmeasured => {}
                    PageKind::Secrets => self
                        .only_on(Platform::SevSnp, "a secrets page")
                        .map_err(at)?,
                    PageKind::Cpuid => {
                        self.only_on(Platform::SevSnp, "a CPUID page").map_err(at)?
                    }
                }
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
            } => self.areas.declare(index, bytes, initial).map_err(at)?,
            Body::Parameter {
                kind,
                index,
                byte_offset,
            } => self
                .areas
                .put(self.host, kind, index, byte_offset)
                .map_err(at)?,
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
                self.context(gpa, vp_index, contents).map_err(at)?;
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

    /// Takes an area's buffer for launching at `gpa`.
    fn insert(&mut self, gpa: u64, index: u32) -> Result<Vec<u8>, Problem> {
        let buffer = self.areas.take(index)?;
        self.claim("a parameter area", gpa, buffer.len() as u64)?;
        Ok(buffer)
    }

    /// Notes a VP context: one for each VP, each at a place of its own.
    fn context(&mut self, gpa: u64, vp_index: u16, contents: &Page) -> Result<(), Problem> {
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
            Platform::Native => native::context(contents).map(|_| ()),
        }
    }

    /// Refuses what only another platform has.
    fn only_on(&self, platform: Platform, what: &'static str) -> Result<(), Problem> {
        if self.platform == platform {
            return Ok(());
        }
        let platform = self.platform.name();
        Err(Problem::NotOfPlatform { what, platform })
    }
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
