//! Page state changes: RMPUPDATE and PSMASH, and what a hypervisor does around them.

use super::Memory;
use crate::arch::guest;
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, Vmpl};
use snp_model::rmp::{HostFailure, RmpEntry, RmpUpdate};

impl Memory {
    /// Gives a page to the guest or takes it back: RMPUPDATE with what a hypervisor does around it. No-op when the page is
    /// in that state already.
    pub fn change_state(
        &mut self,
        gpa: u64,
        size: PageSize,
        private: bool,
    ) -> Result<(), HostFailure> {
        let bytes = size.bytes();
        if !gpa.is_multiple_of(bytes) {
            return Err(HostFailure::Input);
        }
        for offset in [0, bytes - PAGE_SIZE] {
            if self.frame(gpa + offset).is_none() {
                return Err(HostFailure::Input);
            }
        }
        let result = self.change(gpa, size, private);
        self.refresh(&Vmpl::ALL, gpa, bytes);
        result
    }

    fn change(&mut self, gpa: u64, size: PageSize, private: bool) -> Result<(), HostFailure> {
        let hpa = self.frame(gpa).ok_or(HostFailure::Input)?;
        let frame = hpa / PAGE_SIZE;
        let update = |gpa, size| RmpUpdate {
            assigned: private,
            gpa: if private { gpa } else { 0 },
            size,
            immutable: false,
        };
        let entry = self.entry(hpa);
        let as_one = match size {
            PageSize::Size4K => {
                if entry.assigned() && entry.size() == PageSize::Size2M && !private {
                    self.rmp().psmash(frame & !511)?;
                }
                true
            }
            PageSize::Size2M => {
                let all = |memory: &mut Memory, test: fn(RmpEntry) -> bool| {
                    (0..512).all(|i| test(memory.entry(hpa + i * PAGE_SIZE)))
                };
                hpa.is_multiple_of(LARGE_PAGE_SIZE)
                    && (entry.assigned() && entry.size() == PageSize::Size2M
                        || private && all(self, |e| !e.assigned()))
            }
        };
        let step = if as_one { size } else { PageSize::Size4K };
        for offset in (0..size.bytes()).step_by(step.bytes() as usize) {
            let hpa = self.frame(gpa + offset).ok_or(HostFailure::Input)?;
            if self.entry(hpa).assigned() == private {
                continue;
            }
            self.rmp()
                .rmpupdate(hpa / PAGE_SIZE, update(gpa + offset, step))?;
            for page in (hpa..hpa + step.bytes()).step_by(PAGE_SIZE as usize) {
                guest::scramble(page);
            }
        }
        Ok(())
    }
}
