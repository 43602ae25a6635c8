//! RDMSR and WRMSR that exit: the SEV registers and EFER are the machine's, everything else is #VC.

use super::undecodable;
use crate::vcpu::Vcpu;
use snp_model::decode::Kind;
use snp_model::event::Event;
use snp_model::msr_policy::{self, Direct, Hardware};

const CR0_PG: u64 = 1 << 31;

/// Handles the exit.
pub fn handle(vcpu: &mut Vcpu) {
    let msr = vcpu.state().rcx.get() as u32;
    let write = vcpu.block().control.exit_info_1 & 1 != 0;
    let hardware = match msr_policy::direct(msr) {
        Direct::Hardware(hardware) => hardware,
        Direct::PassThrough | Direct::Vc => {
            vcpu.raise(Event::vc(snp_abi::exit::MSR as u32));
            return;
        }
    };
    let (length, next) = match vcpu.instruction_and_next() {
        Ok((instruction, next)) if matches!(instruction.kind, Kind::Rdmsr | Kind::Wrmsr) => {
            (instruction.length, next)
        }
        Ok(_) => return,
        Err(why) => return undecodable(vcpu, "RDMSR or WRMSR", &why),
    };
    let done = if write {
        let state = vcpu.state();
        let value = state.rax.get() & 0xFFFF_FFFF | state.rdx.get() << 32;
        write_register(vcpu, hardware, value)
    } else {
        let value = read_register(vcpu, hardware);
        let state = vcpu.state_mut();
        state.rax.set(value & 0xFFFF_FFFF);
        state.rdx.set(value >> 32);
        true
    };
    if !done {
        return vcpu.raise(Event::gp0());
    }
    vcpu.advance(length);
    // Guests write the GHCB MSR right before each VMGEXIT: doing both at once saves every third exit.
    if write
        && hardware == Hardware::Ghcb
        && let Some(next) = next
        && next.kind == Kind::Vmgexit
    {
        super::vmgexit(vcpu, next.length);
    }
}

fn read_register(vcpu: &mut Vcpu, register: Hardware) -> u64 {
    match register {
        Hardware::Ghcb => vcpu.level().ghcb_msr,
        Hardware::SevStatus => vcpu.features().sev_status(),
        Hardware::Efer => vcpu.state().efer.get(),
        Hardware::Xss => 0,
        // Reads of these do not exit.
        Hardware::Pat => vcpu.state().g_pat.get(),
        Hardware::TscAux => vcpu.state().tsc_aux.get().into(),
    }
}

/// `false`: #GP.
fn write_register(vcpu: &mut Vcpu, register: Hardware, value: u64) -> bool {
    match register {
        Hardware::Ghcb => vcpu.level().ghcb_msr = value,
        Hardware::SevStatus => return false,
        Hardware::Efer => {
            let state = vcpu.state_mut();
            let paging = state.cr0.get() & CR0_PG != 0;
            match msr_policy::write_efer(state.efer.get(), value, paging) {
                Some(efer) => state.efer.set(efer),
                None => return false,
            }
        }
        Hardware::Xss => return value == 0,
        Hardware::Pat => {
            if !msr_policy::pat_is_valid(value) {
                return false;
            }
            crate::svm::registers::set_pat(value);
        }
        Hardware::TscAux => {}
    }
    true
}
