//! The machine as `svsm_core` sees it.

use crate::arch::cpu;
use crate::mm::{self, VmsaPage};
use snp_abi::{PageSize, RmpPermissions, Vmpl};
use svsm_core::machine::{GuestMemory, MemoryFault, PageOpError, PageOps, Validation};
use svsm_core::vcpu::VmsaAccess;

/// Guest memory, and the guest's first VMSA, which is the SVSM's.
pub struct Machine {
    /// The boot CPU's VMSA at the guest's level.
    pub boot_vmsa: Option<VmsaPage>,
    /// The processor can drop all CPUs' TLB entries by an instruction.
    pub invlpgb: bool,
}

impl GuestMemory for Machine {
    fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<(), MemoryFault> {
        mm::read_guest(gpa, buffer)
    }

    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
        mm::write_guest(gpa, bytes)
    }

    fn zero(&self, gpa: u64, bytes: u64) -> Result<(), MemoryFault> {
        mm::zero_guest(gpa, bytes)
    }
}

impl PageOps for Machine {
    fn pvalidate(
        &self,
        gpa: u64,
        size: PageSize,
        validate: bool,
    ) -> Result<Validation, PageOpError> {
        mm::pvalidate_guest(gpa, size, validate)
    }

    fn rmpadjust(
        &self,
        gpa: u64,
        size: PageSize,
        target: Vmpl,
        permissions: RmpPermissions,
        vmsa: bool,
    ) -> Result<(), PageOpError> {
        mm::rmpadjust_guest(gpa, size, target, permissions, vmsa)
    }

    fn flush_guest_tlbs(&self) {
        // Without the instruction it is left to RMPADJUST and to the exits between the guest's store and VMRUN with the
        // VMSA; see docs: what has not been shown on hardware yet.
        if self.invlpgb {
            cpu::invlpgb_all();
        }
    }
}

impl VmsaAccess for Machine {
    fn read_u64(&self, gpa: u64, offset: usize) -> Result<u64, MemoryFault> {
        if let Some(page) = self.boot_vmsa.filter(|page| page.gpa() == gpa) {
            return Ok(page.read(offset));
        }
        let mut word = [0; 8];
        mm::read_guest(gpa + offset as u64, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn write_u64(&self, gpa: u64, offset: usize, value: u64) -> Result<(), MemoryFault> {
        if let Some(page) = self.boot_vmsa.filter(|page| page.gpa() == gpa) {
            page.write(offset, value);
            return Ok(());
        }
        mm::write_guest(gpa + offset as u64, &value.to_le_bytes())
    }
}
