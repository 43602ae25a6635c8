//! A machine for tests: memory with an RMP that follows the rules of PVALIDATE and RMPADJUST (APM vol. 3), and a host
//! that can break its promises. Contents are made when they are first looked at, so that a machine costs little: the
//! fuzzer makes one per input.

use crate::machine::{GuestMemory, MemoryFault, PageOpError, PageOps, Validation};
use crate::vcpu::VmsaAccess;
use snp_abi::rmp::result::{FAIL_INUSE, FAIL_SIZEMISMATCH};
use snp_abi::{PAGE_SIZE, PageSize, RmpPermissions, Vmpl};
use std::cell::{Cell, RefCell};
use std::vec;
use std::vec::Vec;

/// Pages of the fake machine.
pub const PAGES: u64 = 0x1400;

/// A page's entry in the RMP, and what is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Page {
    /// The guest's.
    pub assigned: bool,
    /// By PVALIDATE.
    pub validated: bool,
    /// Part of a 2 MiB RMP entry.
    pub large: bool,
    /// Marked as a VMSA by RMPADJUST.
    pub vmsa: bool,
    /// A vCPU runs this VMSA.
    pub running: bool,
    /// By VMPL.
    pub permissions: [RmpPermissions; 4],
    /// Its contents; empty until they are first looked at, when they become garbage.
    pub bytes: Vec<u8>,
}

impl Page {
    fn with_bytes(&mut self) -> &mut Page {
        if self.bytes.is_empty() {
            self.bytes = vec![GARBAGE; PAGE_SIZE as usize];
        }
        self
    }
}

/// What is in a page that nobody has written to.
const GARBAGE: u8 = 0xA5;

/// The machine.
pub struct Fake {
    /// By page number.
    pub pages: RefCell<Vec<Page>>,
    /// RMPADJUST and PVALIDATE executed so far.
    pub operations: Cell<u64>,
    /// The host splits all large entries after this many operations.
    pub split_after: Cell<u64>,
    /// The host takes all pages away after this many operations.
    pub steal_after: Cell<u64>,
    /// The host puts other pages in the place of all above 2 MiB after this many operations: assigned, but not validated.
    pub swap_after: Cell<u64>,
    /// TLB flushes so far.
    pub flushes: Cell<u32>,
}

impl Default for Fake {
    fn default() -> Self {
        Fake::new()
    }
}

impl Fake {
    /// All pages assigned, none validated; garbage in them; all of 0x40_0000 to 0x80_0000 as large entries.
    pub fn new() -> Fake {
        let page = |number: u64| Page {
            assigned: true,
            validated: false,
            large: (0x400..0x800).contains(&number),
            vmsa: false,
            running: false,
            permissions: [
                RmpPermissions::RWX,
                RmpPermissions::empty(),
                RmpPermissions::empty(),
                RmpPermissions::empty(),
            ],
            bytes: Vec::new(),
        };
        Fake {
            pages: RefCell::new((0..PAGES).map(page).collect()),
            operations: Cell::new(0),
            split_after: Cell::new(u64::MAX),
            steal_after: Cell::new(u64::MAX),
            swap_after: Cell::new(u64::MAX),
            flushes: Cell::new(0),
        }
    }

    /// A copy of a page.
    pub fn page(&self, gpa: u64) -> Page {
        let mut page = self.pages.borrow()[(gpa / PAGE_SIZE) as usize].clone();
        page.with_bytes();
        page
    }

    /// Changes a page.
    pub fn with_page(&self, gpa: u64, change: impl FnOnce(&mut Page)) {
        change(self.pages.borrow_mut()[(gpa / PAGE_SIZE) as usize].with_bytes());
    }

    /// Writes a number, validated or not.
    pub fn put_u64(&self, gpa: u64, value: u64) {
        self.with_page(gpa, |page| {
            let at = (gpa % PAGE_SIZE) as usize;
            page.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        });
    }

    fn step(&self) {
        let done = self.operations.get() + 1;
        self.operations.set(done);
        let due = |after: &Cell<u64>| done > after.get() && after.replace(u64::MAX) < done;
        let [split, steal, swap] =
            [&self.split_after, &self.steal_after, &self.swap_after].map(due);
        if !(split || steal || swap) {
            return;
        }
        for (number, page) in self.pages.borrow_mut().iter_mut().enumerate() {
            page.large &= !split;
            page.assigned &= !steal;
            page.validated &= !(steal || swap && number >= 0x200);
        }
    }

