//! The debugger: a gdb stub at the second serial port, in kernels with the feature `gdb` only, never in a release image. An
//! image that has it says so in its measured parameters, and a kernel that finds the two to differ does not start.
//!
//! Whoever has the port sees and changes everything. The bytes that come from there are foreign all the same: noise, broken
//! packets, a debugger that is gone cost a stop of bounded length, and nothing else.
//!
//! One CPU at a time holds the stub: the one that stopped. It has the others stop where the platform can (native: NMI); where
//! it cannot (SEV-SNP with restricted injection), they stop when they next come by [`poll`] or a #VC.

mod cpus;
mod port;
mod target;

use crate::arch::cpu;
use crate::arch::percpu::this_cpu;
use crate::arch::sync::Exclusive;
use crate::arch::traps::{self, TrapFrame};
use crate::clock;
use crate::console::log;
use crate::kernel::KERNEL;
use crate::mm::{self, OutOfMemory};
use crate::platform::platform;
use core::sync::atomic::{AtomicBool, Ordering};
use cpus::{Cause, Slot};
use gdbstub::common::Signal;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStub, MultiThreadStopReason};
use port::Line;
use snp_abi::{PAGE_SIZE, msr};
use svsm_abi::termination::Reason;
use svsm_core::madt::MAX_CPUS;
use svsm_core::rsp::{Event, Framer, MAX_PACKET};
use target::Kernel;

type Machine = GdbStubStateMachine<'static, Kernel, Line>;

/// How long boot, or a failure, waits for a debugger, in milliseconds.
const ATTACH_MS: u64 = 60_000;
/// How long a stop lasts without a packet.
const IDLE_MS: u64 = 60 * 60_000;
/// How long bytes that wait at the port may take to become a packet.
const INPUT_MS: u64 = 200;
/// How long other CPUs may take to stop.
const OTHERS_MS: u64 = 20;

/// Sessions that may end in an error, each of which costs its buffer, until the debugger is off.
const SESSIONS: usize = 16;

const SIGINT: u8 = 2;
const SIGILL: u8 = 4;
const SIGTRAP: u8 = 5;
const SIGABRT: u8 = 6;
const SIGFPE: u8 = 8;
const SIGSEGV: u8 = 11;

/// There is a stub, and a port.
static ON: AtomicBool = AtomicBool::new(false);
/// A CPU holds the stub, and the others are to stop.
static STOPPING: AtomicBool = AtomicBool::new(false);
static STUB: Exclusive<Stub> = Exclusive::new(Stub {
    machine: None,
    kernel: Kernel::new(),
    framer: Framer::new(),
    buffers: None,
    attached: false,
    ghcb: [0; _],
});

/// The stub.
struct Stub {
    machine: Option<Machine>,
    kernel: Kernel,
    framer: Framer,
    buffers: Option<core::slice::IterMut<'static, [u8; MAX_PACKET]>>,
    /// A debugger has spoken.
    attached: bool,
    /// What the GHCB had in it, which the stub's own exits overwrite.
    ghcb: [u64; (PAGE_SIZE / 8) as usize],
}

/// How a stop ended.
enum End {
    Resumed,
    Detached,
    Killed,
    /// Nobody is there, or nobody who speaks the protocol.
    Alone,
}

/// Makes the stub ready for so many CPUs and waits for a debugger, a while.
pub fn start(cpus: usize) -> Result<(), OutOfMemory> {
    log!("debugger: on, at COM2: this image keeps no secret");
    if !port::init() {
        log!("debugger: no second serial port; going on without");
        return Ok(());
    }
    mm::map_alias()?;
    cpus::init(cpus.min(MAX_CPUS))?;
    let buffers = mm::allocate_slice(SESSIONS, |_| [0; MAX_PACKET])?;
    if let Some(mut stub) = STUB.try_hold() {
        stub.buffers = Some(buffers.iter_mut());
    }
    ON.store(true, Ordering::Release);
    log!("debugger: waiting for gdb, {} s", ATTACH_MS / 1000);
    stop(Cause::Attach);
    Ok(())
}

/// Whether the debugger is on.
pub fn is_on() -> bool {
    ON.load(Ordering::Acquire)
}

/// Whether a CPU has the stub, and the others are to stop.
pub fn is_stopping() -> bool {
    STOPPING.load(Ordering::Acquire)
}

/// Whether a CPU steps. Does not use GS.
pub fn is_stepping() -> bool {
    cpus::any_steps()
}

/// Stops here for a cause of the kernel's own, by a breakpoint, so that there is a frame.
fn stop(cause: Cause) {
    if let Some((_, slot)) = cpus::this()
        && slot.runs()
    {
        *slot.cause.lock() = Some(cause);
        cpu::breakpoint();
    }
}

/// The end: tells a debugger that waits for it.
pub fn ended(reason: Reason) {
    if is_on()
        && let Some(mut stub) = STUB.try_hold()
    {
        stub.report(MultiThreadStopReason::Exited(match reason {
            Reason::NoGuest => 0,
            reason => reason as u8,
        }));
    }
}

