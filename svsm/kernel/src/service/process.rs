//! A service as a process: its memory, its registers while it does not run, its calls, and why it was ended.

use crate::arch::cpu;
use crate::arch::traps::{self, TrapFrame};
use crate::clock;
use crate::console::log;
use crate::entropy;
use crate::mm::{Entered, OutOfMemory, ServiceSpace};
use crate::platform::platform;
use core::fmt;
use service_abi::{call, layout, limit, status};
use svsm_core::service::elf::Image;

/// Why a service was ended.
#[derive(Clone, Copy, Debug)]
pub enum Reason {
    /// An exception in ring 3.
    Exception {
        vector: u64,
        error: u64,
        rip: u64,
        address: u64,
    },
    /// It gave up, for a reason of its own.
    GaveUp(u64),
    /// It took longer for one request than it may.
    TooLong,
    /// It went where no code can be.
    WildJump(u64),
    /// Its answer does not fit the protocol.
    Answer(u64),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::Exception {
                vector,
                error,
                rip,
                address,
            } => {
                let name = crate::exception::name(vector as u8);
                write!(
                    f,
                    "{name} (exception {vector}, error {error:#x}) at {rip:#x}"
                )?;
                if vector == traps::PAGE_FAULT as u64 {
                    write!(f, ", address {address:#x}")?;
                }
                Ok(())
            }
            Reason::GaveUp(code) => write!(f, "it gave up with reason {code:#x}"),
            Reason::TooLong => f.write_str("a request took too long"),
            Reason::WildJump(rip) => write!(f, "it jumped to {rip:#x}"),
            Reason::Answer(bytes) => write!(f, "an answer of {bytes} bytes"),
        }
    }
}

/// What came of a slice.
#[derive(Clone, Copy, Debug)]
pub enum Pause {
    /// The service answered with so many bytes in the message page and waits for a request.
    Answered(u64),
    /// Its time is up, or it gave the vCPU back; it goes on with the next slice.
    Sliced,
    /// It has ended for good.
    Ended(Reason),
}

/// A process.
pub struct Process {
    name: &'static str,
    space: ServiceSpace,
    registers: TrapFrame,
    /// Lines that it may still print for this request.
    lines: u32,
}

impl Process {
    /// A process at its first instruction.
    pub fn new(
        name: &'static str,
        image: &Image<'_>,
        heap_pages: u64,
    ) -> Result<Process, OutOfMemory> {
        Ok(Process {
            name,
            space: ServiceSpace::new(image, heap_pages)?,
            registers: TrapFrame {
                rip: image.entry(),
                // As after a call.
                rsp: layout::STACK_TOP - 8,
                ..TrapFrame::default()
            },
            lines: limit::LOG_LINES,
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its memory.
    pub fn space(&self) -> &ServiceSpace {
        &self.space
    }

    /// Hands it the request for which it waits.
    pub fn request(&mut self, kind: u32, message: &[u8]) {
        self.space.write_message(message);
        self.lines = limit::LOG_LINES;
        self.registers.rax = status::OK;
        self.registers.rdx = (kind as u64) << 32 | message.len() as u64;
    }

    /// Clears the first bytes of the message page.
    pub fn clear_message(&mut self, bytes: usize) {
        self.space.clear_message(bytes);
    }

    /// Forgets everything it knew.
    pub fn wipe(&mut self) {
        self.space.wipe();
        self.registers = TrapFrame::default();
    }

    /// Lets it run on this CPU until `deadline`, in ticks of the time-stamp counter, if the platform has a timer; without,
    /// for as long as it likes.
    pub fn run(&mut self, deadline: u64) -> Pause {
        let Process {
            name,
            space,
            registers,
            lines,
        } = self;
        let mut entered = Entered::new(space);
        start_timer(deadline);
        let pause = loop {
            if registers.rip >= 1 << 47 {
                break Pause::Ended(Reason::WildJump(registers.rip));
            }
            platform().calm();
            entered.run(registers);
            match registers.vector as u8 {
                service_abi::VECTOR => {
                    let pause = answer_call(name, &mut entered, registers, lines);
                    if let Some(pause) = pause {
                        break pause;
                    }
                }
                vector if traps::is_signal(vector) => {
                    if cpu::tsc() >= deadline {
                        break Pause::Sliced;
                    }
                    // The timer's clock and ours may differ, and others may signal: too early is not the end.
                    start_timer(deadline);
                }
                _ => {
                    break Pause::Ended(Reason::Exception {
                        vector: registers.vector,
                        error: registers.error,
                        rip: registers.rip,
                        address: cpu::cr2(),
                    });
                }
            }
            if cpu::tsc() >= deadline {
                break Pause::Sliced;
            }
        };
        platform().set_timer(0);
        pause
    }
}

/// Has the timer interrupt this CPU at `deadline`, or very soon.
fn start_timer(deadline: u64) {
    let left = deadline.saturating_sub(cpu::tsc());
    platform().set_timer(clock::nanoseconds(left).max(1));
}

/// Does what a call asks for.
fn answer_call(
    name: &str,
    entered: &mut Entered<'_>,
    registers: &mut TrapFrame,
    lines: &mut u32,
) -> Option<Pause> {
    let (first, second) = (registers.rdi, registers.rsi);
    let mut value = 0;
    let outcome = match registers.rax {
        call::REPLY if first <= limit::MESSAGE_BYTES => return Some(Pause::Answered(first)),
        call::REPLY => status::BAD_ARGUMENT,
        call::LOG if *lines == 0 => status::QUOTA,
        call::LOG => {
            *lines -= 1;
            say(name, entered.space(), first, second)
        }
        call::HEAP => match entered.space().grow_heap(first) {
            Some(start) => {
                value = start;
                status::OK
            }
            None => status::QUOTA,
        },
        call::ENTROPY => match entropy::word() {
            Some(word) => {
                value = word;
                status::OK
            }
            None => status::UNAVAILABLE,
        },
        call::TIME => {
            value = clock::milliseconds();
            status::OK
        }
        call::YIELD => {
            registers.rax = status::OK;
            return Some(Pause::Sliced);
        }
        call::FAIL => return Some(Pause::Ended(Reason::GaveUp(first))),
        _ => status::UNKNOWN_CALL,
    };
    registers.rax = outcome;
    registers.rdx = value;
    None
}

/// Prints a service's line. What is not printable is not printed.
fn say(name: &str, space: &ServiceSpace, va: u64, bytes: u64) -> u64 {
    let mut line = [0; limit::LOG_BYTES as usize];
    let Some(line) = line
        .get_mut(..bytes as usize)
        .filter(|_| bytes <= limit::LOG_BYTES)
    else {
        return status::BAD_ARGUMENT;
    };
    if !space.read(va, line) || !line.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return status::BAD_ARGUMENT;
    }
    log!("{name}: {}", core::str::from_utf8(line).unwrap_or_default());
    status::OK
}
