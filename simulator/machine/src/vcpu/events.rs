//! Interrupts and NMIs for the guest. Physical interrupts are taken by the machine, noted, and given to the VMPL they belong
//! to when it runs and can take them; their ISR bit stays set in the real APIC until the guest's EOI.

use super::Vcpu;
use super::requests::shared;
use crate::svm::vmcb::{EVENT_VALID, SHADOW, V_IRQ, V_TPR, misc1};
use crate::trace;
use snp_abi::{SevFeatures, Vmpl};
use snp_model::decode::Kind;
use snp_model::event;
use snp_model::trace::Topic;

const RFLAGS_IF: u64 = 1 << 9;
const V_PRIORITY_SHIFT: u32 = 16;
const V_REQUEST: u32 = V_IRQ | 0xF << V_PRIORITY_SHIFT | 1 << 20;
const TYPE_MASK: u64 = 7 << 8;
const TYPE_SOFTWARE: u64 = 4 << 8;
const NMI_EVENT: u64 = EVENT_VALID | 2 << 8 | 2;

impl Vcpu {
    /// Whether interrupts belong to this VMPL: those with restricted or alternate injection get none.
    pub(super) fn takes_interrupts(&self, vmpl: Vmpl) -> bool {
        super::features_of(vmpl).is_none_or(|features| {
            !features
                .intersects(SevFeatures::RESTRICTED_INJECTION | SevFeatures::ALTERNATE_INJECTION)
        })
    }

    pub(super) fn interrupts_on(&self) -> bool {
        self.state().rflags.get() & RFLAGS_IF != 0
    }

    /// Whether the last instruction keeps interrupts away for one more.
    pub(super) fn in_shadow(&self) -> bool {
        self.block.control.interrupt_shadow & SHADOW != 0
    }

    /// The virtual TPR of a VMPL, which is in the VMCB while the VMPL is loaded.
    fn tpr(&self, vmpl: Vmpl) -> u32 {
        if self.loaded == Some(vmpl) {
            self.block.control.interrupt_control & V_TPR
        } else {
            self.levels[vmpl.index()].tpr
        }
    }

    /// The interrupt that a VMPL's virtual TPR lets through.
    fn deliverable(&self, vmpl: Vmpl) -> Option<u8> {
        let tpr = self.tpr(vmpl);
        self.cpu
            .pending_interrupt()
            .filter(|vector| u32::from(vector >> 4) > tpr)
    }

    fn nmi_deliverable(&self, vmpl: Vmpl) -> bool {
        !self.levels[vmpl.index()].nmi_blocked && shared(self.index()).nmi_pending()
    }

    /// Whether this VMPL, halted, goes on now.
    pub(super) fn wakes(&self, vmpl: Vmpl) -> bool {
        let level = &self.levels[vmpl.index()];
        if level.state() != super::LevelState::Halted {
            return false;
        }
        if !self.takes_interrupts(vmpl) {
            return self.doorbell_wakes(vmpl);
        }
        level.interrupts_on && self.deliverable(vmpl).is_some() || self.nmi_deliverable(vmpl)
    }

    /// Puts into the VMCB what is to be delivered at the next entry.
    pub(super) fn inject(&mut self) {
        let vmpl = self.vmpl();
        self.block.control.intercept_misc1 &= !misc1::VINTR;
        self.block.control.interrupt_control &= !V_REQUEST;
        self.block.control.event_injection = core::mem::take(&mut self.reinject);
        if !self.takes_interrupts(vmpl) {
            return self.ring();
        }
        let free = self.block.control.event_injection == 0;
        let shadow = self.in_shadow();
        if free && !shadow && self.nmi_deliverable(vmpl) {
            trace!(self, Topic::Irq, "NMI");
            shared(self.index()).take_nmi();
            self.level().nmi_blocked = true;
            self.block.control.event_injection = NMI_EVENT;
            return;
        }
        let Some(vector) = self.cpu.pending_interrupt() else {
            return;
        };
        if free && !shadow && self.interrupts_on() && self.deliverable(vmpl) == Some(vector) {
            trace!(self, Topic::Irq, "interrupt {vector:#x}");
            self.cpu.clear_interrupt(vector);
            self.deliver_interrupt(vector);
            return;
        }
        // Ask for an exit as soon as the guest can take it.
        let control = &mut self.block.control;
        control.interrupt_control |= V_IRQ | u32::from(vector >> 4) << V_PRIORITY_SHIFT;
        control.interrupt_vector = vector.into();
        control.intercept_misc1 |= misc1::VINTR;
    }

    /// Delivers an interrupt in software. Not by EVENTINJ: QEMU delivers that one a second time if its loop is asked to stop
    /// at that moment, because its VMRUN leaves the vector as a pending exception.
    fn deliver_interrupt(&mut self, vector: u8) {
        match self.deliver(event::Event::interrupt(vector)) {
            Ok(event::Delivered::Entered { .. }) => {}
            Ok(event::Delivered::Shutdown) => crate::exits::shutdown(self),
            Err(event::DeliveryError::Nested { violation, .. })
                if crate::exits::npf::solve(self, violation) =>
            {
                // Later: it stays pending.
                self.cpu.note_interrupt(vector);
            }
            Err(error) => crate::diagnosis::stop(
                self,
                crate::exit_status::ExitStatus::Diagnosis,
                format_args!("interrupt {vector:#x} cannot be delivered: {error}"),
            ),
        }
    }

    /// The guest can take an interrupt now. QEMU 7.2 forgets the interrupt shadow when it enters a guest, so this can come
    /// between STI and HLT; there HLT must come first, or its wake-up is lost.
    pub(crate) fn interrupt_window(&mut self) {
        let rip = self.state().rip.get();
        if self.shadow_rip.take() == Some(rip)
            && let Ok(instruction) = self.instruction()
            && instruction.kind == Kind::Hlt
        {
            self.advance(instruction.length);
        }
    }

    /// An exit interrupted the delivery of an event: deliver it again. Software interrupts are executed again instead.
    pub(super) fn keep_interrupted_event(&mut self, event: u64) {
        self.reinject = if event & TYPE_MASK == TYPE_SOFTWARE {
            0
        } else {
            event
        };
    }

    /// Forgets an interrupted delivery: another exception takes its place.
    pub(crate) fn take_interrupted_event(&mut self) -> u64 {
        core::mem::take(&mut self.reinject)
    }
}
