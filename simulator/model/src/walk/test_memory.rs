//! Guest memory for tests: 4 KiB pages in a map, private and shared views kept apart, faults where nothing is.

use super::{GuestMemory, PhysicalAccess};
use crate::Geometry;
use crate::rmp::Violation;
use std::collections::BTreeMap;
use std::vec::Vec;

/// C-bit 47 of 48, as the machine has it.
pub const GEOMETRY: Geometry = Geometry {
    c_bit: 47,
    physical_bits: 48,
};
/// The C-bit.
pub const C: u64 = 1 << 47;

/// Sparse memory. A page exists in one of the two views only.
#[derive(Default, Clone)]
pub struct TestMemory {
    pages: BTreeMap<(u64, bool), Vec<u8>>,
    /// Pages of the private view that are assigned but not validated: #VC 0x404.
    pub not_validated: Vec<u64>,
    /// Every access: address, private, what.
    pub log: Vec<(u64, bool, PhysicalAccess)>,
}

impl TestMemory {
    pub fn add_page(&mut self, gpa: u64, private: bool) {
        self.pages.insert((gpa & !0xFFF, private), vec![0; 4096]);
    }

    /// Writes without leaving a trace, making the page if need be.
    pub fn poke(&mut self, gpa: u64, bytes: &[u8]) {
        self.poke_view(gpa, true, bytes);
    }

    pub fn poke_view(&mut self, gpa: u64, private: bool, bytes: &[u8]) {
        let page = self
            .pages
            .entry((gpa & !0xFFF, private))
            .or_insert_with(|| vec![0; 4096]);
        let offset = (gpa & 0xFFF) as usize;
        page[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub fn poke_u64(&mut self, gpa: u64, value: u64) {
        self.poke(gpa, &value.to_le_bytes());
    }

    pub fn peek<const N: usize>(&self, gpa: u64) -> [u8; N] {
        let offset = (gpa & 0xFFF) as usize;
        self.pages[&(gpa & !0xFFF, true)][offset..offset + N]
            .try_into()
            .unwrap()
    }

    pub fn peek_u64(&self, gpa: u64) -> u64 {
        u64::from_le_bytes(self.peek(gpa))
    }

    fn page(
        &mut self,
        gpa: u64,
        private: bool,
        access: PhysicalAccess,
        length: usize,
    ) -> Result<&mut [u8], Violation> {
        self.log.push((gpa, private, access));
        let offset = (gpa & 0xFFF) as usize;
        assert!(offset + length <= 4096, "an access crosses a page");
        if private && self.not_validated.contains(&(gpa & !0xFFF)) {
            return Err(Violation {
                gpa,
                rule: crate::rmp::Rule::NotValidated,
                effect: crate::rmp::Effect::Vc { error_code: 0x404 },
            });
        }
        let page = self
            .pages
            .get_mut(&(gpa & !0xFFF, private))
            .ok_or(Violation::not_mapped(gpa, access, private))?;
        Ok(&mut page[offset..offset + length])
    }
}

impl GuestMemory for TestMemory {
    fn read(
        &mut self,
        gpa: u64,
        private: bool,
        access: PhysicalAccess,
        buffer: &mut [u8],
    ) -> Result<(), Violation> {
        let page = self.page(gpa, private, access, buffer.len())?;
        buffer.copy_from_slice(page);
        Ok(())
    }

    fn write(
        &mut self,
        gpa: u64,
        private: bool,
        access: PhysicalAccess,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        self.page(gpa, private, access, bytes.len())?
            .copy_from_slice(bytes);
        Ok(())
    }
}
