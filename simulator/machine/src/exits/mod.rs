//! What happens at an exit. Automatic exits are the machine's; every other enabled intercept becomes #VC in the guest (APM
//! vol. 2 §15.35.4, §15.35.5).

mod control_registers;
mod msr;
pub mod npf;
mod snp_instructions;

use crate::diagnosis;
use crate::exit_status::ExitStatus;
use crate::vcpu::Vcpu;
use snp_abi::exit;
use snp_model::decode::Kind;
use snp_model::event::Event;

/// Vector of #UD, which the machine intercepts for the SNP instructions.
pub const INVALID_OPCODE: u8 = 6;
const WRITE_CR0: u64 = 0x10;
const WRITE_CR4: u64 = 0x14;
const TASK_SWITCH: u64 = 0x7D;

/// Handles the exit that just happened.
pub fn handle(vcpu: &mut Vcpu) {
    let code = vcpu.block().control.exit_code;
    if vcpu.state().cpl != 0 && privileged(code) {
        // The processor checks the privilege level before the intercept; newer QEMUs do not always.
        return vcpu.raise(Event::gp0());
    }
    match code {
        // The guest can take an interrupt: without V_INTR_MASKING its own IF decides when a physical one is noticed.
        exit::INTR => {
            crate::arch::cpu::take_interrupt();
            vcpu.interrupt_window();
        }
        // Taken when the wrapper set GIF; kicks are looked at before the next entry.
        exit::NMI | exit::SMI | exit::INIT => {}
        exit::VINTR => vcpu.interrupt_window(),
        exit::NPF => npf::handle(vcpu),
        exit::VMMCALL => vmmcall(vcpu),
        exit::MSR => msr::handle(vcpu),
        exit::HLT => hlt(vcpu),
        WRITE_CR0 | WRITE_CR4 => control_registers::handle(vcpu),
        c if c == exit::EXCEPTION_BASE + u64::from(INVALID_OPCODE) => {
            snp_instructions::handle(vcpu)
        }
        exit::SHUTDOWN => shutdown(vcpu),
        exit::INVALID => control_registers::invalid(vcpu),
        exit::CPUID
        | exit::IOIO
        | exit::RDPMC
        | exit::INVD
        | exit::WBINVD
        | exit::MONITOR
        | exit::MWAIT
        | exit::ICEBP
        | exit::READ_DR7
        | exit::WRITE_DR7
        | exit::INVLPGA
        | exit::VMRUN
        | exit::VMLOAD
        | exit::VMSAVE
        | exit::STGI
        | exit::CLGI
        | exit::SKINIT
        | TASK_SWITCH => vcpu.raise(Event::vc(code as u32)),
        _ => diagnosis::stop(
            vcpu,
            ExitStatus::Internal,
            format_args!("exit code {code:#x} is not one that the machine asked for"),
        ),
    }
}

/// Exits of instructions that are #GP outside of CPL 0 whether they are intercepted or not.
const fn privileged(code: u64) -> bool {
    matches!(
        code,
        exit::WBINVD
            | exit::INVD
            | exit::MSR
            | exit::HLT
            | exit::READ_DR7
            | exit::WRITE_DR7
            | exit::INVLPGA
            | exit::VMRUN
            | exit::VMLOAD
            | exit::VMSAVE
            | exit::STGI
            | exit::CLGI
            | exit::SKINIT
            | WRITE_CR0
            | WRITE_CR4
    )
}

/// A triple fault: the guest is finished (KVM does the same).
pub fn shutdown(vcpu: &mut Vcpu) -> ! {
    diagnosis::stop(
        vcpu,
        ExitStatus::GuestShutdown,
        format_args!(
            "shutdown: an exception could not be delivered, nor the double fault (triple fault)"
        ),
    )
}

/// VMMCALL with a REP prefix is VMGEXIT, which is automatic; without it is #VC.
fn vmmcall(vcpu: &mut Vcpu) {
    match vcpu.instruction() {
        Ok(instruction) if instruction.kind == Kind::Vmgexit => {
            vmgexit(vcpu, instruction.length);
        }
        Ok(_) => vcpu.raise(Event::vc(exit::VMMCALL as u32)),
        Err(why) => undecodable(vcpu, "VMMCALL", &why),
    }
}

/// VMGEXIT, at RIP.
fn vmgexit(vcpu: &mut Vcpu, length: u8) {
    vcpu.state_mut().guest_exit_code.set(exit::VMGEXIT);
    vcpu.advance(length);
    crate::ghcb::vmgexit(vcpu);
}

fn hlt(vcpu: &mut Vcpu) {
    match vcpu.instruction() {
        Ok(instruction) if instruction.kind == Kind::Hlt => {
            vcpu.advance(instruction.length);
            vcpu.halt();
        }
        Ok(_) => {}
        Err(why) => undecodable(vcpu, "HLT", &why),
    }
}

/// The instruction that caused an exit has changed or cannot be read: the guest races with itself. Executing it again is
/// right if it changed; if it never reads, there is nothing to be done.
fn undecodable(vcpu: &mut Vcpu, what: &str, why: &crate::vcpu::FetchFailure) {
    diagnosis::stop(
        vcpu,
        ExitStatus::Diagnosis,
        format_args!("cannot read the instruction ({what}): {why}"),
    )
}
