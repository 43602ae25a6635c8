//! Page states: sharing pages with the hypervisor and taking memory as private and validated, by whichever way the
//! environment has (SVSM calls at VMPL2, PVALIDATE at VMPL0).

use crate::ghcb::Ghcb;
use crate::params::{self, Environment};
use crate::{msr_protocol, nae, paging, snp, svsm};
use snp_abi::ghcb::psc_entry;
use snp_abi::ghcb_msr::{PSC_PRIVATE, PSC_SHARED};
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, rmp};

/// Why a page could not be shared or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// No page is left for page tables.
    OutOfPages,
    /// The hypervisor's answer does not follow the MSR protocol, or it refused.
    Msr(msr_protocol::BadResponse),
    /// The hypervisor refused a page state change through the GHCB.
    Psc(nae::PscError),
    /// PVALIDATE of the page at this GPA failed: result code, and whether nothing changed.
    Pvalidate(u64, u64, bool),
    /// The SVSM did not answer.
    SvsmNoAnswer(svsm::NoAnswer),
    /// The SVSM refused the entry for this GPA with this code.
    Svsm(u64, u64),
}

impl From<paging::OutOfPages> for MemoryError {
    fn from(_: paging::OutOfPages) -> MemoryError {
        MemoryError::OutOfPages
    }
}

impl From<msr_protocol::BadResponse> for MemoryError {
    fn from(response: msr_protocol::BadResponse) -> MemoryError {
        MemoryError::Msr(response)
    }
}

/// Validates or rescinds a page that is mapped private, identity.
fn pvalidate(gpa: u64, size: PageSize, validate: bool) -> Result<(), MemoryError> {
    match params::environment() {
        Environment::Vmpl0 => {
            // SAFETY: callers below rescind pages only to share them, after which they are mapped shared.
            let result = unsafe { snp::pvalidate(gpa, size, validate) };
            if result.changed() {
                Ok(())
            } else {
                Err(MemoryError::Pvalidate(gpa, result.code, result.no_change))
            }
        }
        Environment::UnderSvsm => match svsm::pvalidate(&[svsm::entry(gpa, size, validate)]) {
            Ok((0, _)) => Ok(()),
            Ok((code, _)) => Err(MemoryError::Svsm(gpa, code)),
            Err(error) => Err(MemoryError::SvsmNoAnswer(error)),
        },
    }
}

/// Gives a private, validated page to the hypervisor and maps it shared, identity. Its contents are lost.
pub fn share_page(gpa: u64) -> Result<(), MemoryError> {
    pvalidate(gpa, PageSize::Size4K, false)?;
    msr_protocol::page_state_change(gpa, PSC_SHARED)?;
    Ok(paging::set_shared(gpa)?)
}

/// Takes a shared page back: private, validated, mapped so. Its contents are undefined.
pub fn unshare_page(gpa: u64) -> Result<(), MemoryError> {
    msr_protocol::page_state_change(gpa, PSC_PRIVATE)?;
    paging::set_private(gpa)?;
    pvalidate(gpa, PageSize::Size4K, true)
}

/// Takes `count` pages of the pool and shares them; returns the first one's GPA.
pub fn shared_pages(count: usize) -> Result<u64, MemoryError> {
    let gpa = crate::pool::allocate(count).ok_or(MemoryError::OutOfPages)?;
    for i in 0..count as u64 {
        share_page(gpa + i * PAGE_SIZE)?;
    }
    Ok(gpa)
}

/// Takes the pages from `start` to `end` (4 KiB aligned), which the hypervisor owns, as private, validated memory:
/// page state change to private, then validation; by large pages where they fit. They are mapped identity, private.
pub fn accept_range(start: u64, end: u64) -> Result<(), MemoryError> {
    paging::ensure_identity(start, end.saturating_sub(start))?;
    let mut batch = Batch::new();
    let mut gpa = start & !(PAGE_SIZE - 1);
    while gpa < end {
        let large = gpa.is_multiple_of(LARGE_PAGE_SIZE) && end - gpa >= LARGE_PAGE_SIZE;
        let size = if large {
            PageSize::Size2M
        } else {
            PageSize::Size4K
        };
        if batch.push(gpa, size) {
            batch.submit()?;
        }
        gpa += size.bytes();
    }
    batch.submit()
}

/// Pages on their way to being accepted.
struct Batch {
    pages: [(u64, PageSize); Batch::SIZE],
    used: usize,
}

impl Batch {
    /// Small enough for the GHCB's list and the calling area's.
    const SIZE: usize = 128;

    fn new() -> Batch {
        Batch {
            pages: [(0, PageSize::Size4K); Batch::SIZE],
            used: 0,
        }
    }

    /// Adds a page; returns whether the batch is full.
    fn push(&mut self, gpa: u64, size: PageSize) -> bool {
        self.pages[self.used] = (gpa, size);
        self.used += 1;
        self.used == Batch::SIZE
    }

    fn submit(&mut self) -> Result<(), MemoryError> {
        let pages = &self.pages[..self.used];
        self.used = 0;
        if pages.is_empty() {
            return Ok(());
        }
        let mut list = [0; Batch::SIZE];
        let list = &mut list[..pages.len()];
        if Ghcb::ready() {
            for (entry, (gpa, size)) in list.iter_mut().zip(pages) {
                *entry = psc_entry(*gpa, PSC_PRIVATE, *size);
            }
            nae::page_state_change(list).map_err(MemoryError::Psc)?;
        } else {
            for (gpa, size) in pages {
                for page in 0..size.pages() {
                    msr_protocol::page_state_change(gpa + page * PAGE_SIZE, PSC_PRIVATE)?;
                }
            }
        }
        if params::environment() == Environment::Vmpl0 {
            return pages
                .iter()
                .try_for_each(|(gpa, size)| pvalidate_any(*gpa, *size));
        }
        let mut done = 0;
        while done < pages.len() {
            for (entry, (gpa, size)) in list.iter_mut().zip(&pages[done..]) {
                *entry = svsm::entry(*gpa, *size, true);
            }
            let (code, count) =
                svsm::pvalidate(&list[..pages.len() - done]).map_err(MemoryError::SvsmNoAnswer)?;
            if code == 0 {
                break;
            }
            done += count.min(pages.len() - done - 1);
            let (gpa, size) = pages[done];
            if code != svsm_abi::result::PVALIDATE_SIZE_MISMATCH || size == PageSize::Size4K {
                return Err(MemoryError::Svsm(gpa, code));
            }
            small_pages(gpa)?;
            done += 1;
        }
        Ok(())
    }
}

/// PVALIDATE at VMPL0, by small pages if the RMP holds small ones.
fn pvalidate_any(gpa: u64, size: PageSize) -> Result<(), MemoryError> {
    match pvalidate(gpa, size, true) {
        Err(MemoryError::Pvalidate(_, rmp::result::FAIL_SIZEMISMATCH, _))
            if size == PageSize::Size2M =>
        {
            small_pages(gpa)
        }
        other => other,
    }
}

/// Validates a large page by its small ones.
fn small_pages(gpa: u64) -> Result<(), MemoryError> {
    (0..PageSize::Size2M.pages())
        .try_for_each(|page| pvalidate(gpa + page * PAGE_SIZE, PageSize::Size4K, true))
}
