//! Page state change: walks the list in a GHCB's shared buffer (56421 §4.1.6; results as KVM gives them).

use snp_abi::ghcb::PscHeader;
use snp_abi::{PAGE_SIZE, PageSize, ghcb_msr};
use zerocopy::FromBytes;

/// One page to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Change {
    pub gpa: u64,
    pub size: PageSize,
    pub operation: Operation,
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Private,
    Shared,
}

/// Why a callback stops the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing done for this page: report a generic failure.
    Failed,
    /// Nothing done for this page: return to the guest, which calls again (an interrupt is pending, say).
    Later,
}

/// SW_EXITINFO2: the header is bad.
pub const ERROR_INVALID_HEADER: u64 = 1 << 32 | 1;
/// SW_EXITINFO2: an entry is bad.
pub const ERROR_INVALID_ENTRY: u64 = 1 << 32 | 2;
/// SW_EXITINFO2: generic failure.
pub const ERROR_GENERIC: u64 = 0x100 << 32;

/// Walks the list in `buffer` (a copy of the shared buffer from the scratch address to its end), calls `apply` for each
/// page, and advances cur_entry and cur_page in the copy, which the machine then writes back.
///
/// Returns SW_EXITINFO2. A partly done 2 MiB entry goes on in 4 KiB steps. Unknown operations count as done.
pub fn run(buffer: &mut [u8], mut apply: impl FnMut(Change) -> Result<(), Stop>) -> u64 {
    let Some((header, entries)) = buffer.split_at_mut_checked(size_of::<PscHeader>()) else {
        return ERROR_INVALID_HEADER;
    };
    let Ok(header) = PscHeader::mut_from_bytes(header) else {
        return ERROR_INVALID_HEADER;
    };
    let (entries, _) = entries.as_chunks_mut::<8>();
    let last = header.end_entry.get();
    if usize::from(last) >= entries.len() {
        return ERROR_INVALID_HEADER;
    }
    while header.cur_entry.get() <= last {
        let current = header.cur_entry.get();
        let Some(slot) = entries.get_mut(usize::from(current)) else {
            return ERROR_INVALID_HEADER; // Not reached: cur <= last < number of entries.
        };
        let mut entry = Entry(u64::from_le_bytes(*slot));
        let result = entry.run(&mut apply);
        *slot = entry.0.to_le_bytes();
        match result {
            Ok(()) => header.cur_entry.set(current + 1),
            Err(info_2) => return info_2,
        }
    }
    0
}

/// An entry: cur_page 11:0, page number 51:12, operation 55:52, 2 MiB 56.
#[derive(Clone, Copy)]
struct Entry(u64);

const CUR_PAGE: u64 = 0xFFF;
const GFN: u64 = 0x000F_FFFF_FFFF_F000;
const LARGE: u64 = 1 << 56;

impl Entry {
    /// Does what is left of the entry; the error is SW_EXITINFO2.
    fn run(&mut self, apply: &mut impl FnMut(Change) -> Result<(), Stop>) -> Result<(), u64> {
        let size = if self.0 & LARGE != 0 {
            PageSize::Size2M
        } else {
            PageSize::Size4K
        };
        let gpa = self.0 & GFN;
        if self.done() > size.pages() || !gpa.is_multiple_of(size.bytes()) {
            return Err(ERROR_INVALID_ENTRY);
        }
        let operation = match self.0 >> 52 & 0xF {
            ghcb_msr::PSC_PRIVATE => Operation::Private,
            ghcb_msr::PSC_SHARED => Operation::Shared,
            _ => {
                self.set_done(size.pages());
                return Ok(());
            }
        };
        while self.done() < size.pages() {
            let step = if self.done() == 0 {
                size
            } else {
                PageSize::Size4K
            };
            let change = Change {
                gpa: gpa + self.done() * PAGE_SIZE,
                size: step,
                operation,
            };
            apply(change).map_err(|stop| match stop {
                Stop::Failed => ERROR_GENERIC,
                Stop::Later => 0,
            })?;
            self.set_done(self.done() + step.pages());
        }
        Ok(())
    }

    fn done(self) -> u64 {
        self.0 & CUR_PAGE
    }

    fn set_done(&mut self, pages: u64) {
        self.0 = (self.0 & !CUR_PAGE) | pages;
    }
}

#[cfg(test)]
mod tests;
