//! Acting for the processor on the current instruction: fetching it, moving past it, raising an exception at it.

use super::Vcpu;
use crate::exit_status::ExitStatus;
use crate::{GEOMETRY, diagnosis, exits, memory, trace};
use snp_model::decode::{self, Instruction};
use snp_model::event;
use snp_model::rmp::Violation;
use snp_model::trace::Topic;
use snp_model::walk::{self, WalkFault};

impl Vcpu {
    /// Instruction bytes at CS:RIP.
    pub fn fetch(&self, buffer: &mut [u8; 15]) -> Result<usize, WalkFault> {
        let mut memory = memory::lock();
        let mut checked = memory::Checked {
            memory: &mut memory,
            vmpl: self.vmpl(),
        };
        walk::fetch_instruction(&mut checked, self.state(), GEOMETRY, buffer)
    }

    /// The instruction at CS:RIP, which caused an exit.
    pub fn instruction(&self) -> Result<Instruction, FetchFailure> {
        Ok(self.instruction_and_next()?.0)
    }

    /// The same, and the one after it if it is known and at hand.
    pub fn instruction_and_next(&self) -> Result<(Instruction, Option<Instruction>), FetchFailure> {
        let mut bytes = [0; 15];
        let count = self.fetch(&mut bytes).map_err(FetchFailure::Walk)?;
        let mode = decode::Mode::of(self.state());
        let first = decode::decode(&bytes[..count], mode).map_err(FetchFailure::Decode)?;
        let next = bytes
            .get(first.length.into()..count)
            .and_then(|rest| decode::decode(rest, mode).ok());
        Ok((first, next))
    }

    /// Moves RIP past an instruction that the machine executed for the guest.
    pub fn advance(&mut self, length: u8) {
        let state = &mut self.block.state;
        let long = state.cs.attributes.get() & 0x200 != 0
            && state.efer.get() & snp_abi::msr::EFER_LMA != 0;
        let rip = state.rip.get().wrapping_add(length.into());
        state.rip.set(if long { rip } else { rip & 0xFFFF_FFFF });
        state.rflags.set(state.rflags.get() & !RFLAGS_RF);
        self.block.control.interrupt_shadow = 0;
    }

    /// Delivers an exception to the guest.
    pub fn raise(&mut self, what: event::Event) {
        trace!(
            self,
            Topic::Vc,
            "deliver vector {} error {:x?}",
            what.vector,
            what.error_code
        );
        match self.deliver(what) {
            Ok(event::Delivered::Entered { .. }) => {}
            Ok(event::Delivered::Shutdown) => exits::shutdown(self),
            Err(event::DeliveryError::Nested { violation, pending }) => {
                self.nested(violation, pending);
            }
            Err(error) => diagnosis::stop(self, ExitStatus::Diagnosis, format_args!("{error}")),
        }
    }

    /// Enters the handler of an event; the interrupt shadow ends then.
    pub(super) fn deliver(
        &mut self,
        what: event::Event,
    ) -> Result<event::Delivered, event::DeliveryError> {
        let vmpl = self.vmpl();
        let mut memory = memory::lock();
        let mut checked = memory::Checked {
            memory: &mut memory,
            vmpl,
        };
        let result = event::deliver(&mut self.block.state, &mut checked, GEOMETRY, what);
        drop(memory);
        if let Ok(event::Delivered::Entered { .. }) = result {
            self.block.control.interrupt_shadow = 0;
        }
        result
    }

    /// A nested fault on the way of an exception. What the machine can wait for (a VMSA that another processor runs) is
    /// retried by executing the instruction again.
    fn nested(&mut self, violation: Violation, pending: event::Event) {
        if exits::npf::solve(self, violation) {
            return;
        }
        diagnosis::stop(
            self,
            ExitStatus::Diagnosis,
            format_args!("while vector {} was delivered: {violation}", pending.vector),
        )
    }
}

/// RFLAGS.RF.
const RFLAGS_RF: u64 = 1 << 16;

/// Why the machine cannot tell which instruction it was.
#[derive(Debug)]
pub enum FetchFailure {
    /// Its bytes cannot be read (any more).
    Walk(WalkFault),
    /// It is not known.
    Decode(decode::DecodeError),
}

impl core::fmt::Display for FetchFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FetchFailure::Walk(fault) => fault.fmt(f),
            FetchFailure::Decode(error) => error.fmt(f),
        }
    }
}