/// Before the end for a failure.
pub fn fatal() {
    if is_on() {
        stop(Cause::Signal(SIGABRT));
    }
}

/// Before the end for an exception.
pub fn exception(frame: &TrapFrame) {
    if !is_on() || cpus::this().is_none_or(|(_, slot)| !slot.runs()) {
        return;
    }
    let signal = match frame.vector as u8 {
        0 | 16 | 19 => SIGFPE,
        6 => SIGILL,
        traps::GENERAL_PROTECTION | traps::PAGE_FAULT => SIGSEGV,
        _ => SIGABRT,
    };
    handle(&mut frame.clone(), Cause::Signal(signal));
}

/// A #BP of the kernel's.
pub fn breakpoint(frame: &mut TrapFrame) {
    let cause = cpus::this().and_then(|(_, slot)| slot.cause.lock().take());
    handle(frame, cause.unwrap_or(Cause::Breakpoint));
}

/// A #DB of the kernel's, or an instruction that was stepped over by emulation.
pub fn step(frame: &mut TrapFrame) {
    if let Some((_, slot)) = cpus::this()
        && !slot.steps_on(frame)
    {
        handle(frame, Cause::Step);
    }
}

/// Another CPU wants this one to stop: by an NMI, or found out here.
pub fn join(frame: &mut TrapFrame) {
    let runs = || cpus::this().is_some_and(|(_, slot)| slot.runs());
    if is_stopping() && runs() {
        handle(frame, Cause::Other);
    }
}

/// Where every CPU comes by that serves a guest: stops it if another one did, or if a debugger wants something.
pub fn poll() {
    if !is_on() {
        return;
    }
    if is_stopping() {
        stop(Cause::Other);
    } else if port::has_byte() {
        stop(Cause::Input);
    }
}

/// Stops this CPU until the debugger lets it go.
fn handle(frame: &mut TrapFrame, cause: Cause) {
    let Some((index, slot)) = cpus::this() else {
        return;
    };
    // A breakpoint in the handler of #VC must not make the stub's exits fatal.
    let in_vc = this_cpu().in_vc.replace(false);
    // What the debugger has not been told of. While another CPU tells it something, this one waits.
    let mut untold = (cause != Cause::Other).then_some(cause);
    loop {
        slot.stop(frame);
        if let Some(cause) = untold
            && let Some(mut stub) = STUB.try_hold()
        {
            untold = None;
            stub.stopped(index, slot, cause);
        }
        slot.wait(frame);
        // Another stop that came before this CPU could be reached is its stop too, unless it is the one that is to go on.
        let again = is_stopping() && frame.rflags & traps::SINGLE_STEP == 0;
        if untold.is_none() && !again {
            break;
        }
    }
    this_cpu().in_vc.set(in_vc);
}

impl Stub {
    /// This CPU has stopped: serves the debugger until it goes on.
    fn stopped(&mut self, index: usize, slot: &Slot, cause: Cause) {
        slot.hold();
        self.kernel.reporter = index;
        let reason = match cause {
            Cause::Breakpoint => match self.breakpoint(slot) {
                Some(reason) => Some(reason),
                None => return self.kernel.release(),
            },
            Cause::Step => Some(signal(index, SIGTRAP)),
            Cause::Signal(number) => Some(signal(index, number)),
            Cause::Attach | Cause::Input | Cause::Other => None,
        };
        let ghcb = self.save_ghcb();
        stop_others(index);
        let end = self.serve(index, cause, reason);
        STOPPING.store(false, Ordering::Release);
        if !matches!(end, End::Resumed) {
            self.kernel.forget();
            self.framer.reset();
        }
        match end {
            End::Killed => {
                log!("debugger: killed");
                platform().terminate(Reason::Debugger)
            }
            End::Alone if self.attached => log!("debugger: gone; going on"),
            End::Alone if cause == Cause::Attach => log!("debugger: nobody came; going on"),
            End::Detached => log!("debugger: detached; going on"),
            End::Alone | End::Resumed => {}
        }
        if !matches!(end, End::Resumed) && cause != Cause::Input {
            self.attached = false;
        }
        self.restore_ghcb(ghcb);
        self.kernel.release();
    }

    /// What a #BP is: the debugger's breakpoint, or an instruction of the code's own. `None`: one that the debugger has
    /// removed meanwhile, so the instruction that is there now is to be executed.
    fn breakpoint(&self, slot: &Slot) -> Option<MultiThreadStopReason<u64>> {
        let mut frame = slot.registers();
        let at = frame.rip.wrapping_sub(1);
        let known = self.kernel.has_breakpoint(at);
        if !known && target::is_int3(at) {
            return Some(signal(self.kernel.reporter, SIGTRAP));
        }
        frame.rip = at;
        slot.set_registers(frame);
        known.then(|| MultiThreadStopReason::SwBreak(target::thread(self.kernel.reporter)))
    }

