//! Guest memory: making all of it private and valid, and handing out parts of it as slices.

use alloc::vec::Vec;

use boot_abi::{GpaRange, layout};
use guest_rt::{nae, svsm};
use shim_core::memory_map::MemoryMap;
use shim_core::placement::{NoRoom, Placement};
use shim_core::range::{Range, RangeSet};
use shim_core::validation::{self, BATCH, Chunk};
use snp_abi::PageSize;
use snp_abi::ghcb::psc_entry;
use snp_abi::ghcb_msr::PSC_PRIVATE;
use svsm_abi::{pvalidate_entry, result};

use crate::refusal::Refusal;

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
}

/// The payload's image, bss included, in whole pages.
pub fn image() -> Range {
    Range::new(
        &raw const __image_start as u64,
        &raw const __image_end as u64,
    )
}

/// A range as the parameter page has it.
pub fn from_abi(range: GpaRange) -> Option<Range> {
    Range::sized(range.base.get(), range.size.get())
}

/// Where the SVSM's boot stage was. Its pages were launched in part, and are the guest's now: some are valid already.
const BOOT_STAGE: Range = Range::new(
    layout::BOOT_STAGE_BASE,
    layout::BOOT_STAGE_BASE + layout::BOOT_STAGE_SIZE,
);

/// All RAM, private and valid, of which parts are given out.
pub struct Ram {
    places: Placement,
}

impl Ram {
    /// Makes the RAM of the map private and valid. `region` is the payload's region: its pages up to the image's end
    /// are so from the start.
    pub fn validate(map: &MemoryMap, region: Range) -> Result<Ram, Refusal> {
        let mut wanted = map.ram.clone();
        wanted.remove(Range::new(region.start, image().end));
        wanted.remove(BOOT_STAGE);
        validate_set(&wanted, 0)?;
        // The SVSM has validated what of these was launched, and says so unless told not to.
        let stage: RangeSet = [BOOT_STAGE].into_iter().collect();
        validate_set(&stage, pvalidate_entry::IGNORE_CF)?;
        Ok(Ram {
            places: Placement::new(map, region),
        })
    }

    /// Takes whole pages, as high as possible below `limit` and 4 GiB.
    pub fn take_high(
        &mut self,
        what: &'static str,
        size: u64,
        align: u64,
        limit: u64,
    ) -> Result<Claim, NoRoom> {
        self.places.take_high(what, size, align, limit).map(Claim)
    }

    /// Takes the kernel's place.
    pub fn take_kernel(&mut self, header: &shim_core::bzimage::Header) -> Result<Claim, NoRoom> {
        self.places.take_kernel(header).map(Claim)
    }

    /// Gives a part back.
    pub fn release(&mut self, claim: Claim) {
        self.places.release(claim.0);
    }
}

/// A part of RAM that is nobody else's: `Placement` gives each byte out once.
pub struct Claim(Range);

impl Claim {
    /// Where it is.
    pub fn range(&self) -> Range {
        self.0
    }

    /// Its bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the range is RAM below 4 GiB, which is mapped identity, private and writable, and valid by
        // `Ram::validate`. Claims do not overlap, and the borrow of this one keeps its bytes from being borrowed twice.
        unsafe { core::slice::from_raw_parts_mut(self.0.start as *mut u8, self.0.size() as usize) }
    }

    /// Keeps it for good.
    pub fn leak(self) -> Range {
        self.0
    }
}

/// Copies out bytes of the launched part of the payload's region in front of its image: the pages that builder and
/// SVSM filled. `None` when the range is not there.
pub fn read_region(region: Range, range: Range) -> Option<Vec<u8>> {
    let launched = Range::new(region.start, image().start);
    launched.contains(&range).then(|| {
        // SAFETY: the pages are launched, mapped, valid, and written by nobody while the shim runs; they are no part
        // of the image, so no Rust object is there.
        unsafe { core::slice::from_raw_parts(range.start as *const u8, range.size() as usize) }
            .to_vec()
    })
}

/// Writes bytes there. `None` when they are not all there.
pub fn write_region(region: Range, gpa: u64, bytes: &[u8]) -> Option<()> {
    let launched = Range::new(region.start, image().start);
    let range = Range::sized(gpa, bytes.len() as u64)?;
    launched.contains(&range).then(|| {
        // SAFETY: as in `read_region`.
        unsafe { core::ptr::copy(bytes.as_ptr(), gpa as *mut u8, bytes.len()) }
    })
}

/// Fills memory below 1 MiB that `Placement` never gives out with zeros.
pub fn clear_legacy(range: Range) {
    let legacy = Range::new(0xC_0000, 0x10_0000);
    if legacy.contains(&range) {
        // SAFETY: the memory map has this as RAM, so it is valid, and nothing of ours is below 1 MiB.
        unsafe { core::ptr::write_bytes(range.start as *mut u8, 0, range.size() as usize) };
    }
}

fn validate_set(set: &RangeSet, flags: u64) -> Result<(), Refusal> {
    let mut chunks = validation::all_chunks(set).peekable();
    let mut batch = Vec::with_capacity(BATCH);
    while chunks.peek().is_some() {
        batch.clear();
        batch.extend(chunks.by_ref().take(BATCH));
        make_private(&batch)?;
        pvalidate(&batch, flags)?;
    }
    Ok(())
}

fn make_private(chunks: &[Chunk]) -> Result<(), Refusal> {
    let mut entries = [0; BATCH];
    let entries = fill(&mut entries, chunks, |chunk| {
        psc_entry(chunk.gpa, PSC_PRIVATE, chunk.size)
    });
    nae::page_state_change(entries).map_err(|error| Refusal::PageState {
        gpa: chunks.first().map_or(0, |chunk| chunk.gpa),
        count: chunks.len(),
        error,
    })
}

/// The entries of at most [`BATCH`] chunks; not on the heap, which never takes anything back.
fn fill<'a>(
    entries: &'a mut [u64; BATCH],
    chunks: &[Chunk],
    entry: impl Fn(&Chunk) -> u64,
) -> &'a [u64] {
    for (to, chunk) in entries.iter_mut().zip(chunks) {
        *to = entry(chunk);
    }
    entries.get(..chunks.len()).unwrap_or(&[])
}

/// Has the SVSM validate the chunks; a large page that the RMP has as small ones is done page by page.
fn pvalidate(mut chunks: &[Chunk], flags: u64) -> Result<(), Refusal> {
    let mut entries = [0; BATCH];
    while let Some(&first) = chunks.first() {
        let entries = fill(&mut entries, chunks, |chunk| {
            svsm::entry(chunk.gpa, chunk.size, true) | flags
        });
        let (code, done) = svsm::pvalidate(entries).map_err(Refusal::NoAnswer)?;
        if code == result::SUCCESS {
            return Ok(());
        }
        let failed = chunks.get(done).copied().unwrap_or(first);
        if code != result::PVALIDATE_SIZE_MISMATCH || failed.size == PageSize::Size4K {
            return Err(Refusal::Validation {
                gpa: failed.gpa,
                bytes: failed.size.bytes(),
                code,
            });
        }
        let pages: Vec<Chunk> = validation::split(failed).collect();
        pages
            .chunks(BATCH)
            .try_for_each(|part| pvalidate(part, flags))?;
        chunks = chunks.get(done + 1..).unwrap_or(&[]);
    }
    Ok(())
}
