//! A vCPU: one processor, the VMSAs of its VMPLs, and the loop that runs them.
//!
//! The VMSA page is the truth. Its contents are copied into the processor's [`GuestBlock`] when its VMPL is entered and
//! copied back, with the exit's code and information, before another VMPL runs or the vCPU sleeps. In between the RMP has
//! it marked as in use.

mod events;
mod halt;
mod level;
pub mod requests;

use crate::arch::lapic;
use crate::arch::percpu::{self, PerCpu};
use crate::exit_status::ExitStatus;
use crate::memory;
use crate::svm::bitmaps::Bitmaps;
use crate::svm::npt::Tables;
use crate::svm::registers;
use crate::svm::vmcb::{GuestBlock, V_INTR_MASKING, misc1, misc2};
use crate::svm::vmrun::Svm;
use crate::{GEOMETRY, diagnosis, exits, trace};
use level::Level;
pub use level::{LevelState, features_of, fix_features, sev_info};
use snp_abi::ghcb::Ghcb;
use snp_abi::vmsa::Vmsa;
use snp_abi::{SevFeatures, Vmpl};
use snp_model::decode::{self, Instruction};
use snp_model::event;
use snp_model::rmp::Violation;
use snp_model::trace::Topic;
use snp_model::walk::{self, WalkFault};
use zerocopy::FromZeros;

const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;

/// One vCPU; its own processor has it.
pub struct Vcpu {
    cpu: &'static PerCpu,
    svm: Svm,
    /// VMCB, and the state of the VMPL in `loaded`.
    block: &'static mut GuestBlock,
    components: u64,
    /// Whose state `block` has.
    loaded: Option<Vmpl>,
    /// Who is to run.
    current: Option<Vmpl>,
    levels: [Level; Vmpl::COUNT],
    /// Nested page tables of each VMPL.
    roots: [Tables; Vmpl::COUNT],
    /// An event whose delivery an exit interrupted: EVENTINJ's format.
    reinject: u64,
    /// RIP of the last exit that was in an interrupt shadow.
    shadow_rip: Option<u64>,
    /// APIC_BASE.
    pub apic_base: u64,
    /// Where a GHCB is copied to.
    pub ghcb: &'static mut Ghcb,
}

impl Vcpu {
    /// The vCPU of this processor.
    pub fn new(bitmaps: Bitmaps) -> Option<Vcpu> {
        let block = GuestBlock::allocate()?;
        let c = &mut block.control;
        c.intercept_cr_write = 1 << 0 | 1 << 4;
        c.intercept_dr_read = 1 << 7;
        c.intercept_dr_write = 1 << 7;
        c.intercept_exceptions = 1 << exits::INVALID_OPCODE;
        c.intercept_misc1 = misc1::INTR
            | misc1::NMI
            | misc1::SMI
            | misc1::INIT
            | misc1::RDPMC
            | misc1::CPUID
            | misc1::INVD
            | misc1::HLT
            | misc1::INVLPGA
            | misc1::IOIO
            | misc1::MSR
            | misc1::TASK_SWITCH
            | misc1::SHUTDOWN;
        c.intercept_misc2 = misc2::VMRUN
            | misc2::VMMCALL
            | misc2::VMLOAD
            | misc2::VMSAVE
            | misc2::STGI
            | misc2::CLGI
            | misc2::SKINIT
            | misc2::ICEBP
            | misc2::WBINVD
            | misc2::MONITOR
            | misc2::MWAIT;
        c.iopm_base = bitmaps.io;
        c.msrpm_base = bitmaps.msr;
        c.asid = 1;
        c.interrupt_control = V_INTR_MASKING;
        c.nested_control = 1;
        let ghcb = crate::arch::frames::allocate_value::<Ghcb>()?;
        let cpu = percpu::this();
        let bsp = if cpu.index() == 0 {
            snp_model::apic::BASE_BSP
        } else {
            0
        };
        Some(Vcpu {
            cpu,
            svm: Svm::enable()?,
            block,
            components: registers::components(),
            loaded: None,
            current: None,
            levels: [const { Level::new() }; Vmpl::COUNT],
            roots: Vmpl::ALL.map(|vmpl| memory::lock().tables_of(vmpl)),
            reinject: 0,
            shadow_rip: None,
            apic_base: lapic::BASE | snp_model::apic::BASE_ENABLE | bsp,
            ghcb,
        })
    }

