//! Nested page faults: lazy filling, devices, pages that are not validated, and accesses that the RMP forbids.

use crate::GEOMETRY;
use crate::diagnosis;
use crate::exit_status::ExitStatus;
use crate::memory;
use crate::svm::npt::{View, split};
use crate::trace;
use crate::vcpu::{Vcpu, requests};
use snp_abi::exit::npf;
use snp_model::event::Event;
use snp_model::rmp::{Access, Effect, Rule, Violation};
use snp_model::trace::Topic;

/// Handles the exit.
pub fn handle(vcpu: &mut Vcpu) {
    let vmpl = vcpu.vmpl();
    let (info, address) = {
        let control = &vcpu.block().control;
        (control.exit_info_1, control.exit_info_2)
    };
    let (gpa, view) = split(address, vcpu.has_c_bit());
    let access = Access::from_npf(info, vcpu.state().cpl);
    if info & npf::TABLE_WALK != 0 && view == View::Shared {
        return shared_table(vcpu, gpa);
    }
    let mut memory = memory::lock();
    if access.execute && view == View::Shared && memory.frame(gpa).is_some() {
        drop(memory);
        diagnosis::stop(
            vcpu,
            ExitStatus::Diagnosis,
            format_args!(
                "instruction fetch from GPA {gpa:#x} without the C-bit; hardware would take it as private, this \
                 machine cannot (docs/src/deviations.md)"
            ),
        );
    }
    let result = memory.resolve(vmpl, view, gpa, access);
    memory::finish(memory);
    match result {
        Ok(()) => trace!(vcpu, Topic::Npf, "{view:?} {gpa:#x} info {info:#x}: mapped"),
        Err(violation) => {
            trace!(
                vcpu,
                Topic::Npf,
                "{view:?} {gpa:#x} info {info:#x}: {violation}"
            );
            if !solve(vcpu, violation) {
                forbidden(vcpu, violation, access, view);
            }
        }
    }
}

/// A page-table walk without the C-bit. Hardware takes page tables as private in any case. For the root, which 32-bit code
/// cannot give a C-bit, the machine adds it to CR3; further down it cannot.
fn shared_table(vcpu: &mut Vcpu, gpa: u64) {
    let cr3 = vcpu.state().cr3.get();
    if GEOMETRY.split(cr3).0 & !0xFFF != gpa & !0xFFF || cr3 & GEOMETRY.c_mask() != 0 {
        diagnosis::stop(
            vcpu,
            ExitStatus::Diagnosis,
            format_args!(
                "page table at GPA {gpa:#x} is reached without the C-bit; hardware would take it as private, \
                 this machine cannot (docs/src/deviations.md)"
            ),
        );
    }
    vcpu.state_mut().cr3.set(cr3 | GEOMETRY.c_mask());
}

/// Does what hardware or hypervisor do about a violation; `false` when nothing helps.
pub fn solve(vcpu: &mut Vcpu, violation: Violation) -> bool {
    match violation.effect {
        Effect::Vc { error_code } => {
            let interrupted = vcpu.take_interrupted_event();
            if interrupted != 0 {
                diagnosis::stop(
                    vcpu,
                    ExitStatus::Diagnosis,
                    format_args!(
                        "#VC {error_code:#x} while event {interrupted:#x} was being delivered ({violation})"
                    ),
                );
            }
            vcpu.raise(Event::vc(error_code));
            true
        }
        Effect::NestedFault { .. } if violation.rule == Rule::VmsaInUse => {
            // As on hardware: the write waits until the VMSA is not running.
            requests::release_vmsa();
            true
        }
        Effect::NestedFault { .. } => false,
    }
}

fn forbidden(vcpu: &mut Vcpu, violation: Violation, access: Access, view: View) -> ! {
    let what = if access.table_walk {
        "page-table walk"
    } else if access.execute {
        "instruction fetch"
    } else if access.write {
        "write"
    } else {
        "read"
    };
    let view = match view {
        View::Private => "private",
        View::Shared => "shared",
    };
    diagnosis::stop(
        vcpu,
        ExitStatus::Diagnosis,
        format_args!("nested page fault, {view} {what}: {violation}"),
    )
}
