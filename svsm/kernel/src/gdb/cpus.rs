//! CPUs as the debugger's threads: where each one is that stopped, and how it goes on.
//!
//! A CPU that stops leaves its registers in its slot and waits. Whoever holds the stub looks at them there, changes them, and
//! lets the CPU go, which takes them back. So no CPU's stack is touched by another one.

use crate::arch::percpu::this_cpu;
use crate::arch::sync::{Once, SpinLock};
use crate::arch::traps::{SINGLE_STEP, TrapFrame};
use crate::mm::{self, OutOfMemory};
use core::ops::Range;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// A CPU's state.
const RUNNING: u8 = 0;
const STOPPED: u8 = 1;
/// It may go on, and has not yet noticed.
const RELEASED: u8 = 2;
/// It takes its registers back.
const LEAVING: u8 = 3;

/// How a CPU goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// It does not.
    #[default]
    Stay,
    /// Until something happens.
    Continue,
    /// For one instruction.
    Step,
    /// As long as it is within these addresses.
    Range(Range<u64>),
}

/// Why a CPU stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A breakpoint of the debugger's.
    Breakpoint,
    /// A step that is done.
    Step,
    /// A failure, by the number of a signal that it would be in a Unix process.
    Signal(u8),
    /// The boot waits for a debugger.
    Attach,
    /// Bytes wait at the port.
    Input,
    /// Another CPU stopped.
    Other,
}

/// One CPU.
pub struct Slot {
    state: AtomicU8,
    frame: SpinLock<TrapFrame>,
    /// Where it is stepping.
    steps: SpinLock<Resume>,
    /// How it is to go on.
    next: SpinLock<Resume>,
    /// Why it is going to execute a breakpoint of its own making.
    pub cause: SpinLock<Option<Cause>>,
}

static SLOTS: Once<&'static [Slot]> = Once::new();

/// CPUs that are stepping. To be known where GS cannot be used.
static STEPPING: AtomicU32 = AtomicU32::new(0);

/// Makes slots for so many CPUs.
pub fn init(count: usize) -> Result<(), OutOfMemory> {
    let slots = mm::allocate_slice(count, |_| Slot {
        state: AtomicU8::new(RUNNING),
        frame: SpinLock::new(TrapFrame::default()),
        steps: SpinLock::new(Resume::Stay),
        next: SpinLock::new(Resume::Stay),
        cause: SpinLock::new(None),
    })?;
    SLOTS.set(slots).map(|_| ()).map_err(|_| OutOfMemory)
}

/// All CPUs, by index.
pub fn all() -> &'static [Slot] {
    SLOTS.get().copied().unwrap_or_default()
}

/// This CPU: its index and slot.
pub fn this() -> Option<(usize, &'static Slot)> {
    let index = this_cpu().index.get();
    Some((index, all().get(index)?))
}

/// Whether a CPU is stepping.
pub fn any_steps() -> bool {
    STEPPING.load(Ordering::Relaxed) != 0
}

impl Slot {
    /// Whether the CPU runs the kernel's own business rather than waiting here.
    pub fn runs(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNNING
    }

    /// Whether it waits to be let go.
    pub fn is_stopped(&self) -> bool {
        self.state.load(Ordering::Acquire) == STOPPED
    }

    /// Stops this CPU: from here on its registers are in the slot.
    pub fn stop(&self, frame: &TrapFrame) {
        *self.frame.lock() = *frame;
        self.end_steps();
        self.state.store(STOPPED, Ordering::Release);
    }

    /// Takes back a release that has not been noticed yet.
    pub fn hold(&self) {
        let held =
            self.state
                .compare_exchange(RELEASED, STOPPED, Ordering::AcqRel, Ordering::Acquire);
        if held.is_ok() {
            self.end_steps();
        }
    }

    fn end_steps(&self) {
        let steps = core::mem::take(&mut *self.steps.lock());
        if matches!(steps, Resume::Step | Resume::Range(_)) {
            STEPPING.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Waits until this CPU is let go, and takes its registers back.
    pub fn wait(&self, frame: &mut TrapFrame) {
        while self
            .state
            .compare_exchange_weak(RELEASED, LEAVING, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            core::hint::spin_loop();
        }
        *frame = *self.frame.lock();
        self.state.store(RUNNING, Ordering::Release);
    }

    /// Lets a stopped CPU go.
    pub fn release(&self, how: Resume) {
        if how == Resume::Stay || !self.is_stopped() {
            return;
        }
        let mut frame = self.frame.lock();
        frame.rflags &= !SINGLE_STEP;
        if how != Resume::Continue {
            frame.rflags |= SINGLE_STEP;
            STEPPING.fetch_add(1, Ordering::Relaxed);
        }
        drop(frame);
        *self.steps.lock() = how;
        self.state.store(RELEASED, Ordering::Release);
    }

    /// Says how it is to go on, later.
    pub fn set_next(&self, how: Resume) {
        *self.next.lock() = how;
    }

    /// What was said of it.
    pub fn take_next(&self) -> Resume {
        core::mem::take(&mut self.next.lock())
    }

    /// Whether a step within a range goes on; then `frame` does so.
    pub fn steps_on(&self, frame: &mut TrapFrame) -> bool {
        let inside = match &*self.steps.lock() {
            Resume::Range(range) => range.contains(&frame.rip),
            _ => false,
        };
        if inside {
            frame.rflags |= SINGLE_STEP;
        } else {
            frame.rflags &= !SINGLE_STEP;
        }
        inside
    }

    /// The registers of a stopped CPU.
    pub fn registers(&self) -> TrapFrame {
        *self.frame.lock()
    }

    /// Changes them.
    pub fn set_registers(&self, frame: TrapFrame) {
        *self.frame.lock() = frame;
    }
}
