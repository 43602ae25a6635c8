//! The core protocol (58019 §7): page validation, vCPU creation, calling areas. All policy is here; the machine does
//! what it is told.
//!
//! PVALIDATE takes the call lock as a reader, since the page map keeps validations apart; what changes a vCPU's VMSA
//! or calling area takes it alone.

mod memory;
mod pvalidate;
mod vcpu;

#[cfg(test)]
mod agreement;
#[cfg(all(any(test, feature = "fake-machine"), not(loom)))]
pub mod fake;
#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod stress;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::machine::{GuestMemory, PageOpError, PageOps};
use crate::page_map::{PageMap, PageState, Refused};
use crate::request::{CallResult, Registers, Served, query_protocol};
use crate::sync::CallLock;
use crate::vcpu::{Vcpu, VcpuTable, VmsaAccess};
use snp_abi::SevFeatures;
use svsm_abi::{core_call, result};

/// All that the protocol works on.
#[derive(Clone, Copy)]
pub struct CoreProtocol<'a, M> {
    /// The guest's RAM.
    pub pages: &'a PageMap<'a>,
    /// The guest's vCPUs.
    pub vcpus: VcpuTable<'a>,
    /// Orders calls.
    pub lock: &'a CallLock,
    /// Guest memory and the RMP.
    pub machine: &'a M,
    /// SEV features of the guest's VMPL; every VMSA there must have exactly these.
    pub guest_features: SevFeatures,
    /// The protocols of services.
    pub served: &'a Served,
}

impl<M: GuestMemory + PageOps + VmsaAccess> CoreProtocol<'_, M> {
    /// Executes the call in `registers` for `caller` and puts the results there.
    pub fn call(&self, caller: &Vcpu, registers: &mut Registers) {
        let outcome = match registers.call() {
            core_call::REMAP_CA => self.remap_ca(caller, registers),
            core_call::PVALIDATE => self.pvalidate(registers),
            core_call::CREATE_VCPU => self.create_vcpu(registers),
            core_call::DELETE_VCPU => self.delete_vcpu(caller, registers),
            core_call::QUERY_PROTOCOL => {
                registers.rcx = query_protocol(registers.rcx, self.served);
                Ok(())
            }
            core_call::DEPOSIT_MEM => self.deposit_mem(),
            core_call::WITHDRAW_MEM => self.withdraw_mem(),
            core_call::CONFIGURE_VTOM => self.configure_vtom(registers),
            _ => Err(result::UNSUPPORTED_CALL),
        };
        registers.rax = outcome.err().unwrap_or(result::SUCCESS);
    }

    /// The result code for a page operation that failed.
    fn failed(error: PageOpError) -> u64 {
        match error {
            PageOpError::Code(code) => result::PROTOCOL_BASE + (code & 0xFFF),
            PageOpError::Fault => result::INVALID_ADDRESS,
        }
    }

    /// The result code for a page that is in no state to be used as asked.
    fn refused(refused: Refused) -> u64 {
        match refused {
            Refused::State(PageState::Busy) => result::BUSY,
            Refused::State(_) => result::INVALID_ADDRESS,
            Refused::Mixed => result::PVALIDATE_SIZE_MISMATCH,
        }
    }

    /// Refuses an address that is not a page's.
    fn page_aligned(gpa: u64) -> CallResult {
        if gpa.is_multiple_of(snp_abi::PAGE_SIZE) {
            Ok(())
        } else {
            Err(result::INVALID_ADDRESS)
        }
    }
}
