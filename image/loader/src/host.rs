//! What the host brings to the loading of an image, checked by itself.

use igvm_defs::MemoryMapEntryType;

use crate::error::HostError;
use crate::{GPA_LIMIT, MAX_VP_COUNT, MemoryMapEntry, PAGE_SIZE};

const PAGE: u64 = PAGE_SIZE as u64;

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

impl HostParameters<'_> {
    /// Checks the parameters by themselves; whether they fit an image is seen at loading.
    pub(crate) fn check(&self) -> Result<(), HostError> {
        if !(1..=MAX_VP_COUNT).contains(&self.vp_count) {
            return Err(HostError::VpCount {
                vp_count: self.vp_count,
                limit: MAX_VP_COUNT,
            });
        }
        let mut previous_end = 0;
        let limit = self.gpa_limit.min(GPA_LIMIT);
        for (index, entry) in self.memory_map.iter().enumerate() {
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
        if !self
            .memory_map
            .iter()
            .any(|entry| entry.entry_type == MemoryMapEntryType::MEMORY)
        {
            return Err(HostError::NoRam);
        }
        Ok(())
    }
}

/// Start and end of a memory map entry that [`HostParameters::check`] accepts.
pub(crate) fn bounds(entry: &MemoryMapEntry) -> (u64, u64) {
    let start = entry.starting_gpa_page_number.saturating_mul(PAGE);
    (
        start,
        start.saturating_add(entry.number_of_pages.saturating_mul(PAGE)),
    )
}