    /// Its number.
    pub fn index(&self) -> usize {
        self.cpu.index()
    }

    /// Its APIC ID.
    pub fn apic_id(&self) -> u32 {
        self.cpu.apic_id()
    }

    /// The VMPL that runs or is to run.
    pub fn current(&self) -> Option<Vmpl> {
        self.current
    }

    /// The VMPL whose exit is being handled.
    pub fn vmpl(&self) -> Vmpl {
        match self.current {
            Some(vmpl) => vmpl,
            None => unreachable!("an exit comes from some VMPL"),
        }
    }

    /// Registers of the VMPL that runs.
    pub fn state(&self) -> &Vmsa {
        &self.block.state
    }

    /// The same, to change.
    pub fn state_mut(&mut self) -> &mut Vmsa {
        &mut self.block.state
    }

    /// VMCB and registers.
    pub fn block(&mut self) -> &mut GuestBlock {
        self.block
    }

    /// The current VMPL's own part.
    pub fn level(&mut self) -> &mut Level {
        let vmpl = self.vmpl();
        &mut self.levels[vmpl.index()]
    }

    /// Another VMPL's own part.
    pub fn level_of(&mut self, vmpl: Vmpl) -> &mut Level {
        &mut self.levels[vmpl.index()]
    }

    /// Features of the current VMPL.
    pub fn features(&self) -> SevFeatures {
        SevFeatures::from_bits_retain(self.state().sev_features.get())
    }

    /// Whether the current VMPL's page-table entries have a C-bit: without paging, and with 32-bit entries, all is private.
    pub fn has_c_bit(&self) -> bool {
        self.state().cr0.get() & CR0_PG != 0 && self.state().cr4.get() & CR4_PAE != 0
    }

    /// Runs for ever.
    pub fn run(mut self) -> ! {
        loop {
            self.take_requests();
            crate::arch::cpu::take_interrupts();
            if !self.choose() {
                self.sleep();
                continue;
            }
            self.inject();
            self.enter();
            exits::handle(&mut self);
        }
    }

    /// Makes sure that some VMPL is to run and is loaded.
    fn choose(&mut self) -> bool {
        let runnable = |level: &Level| level.state() == LevelState::Runnable;
        let current = self
            .current
            .filter(|vmpl| runnable(&self.levels[vmpl.index()]) || self.wakes(*vmpl));
        let next = current.or_else(|| {
            Vmpl::ALL
                .into_iter()
                .rev()
                .find(|vmpl| runnable(&self.levels[vmpl.index()]))
        });
        let Some(vmpl) = next else {
            return false;
        };
        self.levels[vmpl.index()].set_state(LevelState::Runnable);
        self.current = Some(vmpl);
        self.loaded == Some(vmpl) || self.load(vmpl)
    }

    /// VMRUN's first part: takes the VMSA page and its contents.
    fn load(&mut self, vmpl: Vmpl) -> bool {
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
            drop(memory);
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
        c.interrupt_control = V_INTR_MASKING | level.tpr;
        self.reinject = core::mem::take(&mut level.reinject);
        self.loaded = Some(vmpl);
        true
    }

