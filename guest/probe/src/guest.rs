//! What cases stand on: RAM that no one uses, and calls.

use core::sync::atomic::{AtomicU64, Ordering};
use guest_rt::ghcb::Ghcb;
use guest_rt::memory::MemoryError;
use guest_rt::svsm::{self, NoAnswer, Path, Registers};
use guest_rt::{exec, memory, msr_protocol, nae, paging, params};
use snp_abi::ghcb::psc_entry;
use snp_abi::ghcb_msr::PSC_PRIVATE;
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize};
use svsm_abi::{core_call, protocol};

/// Cases use RAM from here on: well above the payload.
const FIRST: u64 = 0x100_0000;
/// Bytes of it.
const BYTES: u64 = 64 << 20;

/// Adjacent pages are taken from here on, up to `FIRST`.
const RUNS: u64 = 0xC0_1000;

static NEXT_RUN: AtomicU64 = AtomicU64::new(RUNS);
static NEXT_SMALL: AtomicU64 = AtomicU64::new(FIRST);
static NEXT_LARGE: AtomicU64 = AtomicU64::new(FIRST + (4 << 20));

/// Whether there is an SVSM and the memory map has the RAM that cases use.
pub fn usable() -> bool {
    params::guest().is_some()
        && params::memory_map().any(|(base, size, kind)| {
            kind == boot_abi::memory_type::MEMORY && base <= RUNS && base + size >= FIRST + BYTES
        })
}

/// First address above the guest's RAM below 4 GiB, and above all of its RAM.
pub fn ram_ends() -> (u64, u64) {
    let mut low = 0;
    let mut all = 0;
    for (base, size, kind) in params::memory_map() {
        if kind != boot_abi::memory_type::MEMORY {
            continue;
        }
        let end = base + size;
        if end <= 1 << 32 {
            low = end.max(low);
        }
        all = end.max(all);
    }
    (low, all)
}

/// The SVSM's memory: base and bytes.
pub fn svsm_memory() -> (u64, u64) {
    params::guest().map_or((0, 0), |p| (p.svsm.base.get(), p.svsm.size.get()))
}

/// A page that the hypervisor owns; the SVSM has not validated it.
pub fn shared() -> u64 {
    let page = NEXT_SMALL.fetch_add(PAGE_SIZE, Ordering::Relaxed);
    // Not the first page of a large one: a VMSA may not be there.
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

/// A page that is assigned but not validated.
pub fn assigned() -> Result<u64, MemoryError> {
    let page = shared();
    msr_protocol::page_state_change(page, PSC_PRIVATE)?;
    Ok(page)
}

/// A page that is assigned and validated; cleared by the SVSM.
pub fn valid() -> Result<u64, MemoryError> {
    let page = shared();
    memory::accept_range(page, page + PAGE_SIZE)?;
    Ok(page)
}

/// A large page that is assigned by one entry.
pub fn assigned_large() -> Result<u64, MemoryError> {
    let page = shared_large();
    nae::page_state_change(&[psc_entry(page, PSC_PRIVATE, PageSize::Size2M)])
        .map_err(MemoryError::Psc)?;
    Ok(page)
}

/// A large page's worth, assigned by 512 entries of 4 KiB.
pub fn assigned_small_run() -> Result<u64, MemoryError> {
    let base = shared_large();
    for page in 0..PageSize::Size2M.pages() {
        msr_protocol::page_state_change(base + page * PAGE_SIZE, PSC_PRIVATE)?;
    }
    Ok(base)
}

/// Adjacent pages that are assigned and validated, without a large page's first among them.
pub fn valid_run(pages: u64) -> Result<u64, MemoryError> {
    let first = assigned_run(pages)?;
    memory::accept_range(first, first + pages * PAGE_SIZE)?;
    Ok(first)
}

/// Adjacent pages that the hypervisor owns.
pub fn assigned_run(pages: u64) -> Result<u64, MemoryError> {
    let first = NEXT_RUN.fetch_add(pages * PAGE_SIZE, Ordering::Relaxed);
    if first + pages * PAGE_SIZE > FIRST {
        return Err(MemoryError::OutOfPages);
    }
    paging::ensure_identity(first, pages * PAGE_SIZE)?;
    Ok(first)
}

/// Writes to pages of the case's own.
pub fn put_bytes(gpa: u64, bytes: &[u8]) {
    for (i, byte) in (0..).zip(bytes) {
        // SAFETY: the caller's own pages, mapped identity.
        unsafe { ((gpa + i) as *mut u8).write_volatile(*byte) };
    }
}

/// Reads from pages of the case's own.
pub fn get_bytes(gpa: u64, bytes: &mut [u8]) {
    for (i, byte) in (0..).zip(bytes) {
        // SAFETY: the caller's own pages, mapped identity.
        *byte = unsafe { ((gpa + i) as *const u8).read_volatile() };
    }
}

/// A core call; the result code.
pub fn core(call: u32, rcx: u64, rdx: u64, r8: u64) -> Result<u64, NoAnswer> {
    let mut registers = Registers::new(protocol::CORE, call, rcx, rdx, r8);
    svsm::call_until_done(&mut registers)
}

/// A call with these registers by one way; the registers afterwards.
pub fn raw(path: Path, registers: Registers) -> Result<Registers, NoAnswer> {
    let mut registers = registers;
    svsm::call(path, &mut registers)?;
    Ok(registers)
}

/// The ways to call.
pub fn paths() -> [(Path, &'static str); 2] {
    debug_assert!(Ghcb::ready());
    [(Path::Msr, "msr"), (Path::Nae, "nae")]
}

/// PVALIDATE of one entry.
pub fn pvalidate_one(entry: u64) -> Result<u64, NoAnswer> {
    svsm::pvalidate(&[entry]).map(|(code, _)| code)
}

/// Validates (or rescinds) a small page.
pub fn pvalidate_page(gpa: u64, validate: bool) -> Result<u64, NoAnswer> {
    pvalidate_one(svsm::entry(gpa, PageSize::Size4K, validate))
}

/// PVALIDATE of the list at `gpa`, as it stands there.
pub fn pvalidate_list(gpa: u64) -> Result<u64, NoAnswer> {
    core(core_call::PVALIDATE, gpa, 0, 0)
}

/// Writes a list anywhere: header with these counts, then the entries. Reports whether the memory took it.
pub fn put_list(gpa: u64, entries: u16, next: u16, list: &[u64]) -> bool {
    let words = core::iter::once(entries as u64 | (next as u64) << 16).chain(list.iter().copied());
    for (i, word) in words.enumerate() {
        // SAFETY: cases write lists to pages of their own.
        if unsafe { exec::write(gpa + i as u64 * 8, word) }.is_err() {
            return false;
        }
    }
    true
}

/// `next` of the list at `gpa`.
pub fn list_next(gpa: u64) -> u64 {
    exec::read(gpa).map_or(u64::MAX, |word| word >> 16 & 0xFFFF)
}

/// Reads eight bytes of a page of the case's own.
pub fn peek(gpa: u64) -> u64 {
    exec::read(gpa).unwrap_or(u64::MAX)
}

/// Writes eight bytes to a page of the case's own.
pub fn poke(gpa: u64, value: u64) {
    // SAFETY: the caller's own page.
    let _ = unsafe { exec::write(gpa, value) };
}

/// Maps memory above 4 GiB, so that a case can look whether something is there.
pub fn reach(gpa: u64) -> bool {
    paging::ensure_identity(gpa, PAGE_SIZE).is_ok()
}
