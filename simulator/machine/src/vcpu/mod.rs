//! A vCPU: one processor, the VMSAs of its VMPLs, and the loop that runs them.
//!
//! The VMSA page is the truth. Its contents are copied into the processor's [`GuestBlock`] when its VMPL is entered and
//! copied back, with the exit's code and information, before another VMPL runs or the vCPU sleeps. In between the RMP has
//! it marked as in use.

mod doorbell;
mod events;
mod halt;
mod instruction;
mod level;
pub mod requests;
mod switch;
mod timers;

use crate::arch::lapic;
use crate::arch::percpu::{self, PerCpu};
use crate::memory;
use crate::svm::bitmaps::Bitmaps;
use crate::svm::npt::Tables;
use crate::svm::registers;
use crate::svm::vmcb::{GuestBlock, misc1, misc2};
use crate::svm::vmrun::Svm;
use crate::{calls, exits, trace};
pub use instruction::FetchFailure;
use level::Level;
pub use level::{LevelState, features_of, fix_features, sev_info};
use snp_abi::ghcb::Ghcb;
use snp_abi::vmsa::Vmsa;
use snp_abi::{SevFeatures, Vmpl};
use snp_model::lapic::Timer;
use snp_model::trace::Topic;

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
    /// The guest's APIC timer.
    pub timer: Timer,
    hardware: timers::Hardware,
    account: calls::Account,
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
            timer: Timer::new(),
            hardware: timers::Hardware::Stopped,
            account: calls::Account::default(),
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
            self.expire_timers();
            if !self.choose() {
                self.set_timer();
                self.sleep();
                continue;
            }
            self.inject();
            self.set_timer();
            if self.enter() {
                exits::handle(&mut self);
            }
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

    /// Runs the guest once; not if there is something to look at first.
    fn enter(&mut self) -> bool {
        let vmpl = self.vmpl();
        self.block.control.nested_cr3 = self.roots[vmpl.index()].root(self.has_c_bit());
        self.cpu.presence().enter(vmpl);
        self.account.enter(vmpl, self.block.state.rax.get());
        let ran = self.svm.run(self.block, self.cpu.kick_flag());
        self.cpu.presence().leave();
        if ran {
            self.account.leave(vmpl);
            self.after_exit();
        } else {
            self.reinject = core::mem::take(&mut self.block.control.event_injection);
        }
        ran
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
}