    /// #VMEXIT's second part: gives the VMSA page its contents and its freedom back.
    fn unload(&mut self) {
        let Some(vmpl) = self.loaded.take() else {
            return;
        };
        registers::save(&mut self.block.state, self.components);
        let level = &mut self.levels[vmpl.index()];
        let c = &mut self.block.control;
        level.shadow = c.interrupt_shadow;
        level.tpr = c.interrupt_control & crate::svm::vmcb::V_TPR;
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

    /// Runs the guest once.
    fn enter(&mut self) {
        let vmpl = self.vmpl();
        self.block.control.nested_cr3 = self.roots[vmpl.index()].root(self.has_c_bit());
        self.cpu.enter_guest(vmpl as u8);
        self.svm.run(self.block);
        self.cpu.leave_guest();
        self.after_exit();
    }

    fn after_exit(&mut self) {
        let GuestBlock { control, state, .. } = &mut *self.block;
        // QEMU before 11 stores "invalid" as 32 bits.
        if control.exit_code as u32 == u32::MAX {
            control.exit_code = u64::MAX;
        }
        state.guest_exit_code.set(control.exit_code);
        state.guest_exit_info_1.set(control.exit_info_1);
        state.guest_exit_info_2.set(control.exit_info_2);
        let interrupted = if control.exit_int_info & crate::svm::vmcb::EVENT_VALID != 0 {
            control.exit_int_info
        } else {
            0
        };
        state.guest_exit_int_info.set(interrupted);
        self.shadow_rip = (control.interrupt_shadow & crate::svm::vmcb::SHADOW != 0)
            .then(|| state.rip.get())
            .or(self.shadow_rip);
        self.keep_interrupted_event(interrupted);
        trace::exit(self.block.control.exit_code);
        trace!(
            self,
            Topic::Exit,
            "exit {:#x} info {:#x} {:#x} int {interrupted:#x}",
            self.block.control.exit_code,
            self.block.control.exit_info_1,
            self.block.control.exit_info_2
        );
    }

    /// Instruction bytes at CS:RIP.
    pub fn fetch(&self, buffer: &mut [u8; 15]) -> Result<usize, WalkFault> {
        let mut memory = memory::lock();
        let mut checked = memory::Checked {
            memory: &mut memory,
            vmpl: self.vmpl(),
        };
        walk::fetch_instruction(&mut checked, self.state(), GEOMETRY, buffer)
    }

    /// The instruction at CS:RIP, which caused an exit.
    pub fn instruction(&self) -> Result<Instruction, FetchFailure> {
        Ok(self.instruction_and_next()?.0)
    }

    /// The same, and the one after it if it is known and at hand.
    pub fn instruction_and_next(&self) -> Result<(Instruction, Option<Instruction>), FetchFailure> {
        let mut bytes = [0; 15];
        let count = self.fetch(&mut bytes).map_err(FetchFailure::Walk)?;
        let mode = decode::Mode::of(self.state());
        let first = decode::decode(&bytes[..count], mode).map_err(FetchFailure::Decode)?;
        let next = bytes
            .get(first.length.into()..count)
            .and_then(|rest| decode::decode(rest, mode).ok());
        Ok((first, next))
    }

    /// Moves RIP past an instruction that the machine executed for the guest.
    pub fn advance(&mut self, length: u8) {
        let state = &mut self.block.state;
        let long = state.cs.attributes.get() & 0x200 != 0
            && state.efer.get() & snp_abi::msr::EFER_LMA != 0;
        let rip = state.rip.get().wrapping_add(length.into());
        state.rip.set(if long { rip } else { rip & 0xFFFF_FFFF });
        state.rflags.set(state.rflags.get() & !RFLAGS_RF);
        self.block.control.interrupt_shadow = 0;
    }

    /// Delivers an exception to the guest.
    pub fn raise(&mut self, what: event::Event) {
        trace!(
            self,
            Topic::Vc,
            "deliver vector {} error {:x?}",
            what.vector,
            what.error_code
        );
        let vmpl = self.vmpl();
        let mut memory = memory::lock();
        let mut checked = memory::Checked {
            memory: &mut memory,
            vmpl,
        };
        let result = event::deliver(&mut self.block.state, &mut checked, GEOMETRY, what);
        drop(memory);
        match result {
            Ok(event::Delivered::Entered { .. }) => self.block.control.interrupt_shadow = 0,
            Ok(event::Delivered::Shutdown) => exits::shutdown(self),
            Err(event::DeliveryError::Nested { violation, pending }) => {
                self.nested(violation, pending);
            }
            Err(error) => diagnosis::stop(self, ExitStatus::Diagnosis, format_args!("{error}")),
        }
    }

    /// A nested fault on the way of an exception. What the machine can wait for (a VMSA that another processor runs) is
    /// retried by executing the instruction again.
    fn nested(&mut self, violation: Violation, pending: event::Event) {
        if exits::npf::solve(self, violation) {
            return;
        }
        diagnosis::stop(
            self,
            ExitStatus::Diagnosis,
            format_args!("while vector {} was delivered: {violation}", pending.vector),
        )
    }
}

/// RFLAGS.RF.
const RFLAGS_RF: u64 = 1 << 16;

/// Why the machine cannot tell which instruction it was.
#[derive(Debug)]
pub enum FetchFailure {
    /// Its bytes cannot be read (any more).
    Walk(WalkFault),
    /// It is not known.
    Decode(decode::DecodeError),
}

impl core::fmt::Display for FetchFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FetchFailure::Walk(fault) => fault.fmt(f),
            FetchFailure::Decode(error) => error.fmt(f),
        }
    }
}
