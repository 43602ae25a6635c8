//! What one vCPU asks of another: start or stop a VMPL, take an NMI, let go of a VMSA page.

use super::level::Level;
use super::{LevelState, Vcpu};
use crate::arch::lock::SpinLock;
use crate::arch::percpu::{self, MAX_CPUS};
use crate::arch::time::{self, Deadline};
use crate::trace;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use snp_abi::{Vmpl, ghcb_msr};
use snp_model::apic::{Mode, Target};
use snp_model::trace::Topic;

/// How long a vCPU that let go of its VMSA waits for the other to write it.
const YIELD_MS: u64 = 2;

#[derive(Clone, Copy)]
enum Change {
    Start {
        vmsa: u64,
        now: bool,
        /// Not before this time, in nanoseconds.
        due: u64,
    },
    Destroy,
}

/// The part of a vCPU that others use.
pub struct Shared {
    changes: SpinLock<[Option<Change>; Vmpl::COUNT]>,
    init: AtomicBool,
    startup: AtomicBool,
    nmi: AtomicBool,
    /// Vectors for VMPLs with an APIC of their own.
    interrupts: [[AtomicU64; 4]; Vmpl::COUNT],
    release: AtomicBool,
    parked: AtomicBool,
    apic_mode: AtomicU32,
    apic_logical: AtomicU64,
}

static ALL: [Shared; MAX_CPUS] = [const { Shared::new() }; MAX_CPUS];

/// The shared part of vCPU `index`.
pub fn shared(index: usize) -> &'static Shared {
    &ALL[index]
}

impl Shared {
    const fn new() -> Shared {
        Shared {
            changes: SpinLock::new([None; Vmpl::COUNT]),
            init: AtomicBool::new(false),
            startup: AtomicBool::new(false),
            nmi: AtomicBool::new(false),
            interrupts: [const { [const { AtomicU64::new(0) }; 4] }; Vmpl::COUNT],
            release: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            apic_mode: AtomicU32::new(1),
            apic_logical: AtomicU64::new(0xF000_0000 << 32),
        }
    }

    pub(super) fn nmi_pending(&self) -> bool {
        self.nmi.load(Ordering::Acquire)
    }

    pub(super) fn take_nmi(&self) {
        self.nmi.store(false, Ordering::Release);
    }

    pub(super) fn set_parked(&self, parked: bool) {
        self.parked.store(parked, Ordering::SeqCst);
    }

    pub(super) fn parked(&self) -> bool {
        self.parked.load(Ordering::SeqCst)
    }

    pub(super) fn has_requests(&self) -> bool {
        self.init.load(Ordering::SeqCst)
            || self.startup.load(Ordering::SeqCst)
            || self.nmi.load(Ordering::SeqCst)
            || self
                .interrupts
                .as_flattened()
                .iter()
                .any(|word| word.load(Ordering::SeqCst) != 0)
            || self.changes.lock().iter().any(Option::is_some)
    }

    /// When the next start is due that was asked for.
    pub(super) fn next_start(&self) -> Option<u64> {
        let changes = self.changes.lock();
        changes
            .iter()
            .flatten()
            .map(|change| change.due())
            .filter(|&due| due > 0)
            .min()
    }

    /// Tells others how this vCPU's APIC is addressed.
    pub fn publish_apic(&self, mode: Mode, ldr: u32, dfr: u32) {
        let mode = match mode {
            Mode::Disabled => 0,
            Mode::XApic => 1,
            Mode::X2Apic => 2,
        };
        self.apic_mode.store(mode, Ordering::Relaxed);
        self.apic_logical
            .store(u64::from(dfr) << 32 | u64::from(ldr), Ordering::Relaxed);
    }

    /// How this vCPU's APIC is addressed.
    pub fn apic_target(&self, apic_id: u32) -> Target {
        let logical = self.apic_logical.load(Ordering::Relaxed);
        Target {
            apic_id,
            mode: match self.apic_mode.load(Ordering::Relaxed) {
                0 => Mode::Disabled,
                1 => Mode::XApic,
                _ => Mode::X2Apic,
            },
            ldr: logical as u32,
            dfr: (logical >> 32) as u32,
        }
    }
}

fn kick(index: usize) {
    if let Some(cpu) = percpu::get(index) {
        if cpu.index() == percpu::this().index() {
            cpu.kick_self();
        } else {
            cpu.kick();
        }
    }
}

impl Change {
    const fn due(self) -> u64 {
        match self {
            Change::Start { due, .. } => due,
            Change::Destroy => 0,
        }
    }
}

/// Gives a VMPL of vCPU `index` a VMSA, at the time `due`.
pub fn start(index: usize, vmpl: Vmpl, vmsa: u64, now: bool, due: u64) {
    shared(index).changes.lock()[vmpl.index()] = Some(Change::Start { vmsa, now, due });
    kick(index);
}

/// Takes a VMPL's VMSA away.
pub fn destroy(index: usize, vmpl: Vmpl) {
    shared(index).changes.lock()[vmpl.index()] = Some(Change::Destroy);
    kick(index);
}

/// INIT: starts what waits for it.
pub fn init(index: usize) {
    shared(index).init.store(true, Ordering::SeqCst);
    kick(index);
}

/// Start-up IPI: ends an AP reset hold.
pub fn startup(index: usize) {
    shared(index).startup.store(true, Ordering::SeqCst);
    kick(index);
}

