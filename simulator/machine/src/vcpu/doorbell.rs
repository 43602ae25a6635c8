//! Interrupts for a VMPL with restricted injection: they come from the VMPL's own APIC, go into its #HV doorbell page, and
//! #HV tells it to look there (56421 §5; the order of things is that of KVM's series for restricted injection).

use super::{LevelState, Vcpu};
use crate::ghcb::Shared;
use crate::{diagnosis, trace};
use snp_abi::Vmpl;
use snp_model::event;
use snp_model::lapic::{Doorbell, LocalApic, Owner, Signal};
use snp_model::trace::Topic;

/// #HV: no error code, not masked by RFLAGS.IF. Nothing is to be said about the interrupted instruction, so RF stays.
const HV_VECTOR: u8 = 28;
/// In the page.
const FLAGS: usize = 1;

impl Vcpu {
    /// The current VMPL's own APIC, if it has one, and whose it is.
    pub fn own_apic(&mut self) -> Option<(&mut LocalApic, Owner)> {
        let vmpl = self.current?;
        let owner = Owner {
            apic_id: self.apic_id(),
            bootstrap: self.index() == 0,
        };
        (!self.takes_interrupts(vmpl)).then(|| (&mut self.levels[vmpl.index()].apic, owner))
    }

    /// The page, if it is set and still shared, and what is in it.
    fn doorbell(&self, vmpl: Vmpl) -> Option<(Shared, Doorbell)> {
        let page = self.levels[vmpl.index()].doorbell.and_then(Shared::at)?;
        let mut bytes = [0; Doorbell::BYTES];
        page.read(0, &mut bytes);
        Some((page, Doorbell::from_bytes(bytes)))
    }

    /// Whether this VMPL, halted, has an interrupt that goes into its page now, or was told by #HV.
    pub(super) fn doorbell_wakes(&self, vmpl: Vmpl) -> bool {
        let level = &self.levels[vmpl.index()];
        level.signal
            || level.apic.pending().is_some()
                && self
                    .doorbell(vmpl)
                    .is_some_and(|(_, content)| content.is_free())
    }

    /// Puts the current VMPL's interrupt into its page and raises #HV.
    pub(super) fn ring(&mut self) {
        let vmpl = self.vmpl();
        if let Some(vector) = self.levels[vmpl.index()].apic.pending()
            && let Some((page, content)) = self.doorbell(vmpl)
            && content.is_free()
        {
            trace!(self, Topic::Irq, "doorbell {vector:#x}: {content:x?}");
            let level = self.level();
            level.apic.accept(vector);
            page.write(Doorbell::NO_EOI_REQUIRED, &[0]);
            page.write(0, &[vector]);
            if let Signal::Raise { flags } = content.signal() {
                page.write(FLAGS, &[flags]);
                self.level().signal = true;
            }
        }
        // An event whose delivery was interrupted goes first.
        if self.level().signal && self.block.control.event_injection == 0 {
            self.level().signal = false;
            self.raise_hv();
        }
    }

    /// Delivers #HV, in software as interrupts are.
    fn raise_hv(&mut self) {
        trace!(self, Topic::Irq, "#HV");
        let what = event::Event::interrupt(HV_VECTOR);
        match self.deliver(what) {
            Ok(event::Delivered::Entered { .. }) => {}
            Ok(event::Delivered::Shutdown) => crate::exits::shutdown(self),
            Err(event::DeliveryError::Nested { violation, .. })
                if crate::exits::npf::solve(self, violation) =>
            {
                self.level().signal = true;
            }
            Err(error) => diagnosis::stop(
                self,
                crate::exit_status::ExitStatus::Diagnosis,
                format_args!("#HV cannot be delivered: {error}"),
            ),
        }
    }

    /// Whether a halted VMPL with its own APIC can be woken by its timer.
    pub(super) fn own_timer_wakes(&self, vmpl: Vmpl) -> bool {
        let level = &self.levels[vmpl.index()];
        level.state() == LevelState::Halted
            && !self.takes_interrupts(vmpl)
            && level.doorbell.is_some()
            && level.apic.next().is_some()
    }
}
