//! DEPOSIT_MEM, WITHDRAW_MEM and CONFIGURE_VTOM, of an SVSM that lives on the memory it was launched with.

use super::CoreProtocol;
use crate::request::{CallResult, Registers};
use svsm_abi::result;

/// RCX bit 0 of CONFIGURE_VTOM: only ask what is in force.
const VTOM_QUERY: u64 = 1;

impl<M> CoreProtocol<'_, M> {
    /// Never needed: memory is reserved at launch. An SVSM that takes no memory does not have the call (58019 §7.5).
    pub(super) fn deposit_mem(&self) -> CallResult {
        Err(result::UNSUPPORTED_CALL)
    }

    /// Never possible, as nothing was deposited (58019 §7.6).
    pub(super) fn withdraw_mem(&self) -> CallResult {
        Err(result::UNSUPPORTED_CALL)
    }

    /// The guest runs with C-bits, without a virtual top of memory: a query says that none can be had (RCX 0), and
    /// anything else does not fit this state (58019 §7.8).
    pub(super) fn configure_vtom(&self, registers: &mut Registers) -> CallResult {
        if registers.rcx != VTOM_QUERY {
            return Err(result::INVALID_REQUEST);
        }
        registers.rcx = 0;
        Ok(())
    }
}