/// A guest NMI.
pub fn nmi(index: usize) {
    shared(index).nmi.store(true, Ordering::SeqCst);
    kick(index);
}

/// An interrupt for a VMPL that has an APIC of its own.
pub fn interrupt(index: usize, vmpl: Vmpl, vector: u8) {
    let words = &shared(index).interrupts[vmpl.index()];
    words[usize::from(vector >> 6)].fetch_or(1 << (vector & 63), Ordering::SeqCst);
    kick(index);
}

/// Someone on this vCPU wants to write a VMSA page that another one runs: those let go of theirs for a moment.
pub fn release_vmsa() {
    for cpu in percpu::all().filter(|cpu| cpu.index() != percpu::this().index()) {
        if cpu.presence().running().is_some() {
            shared(cpu.index()).release.store(true, Ordering::Release);
            cpu.kick();
        }
    }
}

impl Vcpu {
    /// Does what others asked for.
    pub(super) fn take_requests(&mut self) {
        if !self.cpu.take_kick() {
            return;
        }
        self.timer_may_have_fired();
        let shared = shared(self.index());
        let now = time::now();
        let changes = shared.changes.lock().each_mut().map(|change| {
            // What is not due is looked at again when the timer fires.
            change.take_if(|change| change.due() <= now)
        });
        for (vmpl, change) in Vmpl::ALL.into_iter().zip(changes) {
            match change {
                Some(Change::Start {
                    vmsa, now: false, ..
                }) if self.levels[vmpl.index()].state() != LevelState::Absent => {
                    self.levels[vmpl.index()].on_init = Some(vmsa);
                }
                Some(Change::Start { vmsa, now, .. }) => {
                    self.replace(vmpl, Level::started(vmsa, now))
                }
                Some(Change::Destroy) => self.replace(vmpl, Level::new()),
                None => {}
            }
        }
        if shared.init.swap(false, Ordering::SeqCst) {
            for vmpl in Vmpl::ALL {
                let level = &mut self.levels[vmpl.index()];
                if let Some(vmsa) = level.on_init {
                    self.replace(vmpl, Level::started(vmsa, true));
                } else if level.state() == LevelState::Waiting {
                    level.set_state(LevelState::Runnable);
                }
            }
        }
        if shared.startup.swap(false, Ordering::SeqCst) {
            for level in &mut self.levels {
                if level.state() == LevelState::Held {
                    level.set_state(LevelState::Runnable);
                }
            }
        }
        for (level, words) in self.levels.iter_mut().zip(&shared.interrupts) {
            for (first, word) in (0..).step_by(64).zip(words) {
                let requested = word.swap(0, Ordering::SeqCst);
                (0..64)
                    .filter(|bit| requested >> bit & 1 != 0)
                    .for_each(|bit| level.apic.request(first + bit));
            }
        }
        if shared.release.swap(false, Ordering::AcqRel) {
            self.unload();
            let deadline = Deadline::after_ms(YIELD_MS);
            while !deadline.passed() {
                crate::arch::cpu::relax();
            }
        }
    }

    fn replace(&mut self, vmpl: Vmpl, new: Level) {
        trace!(
            self,
            Topic::Ap,
            "VMPL{} {:?} vmsa {:x?}",
            vmpl as u8,
            new.state(),
            new.vmsa()
        );
        if self.loaded == Some(vmpl) {
            self.unload();
        }
        let destroyed = new.state() == LevelState::Absent;
        self.levels[vmpl.index()] = new;
        if self.current == Some(vmpl) && destroyed {
            self.current = None;
        }
    }

    /// RUN_VMPL: the current VMPL waits, `target` runs. `false`: it has no VMSA.
    pub(crate) fn run_vmpl(&mut self, target: Vmpl) -> bool {
        let current = self.vmpl();
        if target == current {
            return true;
        }
        match self.levels[target.index()].state() {
            LevelState::Absent | LevelState::Refused | LevelState::Held => return false,
            LevelState::Waiting
            | LevelState::Runnable
            | LevelState::Suspended
            | LevelState::Halted => {}
        }
        let s = self.state();
        trace!(
            self,
            Topic::Svsm,
            "VMPL{} asks for VMPL{}: rax {:#x} rcx {:#x} rdx {:#x} r8 {:#x} r9 {:#x}",
            current as u8,
            target as u8,
            s.rax,
            s.rcx,
            s.rdx,
            s.r8,
            s.r9
        );
        if target == Vmpl::Vmpl0 {
            let request = self.state().rax.get();
            self.account.begin(request);
        }
        self.level().set_state(LevelState::Suspended);
        self.levels[target.index()].set_state(LevelState::Runnable);
        self.current = Some(target);
        true
    }

    /// The VMPL that was asked for cannot run: the one that asked goes on, with an error in its GHCB MSR.
    pub(super) fn resume_requester(&mut self) {
        let waiting = |level: &Level| level.state() == LevelState::Suspended;
        let Some(vmpl) = Vmpl::ALL
            .into_iter()
            .find(|vmpl| waiting(&self.levels[vmpl.index()]))
        else {
            return;
        };
        let level = &mut self.levels[vmpl.index()];
        level.set_state(LevelState::Runnable);
        if level.ghcb_msr & ghcb_msr::CODE_MASK == ghcb_msr::RUN_VMPL_RESPONSE {
            level.ghcb_msr = snp_model::ghcb_msr::run_vmpl_response(1);
        }
        self.current = Some(vmpl);
    }
}
