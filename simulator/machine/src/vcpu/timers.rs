//! APIC timers: the guest's, and one for each VMPL with an APIC of its own. The processor has one, which is the machine's: it
//! sends an NMI, which ends guest and sleep, when the first of them is due.

use super::Vcpu;
use super::requests::shared;
use crate::arch::{cpu, lapic, time};
use crate::{starts, trace};
use snp_model::trace::Topic;

/// How soon the machine wants to be back when it could not deliver something at an entry.
const SOON: u64 = 20_000;

/// Shortest time that the processor's timer is set to.
const SHORTEST: u64 = 10_000;

/// What the processor's timer is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hardware {
    Stopped,
    /// It will fire for this deadline, at that time in nanoseconds, and again after as much time: QEMU can lose an NMI, because
    /// its VMRUN and #VMEXIT change the set of pending interrupts without a lock.
    Running {
        deadline: u64,
        fires: u64,
    },
    /// It runs, but for nothing.
    Fired,
}

impl Vcpu {
    /// Requests the interrupts of timers that are due.
    pub(super) fn expire_timers(&mut self) {
        let now = time::now();
        for level in &mut self.levels {
            level.apic.expire(now);
        }
        let Some(vector) = self.timer.expire(now) else {
            return;
        };
        trace!(self, Topic::Irq, "timer {vector:#x}");
        crate::apic::request_own(vector);
        // Taken at once if an interrupt exit would follow immediately.
        let takes = self.loaded.is_some_and(|vmpl| {
            Some(vmpl) == self.current
                && self.takes_interrupts(vmpl)
                && self.levels[vmpl.index()].state() == super::LevelState::Runnable
        });
        if takes
            && self.interrupts_on()
            && !self.in_shadow()
            && self.cpu.pending_interrupt().is_none()
        {
            cpu::take_interrupt();
        }
    }

    /// When the next timer is due that matters to what runs: the guest's in any case, those of VMPLs with an APIC of their
    /// own while they are the current one. And a delayed start.
    fn next_deadline(&self) -> Option<u64> {
        let own = self.current.and_then(|vmpl| {
            let level = &self.levels[vmpl.index()];
            if level.signal {
                Some(time::now() + SOON)
            } else {
                level.apic.next()
            }
        });
        let start = starts::delayed()
            .then(|| shared(self.index()).next_start())
            .flatten();
        self.timer.next().into_iter().chain(own).chain(start).min()
    }

    /// Sets the processor's timer; what was due before is done.
    pub(super) fn set_timer(&mut self) {
        let Some(deadline) = self.next_deadline() else {
            if self.hardware != Hardware::Stopped {
                lapic::stop_timer();
                self.hardware = Hardware::Stopped;
            }
            return;
        };
        let now = time::now();
        match self.hardware {
            Hardware::Running {
                deadline: running,
                fires,
            } if running == deadline && now < fires => return,
            _ => {}
        }
        let count = deadline
            .saturating_sub(now)
            .clamp(SHORTEST, u32::MAX.into());
        lapic::start_timer(count as u32);
        self.hardware = Hardware::Running {
            deadline,
            fires: now + count,
        };
    }

    /// An NMI has come, perhaps the timer's.
    pub(super) fn timer_may_have_fired(&mut self) {
        if self.hardware != Hardware::Stopped {
            self.hardware = Hardware::Fired;
        }
    }
}
