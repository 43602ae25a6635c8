//! What the stub does to the kernel: registers, memory, breakpoints, going on.

use super::cpus::{self, Resume};
use super::port;
use crate::mm;
use core::num::NonZeroUsize;
use gdbstub::arch::Arch;
use gdbstub::common::{Signal, Tid};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadRangeStepping, MultiThreadRangeSteppingOps, MultiThreadResume,
    MultiThreadResumeOps, MultiThreadSchedulerLocking, MultiThreadSchedulerLockingOps,
    MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, SwBreakpoint, SwBreakpointOps,
};
use gdbstub::target::{Target, TargetError, TargetResult};
use gdbstub_arch::x86::X86_64_SSE;
use gdbstub_arch::x86::reg::X86_64CoreRegs;
use snp_abi::PAGE_SIZE;

/// Most breakpoints at a time.
const MAX_BREAKPOINTS: usize = 64;
/// Most bytes that one packet may read.
const BUDGET: usize = 1 << 16;
/// The instruction INT3.
const INT3: u8 = 0xCC;
/// RFLAGS bit that is always set.
const ALWAYS: u64 = 2;

/// The kernel under the debugger.
pub struct Kernel {
    /// The CPU that reports, by index.
    pub reporter: usize,
    /// Set when the debugger wants CPUs to go on.
    pub resumed: bool,
    /// CPUs without an action of their own stay.
    locked: bool,
    breakpoints: [Option<(u64, u8)>; MAX_BREAKPOINTS],
    budget: usize,
}

/// A CPU's thread number.
pub fn thread(index: usize) -> Tid {
    NonZeroUsize::MIN.saturating_add(index)
}

/// A thread's slot.
fn slot(tid: Tid) -> Result<&'static cpus::Slot, TargetError<&'static str>> {
    cpus::all()
        .get(tid.get() - 1)
        .filter(|slot| !slot.runs())
        .ok_or(TargetError::NonFatal)
}

impl Kernel {
    /// No breakpoints.
    pub const fn new() -> Kernel {
        Kernel {
            reporter: 0,
            resumed: false,
            locked: false,
            breakpoints: [None; MAX_BREAKPOINTS],
            budget: 0,
        }
    }

    /// Before a packet.
    pub fn begin(&mut self) {
        self.budget = BUDGET;
    }

    /// Lets CPUs go as the debugger said.
    pub fn release(&mut self) {
        for slot in cpus::all() {
            let how = match slot.take_next() {
                Resume::Stay if !self.locked => Resume::Continue,
                how => how,
            };
            slot.release(how);
        }
    }

    /// All CPUs are to go on.
    pub fn clear(&mut self) {
        for slot in cpus::all() {
            slot.set_next(Resume::Stay);
        }
        self.locked = false;
    }

    /// Removes all breakpoints, too.
    pub fn forget(&mut self) {
        for (address, byte) in self.breakpoints.iter_mut().filter_map(Option::take) {
            let _ = mm::debug_write(address, &[byte]);
        }
        self.clear();
    }

    /// Whether the debugger has a breakpoint there.
    pub fn has_breakpoint(&self, address: u64) -> bool {
        self.breakpoints
            .iter()
            .flatten()
            .any(|(at, _)| *at == address)
    }

    fn set_resume(&mut self, tid: Tid, how: Resume) {
        if let Some(slot) = cpus::all().get(tid.get() - 1) {
            slot.set_next(how);
        }
    }
}

/// Whether an instruction INT3 is there.
pub fn is_int3(address: u64) -> bool {
    let mut byte = [0];
    mm::debug_read(address, &mut byte).is_ok() && byte[0] == INT3
}

impl Target for Kernel {
    type Arch = X86_64_SSE;
    type Error = &'static str;

