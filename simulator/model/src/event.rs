//! Delivery of exceptions and interrupts in software (APM vol. 2 chapter 8), because QEMU pushes no error code for #VC.

use crate::Geometry;
use crate::rmp::Violation;
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

    /// From EVENTINJ or EXITINTINFO: `None` when the valid bit (31) is clear or the type unknown.
    pub fn from_bits(bits: u64) -> Option<Event> {
        let _ = bits;
        todo!()
    }

    /// As EVENTINJ.
    pub fn to_bits(self) -> u64 {
        todo!()
    }
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
    #[error("vector {vector} would be delivered in {mode}, which is not modelled")]
    UnsupportedMode { vector: u8, mode: &'static str },
    #[error("vector {vector} goes through a task gate, which is not modelled")]
    TaskGate { vector: u8 },
    #[error("5-level paging (CR4.LA57) is not offered by this machine")]
    FiveLevel,
}

/// Delivers `event` to the vCPU whose state is `cpu`: pushes the frame, loads CS, SS, RSP, RIP, RFLAGS (and CR2).
///
/// Faults on the way are delivered in its place (#DF and shutdown by APM table 8-4's classes; #VC is contributory).
/// Changes nothing when it returns an error.
pub fn deliver<M: GuestMemory + ?Sized>(
    cpu: &mut Vmsa,
    memory: &mut M,
    geometry: Geometry,
    event: Event,
) -> Result<Delivered, DeliveryError> {
    let _ = (cpu, memory, geometry, event);
    todo!()
}