    /// Numbers of the pages that an instruction touches, if the RMP has them in that size. Small instructions on
    /// large entries make the host split them.
    fn covered(&self, gpa: u64, size: PageSize) -> Result<core::ops::Range<usize>, PageOpError> {
        assert!(
            gpa.is_multiple_of(size.bytes()),
            "the SVSM must not execute this: {gpa:#x}"
        );
        let first = (gpa / PAGE_SIZE) as usize;
        let range = first..first + size.pages() as usize;
        let mut pages = self.pages.borrow_mut();
        if pages[range.clone()].iter().any(|page| !page.assigned) {
            return Err(PageOpError::Fault);
        }
        match size {
            PageSize::Size2M if pages[range.clone()].iter().any(|page| !page.large) => {
                return Err(PageOpError::Code(FAIL_SIZEMISMATCH));
            }
            PageSize::Size4K if pages[first].large => {
                let start = first & !0x1FF;
                for page in &mut pages[start..start + 0x200] {
                    page.large = false;
                }
            }
            _ => {}
        }
        Ok(range)
    }

    fn access(&self, gpa: u64, len: usize) -> Result<usize, MemoryFault> {
        let first = gpa / PAGE_SIZE;
        let last = (gpa + len.max(1) as u64 - 1) / PAGE_SIZE;
        for page in first..=last {
            if !self
                .pages
                .borrow()
                .get(page as usize)
                .is_some_and(|page| page.validated)
            {
                return Err(MemoryFault);
            }
        }
        Ok(first as usize)
    }
}

impl GuestMemory for Fake {
    fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<(), MemoryFault> {
        let page = self.access(gpa, buffer.len())?;
        let at = (gpa % PAGE_SIZE) as usize;
        buffer.copy_from_slice(
            &self.pages.borrow_mut()[page].with_bytes().bytes[at..at + buffer.len()],
        );
        Ok(())
    }

    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
        let page = self.access(gpa, bytes.len())?;
        let at = (gpa % PAGE_SIZE) as usize;
        self.pages.borrow_mut()[page].with_bytes().bytes[at..at + bytes.len()]
            .copy_from_slice(bytes);
        Ok(())
    }

    fn zero(&self, gpa: u64, bytes: u64) -> Result<(), MemoryFault> {
        assert!(gpa.is_multiple_of(PAGE_SIZE) && bytes.is_multiple_of(PAGE_SIZE));
        for page in 0..bytes / PAGE_SIZE {
            self.access(gpa + page * PAGE_SIZE, 1)?;
            self.with_page(gpa + page * PAGE_SIZE, |page| page.bytes.fill(0));
        }
        Ok(())
    }
}

impl VmsaAccess for Fake {
    fn read_u64(&self, gpa: u64, offset: usize) -> Result<u64, MemoryFault> {
        let mut value = [0; 8];
        self.read(gpa + offset as u64, &mut value)?;
        Ok(u64::from_le_bytes(value))
    }

    fn write_u64(&self, gpa: u64, offset: usize, value: u64) -> Result<(), MemoryFault> {
        self.write(gpa + offset as u64, &value.to_le_bytes())
    }
}

impl PageOps for Fake {
    fn pvalidate(
        &self,
        gpa: u64,
        size: PageSize,
        validate: bool,
    ) -> Result<Validation, PageOpError> {
        self.step();
        let range = self.covered(gpa, size)?;
        let mut pages = self.pages.borrow_mut();
        if pages[range.start].validated == validate {
            return Ok(Validation::Unchanged);
        }
        for page in &mut pages[range] {
            page.validated = validate;
        }
        Ok(Validation::Changed)
    }

    fn rmpadjust(
        &self,
        gpa: u64,
        size: PageSize,
        target: Vmpl,
        permissions: RmpPermissions,
        vmsa: bool,
    ) -> Result<(), PageOpError> {
        self.step();
        assert_ne!(
            target,
            Vmpl::Vmpl0,
            "VMPL0 cannot change its own permissions"
        );
        let range = self.covered(gpa, size)?;
        let mut pages = self.pages.borrow_mut();
        if pages[range.clone()].iter().any(|page| !page.validated) {
            return Err(PageOpError::Fault);
        }
        if pages[range.start].running {
            return Err(PageOpError::Code(FAIL_INUSE));
        }
        for page in &mut pages[range] {
            page.permissions[target.index()] = permissions;
            page.vmsa = vmsa;
        }
        Ok(())
    }

    fn flush_guest_tlbs(&self) {
        self.flushes.set(self.flushes.get() + 1);
    }
}