    fn base_ops(&mut self) -> BaseOps<'_, X86_64_SSE, Self::Error> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Kernel {
    fn read_registers(&mut self, regs: &mut X86_64CoreRegs, tid: Tid) -> TargetResult<(), Self> {
        let f = slot(tid)?.registers();
        regs.regs = [
            f.rax, f.rbx, f.rcx, f.rdx, f.rsi, f.rdi, f.rbp, f.rsp, f.r8, f.r9, f.r10, f.r11,
            f.r12, f.r13, f.r14, f.r15,
        ];
        regs.rip = f.rip;
        regs.eflags = f.rflags as u32;
        regs.segments.cs = f.cs as u32;
        regs.segments.ss = f.ss as u32;
        Ok(())
    }

    fn write_registers(&mut self, regs: &X86_64CoreRegs, tid: Tid) -> TargetResult<(), Self> {
        let slot = slot(tid)?;
        let mut f = slot.registers();
        [
            f.rax, f.rbx, f.rcx, f.rdx, f.rsi, f.rdi, f.rbp, f.rsp, f.r8, f.r9, f.r10, f.r11,
            f.r12, f.r13, f.r14, f.r15,
        ] = regs.regs;
        f.rip = regs.rip;
        f.rflags = u64::from(regs.eflags) | ALWAYS;
        slot.set_registers(f);
        Ok(())
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], _: Tid) -> TargetResult<usize, Self> {
        self.budget = self
            .budget
            .checked_sub(data.len())
            .filter(|_| !port::is_lost())
            .ok_or(TargetError::NonFatal)?;
        // Page by page: what can be read before one that cannot is an answer.
        let mut done = 0;
        while done < data.len() {
            let at = start.wrapping_add(done as u64);
            let in_page = (PAGE_SIZE - at % PAGE_SIZE) as usize;
            let end = data.len().min(done + in_page);
            if mm::debug_read(at, &mut data[done..end]).is_err() {
                break;
            }
            done = end;
        }
        if done == 0 && !data.is_empty() {
            return Err(TargetError::NonFatal);
        }
        Ok(done)
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], _: Tid) -> TargetResult<(), Self> {
        mm::debug_write(start, data).map_err(|_| TargetError::NonFatal)
    }

    fn list_active_threads(&mut self, active: &mut dyn FnMut(Tid)) -> Result<(), Self::Error> {
        // The first one is what a debugger that attaches looks at.
        active(thread(self.reporter));
        for (index, slot) in cpus::all().iter().enumerate() {
            if index != self.reporter && !slot.runs() {
                active(thread(index));
            }
        }
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadResume for Kernel {
    fn resume(&mut self) -> Result<(), Self::Error> {
        self.resumed = true;
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Self::Error> {
        self.clear();
        Ok(())
    }

    fn set_resume_action_continue(
        &mut self,
        tid: Tid,
        _: Option<Signal>,
    ) -> Result<(), Self::Error> {
        self.set_resume(tid, Resume::Continue);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<MultiThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Kernel {
    fn set_resume_action_step(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), Self::Error> {
        self.set_resume(tid, Resume::Step);
        Ok(())
    }
}

impl MultiThreadRangeStepping for Kernel {
    fn set_resume_action_range_step(
        &mut self,
        tid: Tid,
        start: <X86_64_SSE as Arch>::Usize,
        end: <X86_64_SSE as Arch>::Usize,
    ) -> Result<(), Self::Error> {
        self.set_resume(tid, Resume::Range(start..end));
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Kernel {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Self::Error> {
        self.locked = true;
        Ok(())
    }
}

impl Breakpoints for Kernel {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Kernel {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        if self.has_breakpoint(address) {
            return Ok(true);
        }
        let Some(place) = self.breakpoints.iter_mut().find(|place| place.is_none()) else {
            return Ok(false);
        };
        let mut byte = [0];
        if mm::debug_read(address, &mut byte).is_err() || mm::debug_write(address, &[INT3]).is_err()
        {
            return Ok(false);
        }
        *place = Some((address, byte[0]));
        Ok(true)
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        for place in &mut self.breakpoints {
            if let Some((at, byte)) = *place
                && at == address
            {
                *place = None;
                return Ok(mm::debug_write(address, &[byte]).is_ok());
            }
        }
        Ok(false)
    }
}
