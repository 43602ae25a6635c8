//! What an image is loaded into, and the two machines that this crate has itself: one for checks, one that measures.

use core::convert::Infallible;

use launch_digest::{LaunchDigest, PageType};

use crate::Page;
use crate::header::PageKind;

/// The machine that an image is loaded into. The calls come in the order of the file's directives, which is the order
/// of measurement, and only after the whole image was found to be good. The first error ends the loading.
pub trait Machine {
    /// Why the machine refuses.
    type Error;

    /// The guest policy; always the first call on SEV-SNP (there is exactly one).
    fn guest_policy(&mut self, policy: u64) -> Result<(), Self::Error>;

    /// `bytes` of memory at `gpa` must exist. The range is either within one RAM entry of the memory map or outside of
    /// every entry; in the second case, which the native platform does not have, the machine provides the memory. Not
    /// measured.
    fn required_memory(&mut self, gpa: u64, bytes: u64) -> Result<(), Self::Error>;

    /// Launches the page at `gpa`, which is within RAM or required memory and was not launched before. `contents` are
    /// zeros for [`PageKind::Zero`]; for [`PageKind::Secrets`] and [`PageKind::Cpuid`] they are the file's suggestion,
    /// mostly zeros.
    fn page(&mut self, gpa: u64, kind: PageKind, contents: &Page) -> Result<(), Self::Error>;

    /// A virtual processor's first state. On SEV-SNP `contents` are a VMSA to be launched at `gpa`, which need not be
    /// memory; on the native platform they are what [`crate::native`] reads, and `gpa` is 0.
    fn vp_context(&mut self, vp_index: u16, gpa: u64, contents: &Page) -> Result<(), Self::Error>;
}

/// A machine for the checks alone.
pub(crate) struct Nothing;

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