    /// Speaks with the debugger until it lets CPUs go.
    fn serve(
        &mut self,
        index: usize,
        cause: Cause,
        reason: Option<MultiThreadStopReason<u64>>,
    ) -> End {
        self.kernel.resumed = false;
        if let Some(reason) = reason {
            self.report(reason);
        }
        let mut limit = match cause {
            Cause::Input => INPUT_MS,
            _ if self.attached => IDLE_MS,
            _ => ATTACH_MS,
        };
        let mut since = cpu::tsc();
        loop {
            if port::take_lost() {
                self.machine = None;
                return End::Alone;
            }
            let Some(byte) = port::read() else {
                if cpu::tsc().wrapping_sub(since) > clock::ticks(limit) {
                    return match (cause, &self.machine) {
                        // Noise. The debugger, if there is one, knows of no stop.
                        (Cause::Input, Some(Machine::Running(_))) => {
                            self.kernel.clear();
                            End::Resumed
                        }
                        _ => {
                            self.machine = None;
                            End::Alone
                        }
                    };
                }
                core::hint::spin_loop();
                continue;
            };
            if self.byte(byte, index) {
                self.attached = true;
                limit = IDLE_MS;
                since = cpu::tsc();
            }
            match self.machine.take() {
                Some(Machine::Disconnected(machine)) => {
                    let end = match machine.get_reason() {
                        DisconnectReason::Kill => End::Killed,
                        _ => End::Detached,
                    };
                    self.machine = Some(machine.return_to_idle());
                    return end;
                }
                machine => self.machine = machine,
            }
            if core::mem::take(&mut self.kernel.resumed) {
                return End::Resumed;
            }
        }
    }

    /// Takes a byte; whether it made something that a debugger says.
    fn byte(&mut self, byte: u8, index: usize) -> bool {
        let packet = match self.framer.take(byte) {
            None => return false,
            Some(Event::Damaged) => {
                let _ = gdbstub::conn::Connection::write(&mut Line, b'-');
                return false;
            }
            Some(Event::Interrupt) => {
                // A debugger that knows of the stop needs no other one.
                if !matches!(self.machine, Some(Machine::Running(_))) {
                    return false;
                }
                self.report(signal(index, SIGINT));
                return true;
            }
            Some(Event::Packet(packet)) => packet,
        };
        self.kernel.begin();
        for &byte in packet {
            if self.machine.is_none() {
                let Some(buffer) = self.buffers.as_mut().and_then(Iterator::next) else {
                    // Too often.
                    ON.store(false, Ordering::Release);
                    return false;
                };
                self.machine = GdbStub::builder(Line)
                    .with_packet_buffer(buffer)
                    .build()
                    .ok()
                    .and_then(|stub| stub.run_state_machine(&mut self.kernel).ok());
            }
            self.machine = match self.machine.take() {
                Some(Machine::Idle(machine)) => machine.incoming_data(&mut self.kernel, byte).ok(),
                Some(Machine::Running(machine)) => {
                    machine.incoming_data(&mut self.kernel, byte).ok()
                }
                other => other,
            };
            // A packet that is none of the protocol's.
            if self.machine.is_none() {
                return false;
            }
        }
        true
    }

    /// Tells a debugger that waits for it why the kernel stopped.
    fn report(&mut self, reason: MultiThreadStopReason<u64>) {
        self.machine = match self.machine.take() {
            Some(Machine::Running(machine)) => machine.report_stop(&mut self.kernel, reason).ok(),
            other => other,
        };
    }

    fn save_ghcb(&mut self) -> Option<u64> {
        let page = this_cpu().ghcb.get()?;
        for (index, word) in self.ghcb.iter_mut().enumerate() {
            *word = page.read(index * 8);
        }
        Some(cpu::rdmsr(msr::GHCB))
    }

    fn restore_ghcb(&self, request: Option<u64>) {
        if let (Some(page), Some(request)) = (this_cpu().ghcb.get(), request) {
            for (index, word) in self.ghcb.iter().enumerate() {
                page.write(index * 8, *word);
            }
            cpu::set_ghcb(request);
        }
    }
}

fn signal(index: usize, number: u8) -> MultiThreadStopReason<u64> {
    MultiThreadStopReason::SignalWithThread {
        tid: target::thread(index),
        signal: Signal(number),
    }
}

/// Has the other CPUs stop, and waits a little for those that can be made to.
fn stop_others(own: usize) {
    STOPPING.store(true, Ordering::Release);
    let Some(kernel) = KERNEL.get() else {
        return;
    };
    let others = || {
        let running = kernel.vcpus.iter().zip(cpus::all()).enumerate();
        running
            .filter(move |(index, (vcpu, slot))| *index != own && vcpu.is_online() && slot.runs())
    };
    // Those that were let go and have not noticed need no signal.
    for slot in cpus::all() {
        slot.hold();
    }
    let mut reached = false;
    for (_, (vcpu, _)) in others() {
        reached |= platform().stop_cpu(vcpu.apic_id());
    }
    let begun = cpu::tsc();
    while reached
        && others().next().is_some()
        && cpu::tsc().wrapping_sub(begun) < clock::ticks(OTHERS_MS)
    {
        core::hint::spin_loop();
    }
}
