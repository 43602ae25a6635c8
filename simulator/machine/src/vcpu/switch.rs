//! Switching VMPLs: what VMRUN does with a VMSA page before the guest runs, and #VMEXIT after.

use super::{LevelState, Vcpu, features_of, fix_features, level};
use crate::exit_status::ExitStatus;
use crate::svm::registers;
use crate::svm::vmcb::V_TPR;
use crate::{diagnosis, memory};
use snp_abi::Vmpl;
use zerocopy::FromZeros;

impl Vcpu {
    /// VMRUN's first part: takes the VMSA page and its contents.
    pub(super) fn load(&mut self, vmpl: Vmpl) -> bool {
        self.unload();
        let Some(gpa) = self.levels[vmpl.index()].vmsa() else {
            return false;
        };
        let mut memory = memory::lock();
        let hpa = match memory.begin_vmrun(gpa) {
            Ok(hpa) => hpa,
            Err(why) => {
                drop(memory);
                self.block.state.zero();
                self.refused(vmpl, format_args!("VMSA {gpa:#x}: {why}"));
                return false;
            }
        };
        memory::finish(memory);
        level::read_vmsa(hpa, &mut self.block.state);
        if let Err(why) = snp_model::vmsa_check::check(&self.block.state, vmpl, features_of(vmpl)) {
            let mut memory = memory::lock();
            memory.end_vmrun(gpa, hpa);
            memory::finish(memory);
            self.refused(vmpl, format_args!("VMSA {gpa:#x}: {why}"));
            return false;
        }
        fix_features(vmpl, self.block.state.sev_features.get());
        registers::load(&self.block.state, self.components);
        let level = &mut self.levels[vmpl.index()];
        level.loaded_at = Some((gpa, hpa));
        level.ran = true;
        let c = &mut self.block.control;
        c.interrupt_shadow = level.shadow;
        c.interrupt_control = level.tpr;
        self.reinject = core::mem::take(&mut level.reinject);
        self.loaded = Some(vmpl);
        true
    }

    /// #VMEXIT's second part: gives the VMSA page its contents and its freedom back.
    pub(super) fn unload(&mut self) {
        let Some(vmpl) = self.loaded.take() else {
            return;
        };
        registers::save(&mut self.block.state, self.components);
        let level = &mut self.levels[vmpl.index()];
        let c = &mut self.block.control;
        level.shadow = c.interrupt_shadow;
        level.tpr = c.interrupt_control & V_TPR;
        level.reinject = core::mem::take(&mut self.reinject);
        if let Some((gpa, hpa)) = level.loaded_at.take() {
            level::write_vmsa(hpa, &self.block.state);
            let mut memory = memory::lock();
            memory.end_vmrun(gpa, hpa);
            memory::finish(memory);
        }
    }

    /// VMRUN would refuse this VMSA. At a VMPL's start that is a mistake of whoever made the VMSA, and the run ends. A VMPL
    /// that ran before was stopped on purpose: VMPL0 has taken its VMSA away. It cannot run, the rest goes on.
    fn refused(&mut self, vmpl: Vmpl, why: core::fmt::Arguments<'_>) {
        if !self.levels[vmpl.index()].ran {
            self.current = Some(vmpl);
            diagnosis::stop(
                self,
                ExitStatus::Diagnosis,
                format_args!("VMRUN refused: {why}"),
            );
        }
        crate::say!(
            "vCPU {} VMPL{}: VMRUN refused: {why}",
            self.index(),
            vmpl as u8
        );
        self.levels[vmpl.index()].set_state(LevelState::Refused);
        if self.current == Some(vmpl) {
            self.current = None;
        }
        // Whoever asked for this VMPL on this vCPU goes on, with an error.
        self.resume_requester();
    }
}
