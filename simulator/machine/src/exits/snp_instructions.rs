//! PVALIDATE, RMPADJUST and RMPQUERY, which QEMU does not know and so come as #UD.

use super::npf;
use crate::diagnosis;
use crate::exit_status::ExitStatus;
use crate::memory::{self, Checked, Memory};
use crate::vcpu::Vcpu;
use crate::{GEOMETRY, trace};
use snp_abi::{PAGE_SIZE, Vmpl};
use snp_model::decode::Kind;
use snp_model::event::Event;
use snp_model::rmp::{self, Caller, Mapping, Outcome, Pvalidate, RmpAdjust, RmpQuery, Rule};
use snp_model::trace::Topic;
use snp_model::walk::{self, AccessedDirty, LinearAccess, Paging, WalkFault};

/// Handles the exit.
pub fn handle(vcpu: &mut Vcpu) {
    let Ok(instruction) = vcpu.instruction() else {
        // The guest's own invalid opcode, or one that the decoder need not know.
        return vcpu.raise(Event::ud());
    };
    let outcome = match instruction.kind {
        Kind::Pvalidate => pvalidate(vcpu),
        Kind::RmpAdjust => rmpadjust(vcpu),
        Kind::RmpQuery => rmpquery(vcpu),
        _ => Outcome::InvalidOpcode,
    };
    let va = vcpu.state().rax.get();
    trace!(
        vcpu,
        Topic::Rmp,
        "{:?} rax {va:#x} rcx {:#x} rdx {:#x}: {outcome:x?}",
        instruction.kind,
        vcpu.state().rcx.get(),
        vcpu.state().rdx.get()
    );
    match outcome {
        Outcome::Done { eax, .. } => {
            let state = vcpu.state_mut();
            state.rflags.set(outcome.rflags(state.rflags.get()));
            state.rax.set(eax);
            vcpu.advance(instruction.length);
        }
        Outcome::Queried { rdx, rcx } => {
            let state = vcpu.state_mut();
            state.rflags.set(outcome.rflags(state.rflags.get()));
            state.rax.set(0);
            state.rdx.set(rdx);
            state.rcx.set(rcx);
            vcpu.advance(instruction.length);
        }
        Outcome::GeneralProtection => vcpu.raise(Event::gp0()),
        Outcome::InvalidOpcode => vcpu.raise(Event::ud()),
        Outcome::PageFault { error_code } => vcpu.raise(Event::pf(va, error_code)),
        Outcome::Violation(violation) if violation.rule == Rule::SizeMismatch => {
            smash(vcpu, violation.gpa);
        }
        Outcome::Violation(violation) => {
            if !npf::solve(vcpu, violation) {
                diagnosis::stop(
                    vcpu,
                    ExitStatus::Diagnosis,
                    format_args!("{:?} of {va:#x}: {violation}", instruction.kind),
                );
            }
        }
    }
}

/// 4 KiB were asked for within a 2 MiB entry: the hypervisor splits it and the instruction is executed again.
fn smash(vcpu: &mut Vcpu, gpa: u64) {
    let mut memory = memory::lock();
    let result = match memory.frame(gpa) {
        Some(hpa) => memory.rmp().psmash((hpa / PAGE_SIZE) & !511),
        None => Ok(()),
    };
    drop(memory);
    trace!(vcpu, Topic::Rmp, "PSMASH {gpa:#x}: {result:?}");
    if let Err(why) = result {
        diagnosis::stop(
            vcpu,
            ExitStatus::Internal,
            format_args!("PSMASH of {gpa:#x} failed: {why}"),
        );
    }
}

/// Walks the operand of an SNP instruction.
fn walk_operand(vcpu: &Vcpu, memory: &mut Memory, va: u64) -> Result<Mapping, Outcome> {
    let paging = Paging::of(vcpu.state(), GEOMETRY);
    let mut checked = Checked {
        memory,
        vmpl: vcpu.vmpl(),
    };
    let access = LinearAccess::default();
    match walk::translate(&mut checked, &paging, va, access, AccessedDirty::Set) {
        Ok(at) => Ok(Mapping {
            gpa: at.gpa,
            private: at.private,
            frame: checked.memory.frame(at.gpa).map(|hpa| hpa / PAGE_SIZE),
        }),
        Err(WalkFault::PageFault { error_code, .. }) => Err(Outcome::PageFault { error_code }),
        Err(WalkFault::Memory(violation)) => Err(Outcome::Violation(violation)),
        Err(WalkFault::NonCanonical { .. } | WalkFault::FiveLevel) => {
            Err(Outcome::GeneralProtection)
        }
    }
}

fn pvalidate(vcpu: &mut Vcpu) -> Outcome {
    let state = vcpu.state();
    let Some(caller) = Caller::from_vmsa(state) else {
        return Outcome::InvalidOpcode;
    };
    let op = match Pvalidate::decode(caller, state.rax.get(), state.rcx.get(), state.rdx.get()) {
        Ok(op) => op,
        Err(outcome) => return outcome,
    };
    let mut memory = memory::lock();
    let at = match walk_operand(vcpu, &mut memory, op.va) {
        Ok(at) => at,
        Err(outcome) => return outcome,
    };
    let outcome = rmp::pvalidate(&mut memory.rmp(), &op, at);
    if outcome
        == (Outcome::Done {
            eax: 0,
            carry: false,
        })
    {
        memory.refresh(&Vmpl::ALL, at.gpa, op.size.bytes());
    }
    memory::finish(memory);
    outcome
}

fn rmpadjust(vcpu: &mut Vcpu) -> Outcome {
    let state = vcpu.state();
    let Some(caller) = Caller::from_vmsa(state) else {
        return Outcome::InvalidOpcode;
    };
    let op = match RmpAdjust::decode(caller, state.rax.get(), state.rcx.get(), state.rdx.get()) {
        Ok(op) => op,
        Err(outcome) => return outcome,
    };
    let mut memory = memory::lock();
    let at = match walk_operand(vcpu, &mut memory, op.va) {
        Ok(at) => at,
        Err(outcome) => return outcome,
    };
    let outcome = rmp::rmpadjust(&mut memory.rmp(), &op, at);
    if matches!(outcome, Outcome::Done { eax: 0, .. }) {
        // The VMSA bit may have changed, which concerns every VMPL.
        memory.refresh(&Vmpl::ALL, at.gpa, op.size.bytes());
    }
    memory::finish(memory);
    outcome
}

fn rmpquery(vcpu: &mut Vcpu) -> Outcome {
    let state = vcpu.state();
    let Some(caller) = Caller::from_vmsa(state) else {
        return Outcome::InvalidOpcode;
    };
    let op = match RmpQuery::decode(caller, state.rax.get(), state.rcx.get()) {
        Ok(op) => op,
        Err(outcome) => return outcome,
    };
    let mut memory = memory::lock();
    match walk_operand(vcpu, &mut memory, op.va) {
        Ok(at) => rmp::rmpquery(&memory.rmp(), &op, at),
        Err(outcome) => outcome,
    }
}
