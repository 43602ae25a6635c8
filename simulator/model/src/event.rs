//! Delivery of exceptions and interrupts in software (APM vol. 2 chapter 8), because QEMU pushes no error code for #VC.

mod descriptor;
mod frame;

use crate::Geometry;
use crate::rmp::{Effect, Violation};
use crate::walk::GuestMemory;
use snp_abi::vmsa::Vmsa;

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Vector.
    pub vector: u8,
    /// Kind, which decides on privilege checks and RFLAGS.RF.
    pub kind: EventKind,
    /// Error code to push.
    pub error_code: Option<u32>,
    /// For #PF: the new CR2.
    pub cr2: Option<u64>,
}

/// Kinds of events, numbered as EVENTINJ's type field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum EventKind {
    Interrupt = 0,
    Nmi = 2,
    Exception = 3,
    /// INT n, INT3, INTO: RIP must already point past the instruction.
    SoftwareInterrupt = 4,
}

impl Event {
    /// #VC with this error code.
    pub const fn vc(exit_code: u32) -> Event {
        Event::exception(snp_abi::VC_VECTOR, Some(exit_code))
    }

    /// #GP(0).
    pub const fn gp0() -> Event {
        Event::exception(13, Some(0))
    }

    /// #UD.
    pub const fn ud() -> Event {
        Event::exception(6, None)
    }

    /// #PF.
    pub const fn pf(va: u64, error_code: u32) -> Event {
        Event {
            cr2: Some(va),
            ..Event::exception(14, Some(error_code))
        }
    }

    /// An exception.
    pub const fn exception(vector: u8, error_code: Option<u32>) -> Event {
        Event {
            vector,
            kind: EventKind::Exception,
            error_code,
            cr2: None,
        }
    }

    /// An external interrupt.
    pub const fn interrupt(vector: u8) -> Event {
        Event {
            vector,
            kind: EventKind::Interrupt,
            error_code: None,
            cr2: None,
        }
    }

    /// An NMI.
    pub const fn nmi() -> Event {
        Event {
            kind: EventKind::Nmi,
            ..Event::interrupt(2)
        }
    }

    /// From EVENTINJ or EXITINTINFO (APM vol. 2 §15.20): `None` when the valid bit (31) is clear or the type unknown.
    pub fn from_bits(bits: u64) -> Option<Event> {
        if bits & INJECT_VALID == 0 {
            return None;
        }
        let kind = match bits >> 8 & 7 {
            0 => EventKind::Interrupt,
            2 => EventKind::Nmi,
            3 => EventKind::Exception,
            4 => EventKind::SoftwareInterrupt,
            _ => return None,
        };
        Some(Event {
            vector: bits as u8,
            kind,
            error_code: (bits & INJECT_ERROR_CODE != 0).then_some((bits >> 32) as u32),
            cr2: None,
        })
    }

    /// As EVENTINJ.
    pub const fn to_bits(self) -> u64 {
        let bits = self.vector as u64 | (self.kind as u64) << 8 | INJECT_VALID;
        match self.error_code {
            Some(code) => bits | INJECT_ERROR_CODE | (code as u64) << 32,
            None => bits,
        }
    }

    /// Its class for double faults (APM vol. 2 table 8-4).
    const fn class(self) -> Class {
        match (self.kind, self.vector) {
            (EventKind::Exception, DOUBLE_FAULT) => Class::DoubleFault,
            (EventKind::Exception, 14) => Class::PageFault,
            (EventKind::Exception, 0 | 10..=13 | snp_abi::VC_VECTOR) => Class::Contributory,
            _ => Class::Benign,
        }
    }

    /// What is delivered when `second` is raised while this is being delivered; `None`: shutdown.
    const fn combine(self, second: Event) -> Option<Event> {
        match (self.class(), second.class()) {
            (Class::DoubleFault, _) => None,
            (Class::Contributory, Class::Contributory)
            | (Class::PageFault, Class::Contributory | Class::PageFault) => {
                Some(Event::exception(DOUBLE_FAULT, Some(0)))
            }
            _ => Some(second),
        }
    }
}

const INJECT_VALID: u64 = 1 << 31;
const INJECT_ERROR_CODE: u64 = 1 << 11;
const DOUBLE_FAULT: u8 = 8;

enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Delivered {
    /// The handler of this vector is entered; another vector than asked for (8, say) when delivery itself faulted.
    Entered { vector: u8 },
    /// Triple fault: VMEXIT_SHUTDOWN.
    Shutdown,
}

/// Delivery that needs the hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DeliveryError {
    /// A nested fault on the way: the vCPU is unchanged; solve it and deliver `pending` again.
    #[error("nested fault while delivering vector {}: {violation}", pending.vector)]
    Nested {
        violation: Violation,
        pending: Event,
    },
    #[error(
        "vector {vector} needs a change of privilege level in 32-bit mode, which is not modelled"
    )]
    LegacyPrivilegeChange { vector: u8 },
    #[error("vector {vector} would be delivered in virtual-8086 mode, which is not modelled")]
    Virtual8086 { vector: u8 },
    #[error("vector {vector} goes through a task gate, which is not modelled")]
    TaskGate { vector: u8 },
    #[error("5-level paging (CR4.LA57) is not offered by this machine")]
    FiveLevel,
}

/// Delivers `event` to the vCPU whose state is `cpu`: pushes the frame, loads CS, SS, RSP, RIP, RFLAGS (and CR2).
///
/// Faults on the way are delivered in its place (#DF and shutdown by APM table 8-4's classes; #VC is contributory).
/// Changes nothing in `cpu` when it returns an error. The interrupt shadow, which is not in the VMSA, ends with any
/// delivery; an NMI also blocks further NMIs: both are the caller's.
pub fn deliver<M: GuestMemory + ?Sized>(
    cpu: &mut Vmsa,
    memory: &mut M,
    geometry: Geometry,
    event: Event,
) -> Result<Delivered, DeliveryError> {
    let mut current = event;
    // CR2 is written when a page fault is raised, even if a double fault is delivered in the end.
    let mut cr2 = event.cr2;
    loop {
        let second = match frame::enter(cpu, memory, geometry, current) {
            Ok(entry) => {
                entry.apply(cpu);
                if let Some(va) = cr2 {
                    cpu.cr2.set(va);
                }
                return Ok(Delivered::Entered {
                    vector: current.vector,
                });
            }
            Err(Interruption::Exception(second)) => second,
            Err(Interruption::Memory(violation)) => match violation.effect {
                Effect::Vc { error_code } => Event::vc(error_code),
                Effect::NestedFault { .. } => {
                    return Err(DeliveryError::Nested {
                        violation,
                        pending: Event { cr2, ..current },
                    });
                }
            },
            Err(Interruption::NotModelled(error)) => return Err(error),
        };
        cr2 = second.cr2.or(cr2);
        current = match current.combine(second) {
            Some(next) => next,
            None => return Ok(Delivered::Shutdown),
        };
    }
}

/// Why a delivery did not get to the handler.
enum Interruption {
    Exception(Event),
    Memory(Violation),
    NotModelled(DeliveryError),
}

#[cfg(test)]
mod tests;
