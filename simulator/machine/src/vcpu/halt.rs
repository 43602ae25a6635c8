//! Sleeping, and noticing that nobody can wake up any more.

use super::requests::shared;
use super::{LevelState, Vcpu};
use crate::arch::{idt, percpu};
use crate::diagnosis;
use crate::exit_status::ExitStatus;

impl Vcpu {
    /// HLT was executed.
    pub(crate) fn halt(&mut self) {
        let on = self.state().rflags.get() & 1 << 9 != 0;
        let level = self.level();
        level.interrupts_on = on;
        level.set_state(LevelState::Halted);
    }

    /// Waits for an interrupt or a request. Nothing can be run at the moment.
    pub(super) fn sleep(&mut self) {
        self.unload();
        if let Some(vmpl) = self.current {
            // The interrupted level's TPR decides about waking.
            let level = &self.levels[vmpl.index()];
            let wakeable = level.state() == LevelState::Halted
                && self.takes_interrupts(vmpl)
                && level.interrupts_on
                || self.own_timer_wakes(vmpl);
            shared(self.index()).set_parked(!wakeable);
        } else {
            shared(self.index()).set_parked(true);
        }
        self.check_everyone();
        idt::wait(self.cpu.kick_flag());
        shared(self.index()).set_parked(false);
    }

    /// If no vCPU can wake up without another's help, the guest has stopped.
    fn check_everyone(&self) {
        let alive = percpu::all().any(|cpu| {
            let shared = shared(cpu.index());
            !shared.parked() || shared.has_requests() || cpu.kicked()
        });
        if !alive && percpu::count() == crate::platform::get().processors {
            diagnosis::stop(
                self,
                ExitStatus::GuestHalted,
                format_args!("guest halted with interrupts off: no vCPU can wake up"),
            );
        }
    }
}
