//! Writes of CR0 and CR4: QEMU does not check what it should, and paging decides which nested page tables are used.

use super::undecodable;
use crate::diagnosis;
use crate::exit_status::ExitStatus;
use crate::vcpu::Vcpu;
use snp_abi::msr::{EFER_LMA, EFER_LME};
use snp_abi::vmsa::Vmsa;
use snp_model::decode::Kind;
use snp_model::event::Event;
use snp_model::vmsa_check;

const CR0_PE: u64 = 1 << 0;
const CR0_TS: u64 = 1 << 3;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CS_L: u16 = 1 << 9;
/// LMSW loads these.
const LMSW_BITS: u64 = 0xF;

/// Handles the exit.
pub fn handle(vcpu: &mut Vcpu) {
    let instruction = match vcpu.instruction() {
        Ok(instruction) => instruction,
        Err(why) => return undecodable(vcpu, "write of a control register", &why),
    };
    let state = vcpu.state_mut();
    let cr0 = state.cr0.get();
    let accepted = match instruction.kind {
        Kind::MovToCr { cr: 0, gpr } => write_cr0(state, register(state, gpr)),
        Kind::MovToCr { cr: 4, gpr } => write_cr4(state, register(state, gpr)),
        Kind::Clts => write_cr0(state, cr0 & !CR0_TS),
        // LMSW can set PE and not clear it.
        Kind::Lmsw { gpr: Some(gpr) } => {
            let source = register(state, gpr) & LMSW_BITS;
            write_cr0(state, cr0 & !(LMSW_BITS & !CR0_PE) | source)
        }
        _ => diagnosis::stop(
            vcpu,
            ExitStatus::Diagnosis,
            format_args!(
                "{:?} on a control register is not modelled",
                instruction.kind
            ),
        ),
    };
    if accepted {
        vcpu.advance(instruction.length);
    } else {
        vcpu.raise(Event::gp0());
    }
}

/// QEMU ends a guest with "invalid" where MOV to CR3 should raise #GP.
pub fn invalid(vcpu: &mut Vcpu) {
    match vcpu.instruction() {
        Ok(instruction) if matches!(instruction.kind, Kind::MovToCr { cr: 3 | 4, .. }) => {
            vcpu.raise(Event::gp0());
        }
        _ => diagnosis::stop(
            vcpu,
            ExitStatus::Internal,
            format_args!("VMRUN refused a state that had passed the checks"),
        ),
    }
}

fn write_cr0(state: &mut Vmsa, value: u64) -> bool {
    if vmsa_check::check_cr0(value).is_err() {
        return false;
    }
    let paging_changes = (state.cr0.get() ^ value) & CR0_PG != 0;
    let mut efer = state.efer.get();
    if paging_changes && value & CR0_PG != 0 {
        if efer & EFER_LME != 0 {
            if state.cr4.get() & CR4_PAE == 0 || state.cs.attributes.get() & CS_L != 0 {
                return false;
            }
            efer |= EFER_LMA;
        }
    } else if paging_changes {
        // Leaving paging from 64-bit code is not allowed.
        if efer & EFER_LMA != 0 && state.cs.attributes.get() & CS_L != 0 {
            return false;
        }
        efer &= !EFER_LMA;
    }
    state.efer.set(efer);
    state.cr0.set(value | CR0_ET);
    true
}

fn write_cr4(state: &mut Vmsa, value: u64) -> bool {
    let long = state.efer.get() & EFER_LMA != 0;
    if vmsa_check::check_cr4(value).is_err() || long && value & CR4_PAE == 0 {
        return false;
    }
    state.cr4.set(value);
    true
}

/// A general register by its number; the lower half outside 64-bit mode.
fn register(state: &Vmsa, number: u8) -> u64 {
    let value = match number {
        0 => state.rax,
        1 => state.rcx,
        2 => state.rdx,
        3 => state.rbx,
        4 => state.rsp,
        5 => state.rbp,
        6 => state.rsi,
        7 => state.rdi,
        8 => state.r8,
        9 => state.r9,
        10 => state.r10,
        11 => state.r11,
        12 => state.r12,
        13 => state.r13,
        14 => state.r14,
        _ => state.r15,
    }
    .get();
    if state.efer.get() & EFER_LMA != 0 && state.cs.attributes.get() & CS_L != 0 {
        value
    } else {
        value & 0xFFFF_FFFF
    }
}
