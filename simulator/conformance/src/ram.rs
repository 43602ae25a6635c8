//! RAM that no one uses, for cases to bring into the state that they need. It starts out the hypervisor's (shared), as
//! memory does that was not launched.

use core::sync::atomic::{AtomicU64, Ordering};
use guest_rt::report::Fault;
use guest_rt::{exec, memory::MemoryError, msr_protocol, nae, paging, params, snp, trap};
use snp_abi::ghcb::psc_entry;
use snp_abi::ghcb_msr::{PSC_PRIVATE, PSC_SHARED};
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, RmpPermissions, Vmpl, rmp};

/// Cases use RAM from here on: well above the payload.
const FIRST: u64 = 0x100_0000;

static NEXT_SMALL: AtomicU64 = AtomicU64::new(FIRST);
static NEXT_LARGE: AtomicU64 = AtomicU64::new(FIRST + 2 * LARGE_PAGE_SIZE);

/// Whether the memory map has the RAM that cases use.
pub fn available() -> bool {
    params::memory_map().any(|(base, size, kind)| {
        kind == boot_abi::memory_type::MEMORY && base <= FIRST && base + size >= FIRST + (64 << 20)
    })
}

/// A page that the hypervisor owns.
pub fn shared() -> u64 {
    let page = NEXT_SMALL.fetch_add(PAGE_SIZE, Ordering::Relaxed);
    // Skip the first page of a large one: a VMSA may not be there.
    if page.is_multiple_of(LARGE_PAGE_SIZE) {
        shared()
    } else {
        page
    }
}

/// A large page's worth of memory that the hypervisor owns.
pub fn shared_large() -> u64 {
    NEXT_LARGE.fetch_add(LARGE_PAGE_SIZE, Ordering::Relaxed)
}

/// A page that is assigned to the guest but not validated.
pub fn assigned() -> Result<u64, MemoryError> {
    let page = shared();
    msr_protocol::page_state_change(page, PSC_PRIVATE)?;
    Ok(page)
}

/// A page that is assigned and validated, filled with zeros.
pub fn valid() -> Result<u64, MemoryError> {
    let page = assigned()?;
    match pvalidate(page, 0, 1) {
        Ok((0, false)) => {}
        Ok((code, cf)) => return Err(MemoryError::Pvalidate(page, code, cf)),
        Err(fault) => return Err(MemoryError::Pvalidate(page, fault.encode(), false)),
    }
    for offset in (0..PAGE_SIZE).step_by(8) {
        // SAFETY: the page is this case's own.
        if unsafe { exec::write(page + offset, 0) }.is_err() {
            return Err(MemoryError::OutOfPages);
        }
    }
    Ok(page)
}

/// A large page that is assigned by a 2 MiB entry.
pub fn assigned_large() -> Result<u64, MemoryError> {
    let page = shared_large();
    nae::page_state_change(&[psc_entry(page, PSC_PRIVATE, PageSize::Size2M)])
        .map_err(MemoryError::Psc)?;
    Ok(page)
}

/// A large page's worth that is assigned by 512 entries of 4 KiB.
pub fn assigned_small_run() -> Result<u64, MemoryError> {
    let base = shared_large();
    for page in 0..PageSize::Size2M.pages() {
        msr_protocol::page_state_change(base + page * PAGE_SIZE, PSC_PRIVATE)?;
    }
    Ok(base)
}

/// Gives a page to the hypervisor by a page state change alone.
pub fn to_shared(page: u64) -> Result<(), MemoryError> {
    Ok(msr_protocol::page_state_change(page, PSC_SHARED)?)
}

/// Assigns a page by a page state change alone.
pub fn to_private(page: u64) -> Result<(), MemoryError> {
    Ok(msr_protocol::page_state_change(page, PSC_PRIVATE)?)
}

/// PVALIDATE: EAX and CF, or the exception.
pub fn pvalidate(va: u64, size: u64, validate: u64) -> Result<(u64, bool), Fault> {
    let mut result = (u64::MAX, false);
    match trap::catch(|| {
        // SAFETY: cases rescind only pages of their own.
        let r = unsafe { snp::pvalidate_raw(va, size, validate) };
        result = (r.code, r.no_change);
    }) {
        None => Ok(result),
        Some(trap) => Err(trap.into()),
    }
}

/// RMPADJUST with raw operands: EAX, or the exception.
pub fn rmpadjust_raw(va: u64, size: u64, rdx: u64) -> Result<u64, Fault> {
    let mut result = u64::MAX;
    // SAFETY: cases adjust only pages of their own.
    match trap::catch(|| result = unsafe { snp::rmpadjust_raw(va, size, rdx) }) {
        None => Ok(result),
        Some(trap) => Err(trap.into()),
    }
}

/// RMPADJUST of a small page.
pub fn rmpadjust(va: u64, target: Vmpl, permissions: RmpPermissions) -> Result<u64, Fault> {
    rmpadjust_raw(va, 0, rmp::rmpadjust_rdx(target, permissions, false))
}

/// RMPQUERY: EAX, and bits 16:8 of RDX (VMSA flag and permissions), or the exception.
pub fn rmpquery(va: u64, target: u64) -> Result<(u64, u64), Fault> {
    let mut result = (u64::MAX, 0);
    match trap::catch(|| {
        let r = snp::rmpquery(va, target);
        result = (r.code, r.rdx >> 8 & 0x1FF);
    }) {
        None => Ok(result),
        Some(trap) => Err(trap.into()),
    }
}

/// Whether the processor has RMPQUERY, by the CPUID page.
pub fn has_rmpquery() -> bool {
    guest_rt::cpu::cpuid(snp_abi::cpuid::sev::LEAF, 0).eax & snp_abi::cpuid::sev::EAX_RMPQUERY != 0
}

/// An address at which a page is mapped a second time.
pub fn alias(index: u64, gpa: u64, mapping: paging::Mapping) -> Result<u64, paging::OutOfPages> {
    let va = 0x50_0000_0000 + index * PAGE_SIZE;
    paging::map(va, gpa, mapping)?;
    Ok(va)
}
