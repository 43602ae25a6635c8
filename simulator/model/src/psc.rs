//! Page state change: walks the list in a GHCB's shared buffer (56421 §4.1.6; results as KVM gives them).

use snp_abi::PageSize;

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
pub fn run(buffer: &mut [u8], apply: impl FnMut(Change) -> Result<(), Stop>) -> u64 {
    let _ = (buffer, apply);
    todo!()
}
