//! Guest memory as a VMPL may use it, for what the machine does on a processor's behalf.

use super::{Memory, Place};
use crate::arch::{guest, phys};
use snp_abi::Vmpl;
use snp_model::rmp::{Access, Grant, Violation, check_access};
use snp_model::walk::GuestMemory;

/// Guest memory as a VMPL may use it.
pub struct Checked<'a> {
    /// The memory.
    pub memory: &'a mut Memory,
    /// Who.
    pub vmpl: Vmpl,
}

impl Checked<'_> {
    fn check(
        &mut self,
        gpa: u64,
        private: bool,
        access: Access,
    ) -> Result<(u64, Grant), Violation> {
        match self.memory.place(gpa) {
            Place::Memory(hpa) => {
                let entry = self.memory.entry(hpa);
                let grant = check_access(entry, self.vmpl, gpa & !0xFFF, access, private)?;
                Ok((hpa, grant))
            }
            Place::Device if !private => Err(Violation::mmio(gpa)),
            Place::Device | Place::Host => Err(Violation::not_mapped(gpa, access, private)),
        }
    }
}

impl GuestMemory for Checked<'_> {
    fn read(
        &mut self,
        gpa: u64,
        private: bool,
        access: Access,
        buffer: &mut [u8],
    ) -> Result<(), Violation> {
        let (hpa, grant) = self.check(gpa, private, access)?;
        let from = match grant {
            Grant::Plain => hpa,
            Grant::Ciphertext => self.memory.ciphertext + (hpa & 0xFFF),
        };
        phys::read(from, buffer);
        Ok(())
    }

    fn write(
        &mut self,
        gpa: u64,
        private: bool,
        access: Access,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let (hpa, _) = self.check(gpa, private, access)?;
        guest::write(hpa, bytes);
        Ok(())
    }
}
