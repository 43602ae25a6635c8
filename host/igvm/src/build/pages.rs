//! The pages of an image, sorted by address.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Result, ensure};
use igvm_loader::{PAGE_SIZE, Page};

use super::elf::Segment;

const PAGE: u64 = PAGE_SIZE as u64;

/// What a page is launched as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contents {
    /// These bytes, measured; zeros become a page that the firmware zeroes.
    Data(Box<Page>),
    /// The CPUID page.
    Cpuid,
    /// The secrets page.
    Secrets,
}

/// Pages by address.
#[derive(Default)]
pub struct Pages(BTreeMap<u64, Contents>);

impl Pages {
    /// Puts one page where none was.
    pub fn put(&mut self, what: &str, gpa: u64, contents: Contents) -> Result<()> {
        ensure!(
            gpa.is_multiple_of(PAGE),
            "{what}: address {gpa:#x} is not a multiple of the page size"
        );
        ensure!(
            self.0.insert(gpa, contents).is_none(),
            "{what}: page {gpa:#x} is taken by something else"
        );
        Ok(())
    }

    /// Puts the start of a page; the rest is zero.
    pub fn put_bytes(&mut self, what: &str, gpa: u64, bytes: &[u8]) -> Result<()> {
        let mut page = zero_page();
        ensure!(
            bytes.len() <= PAGE_SIZE,
            "{what}: {} bytes do not fit a page",
            bytes.len()
        );
        page[..bytes.len()].copy_from_slice(bytes);
        self.put(what, gpa, Contents::Data(page))
    }

    /// Puts a program's segments. Two segments may share a page, but not a byte.
    pub fn put_segments(&mut self, what: &str, segments: &[Segment<'_>]) -> Result<()> {
        let mut sorted: Vec<_> = segments.iter().collect();
        sorted.sort_by_key(|segment| segment.address);
        let mut pages: BTreeMap<u64, Box<Page>> = BTreeMap::new();
        let mut previous_end = 0;
        for segment in sorted {
            ensure!(
                segment.address >= previous_end,
                "{what}: the ELF segment at {:#x} overlaps the one that ends at {previous_end:#x}",
                segment.address
            );
            previous_end = segment.end();
            let first = segment.address - segment.address % PAGE;
            for gpa in (first..segment.end()).step_by(PAGE_SIZE) {
                let page = pages.entry(gpa).or_insert_with(zero_page);
                // The part of the segment's data that is in this page.
                let from = gpa.max(segment.address);
                let data_end = segment.address + segment.data.len() as u64;
                let to = (gpa + PAGE).min(data_end);
                if from < to {
                    let data = &segment.data
                        [(from - segment.address) as usize..(to - segment.address) as usize];
                    page[(from - gpa) as usize..][..data.len()].copy_from_slice(data);
                }
            }
        }
        pages
            .into_iter()
            .try_for_each(|(gpa, page)| self.put(what, gpa, Contents::Data(page)))
    }

    /// Makes every page of the range that is not there yet a page of zeros.
    pub fn fill(&mut self, range: Range<u64>) {
        for gpa in range.step_by(PAGE_SIZE) {
            self.0
                .entry(gpa)
                .or_insert_with(|| Contents::Data(zero_page()));
        }
    }

    /// All pages, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Contents)> {
        self.0.iter().map(|(&gpa, contents)| (gpa, contents))
    }
}

/// A page of zeros.
pub fn zero_page() -> Box<Page> {
    Box::new([0; PAGE_SIZE])
}
