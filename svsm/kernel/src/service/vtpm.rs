//! The vTPM protocol (58019 §8): a guest's buffer to the vTPM service and its response back. The buffer is copied in once and
//! only the copy is looked at; nothing of a command is understood here but its size.

use super::{Inner, Pause, Reason, SLICE_MS};
use crate::clock;
use crate::kernel::Kernel;
use svsm_abi::{VTPM_BUFFER, result, vtpm_call};
use svsm_core::machine::{GuestMemory, MemoryFault};
use svsm_core::request::{CallResult, Registers};
use svsm_core::service::exchange::{Call, Decision};
use svsm_core::service::vtpm::{self as wire, HEADER_BYTES, RESPONSE_HEADER_BYTES};

/// Executes the call in `registers`, whose protocol says which service it is for, and puts the results there.
pub fn call(kernel: &'static Kernel, registers: &mut Registers) {
    let outcome = if !kernel.services.served().has(registers.protocol()) {
        Err(result::UNSUPPORTED_PROTOCOL)
    } else {
        match registers.call() {
            vtpm_call::QUERY => wire::query(registers),
            vtpm_call::CMD => command(kernel, registers.protocol(), registers.rcx),
            _ => Err(result::UNSUPPORTED_CALL),
        }
    };
    registers.rax = outcome.err().unwrap_or(result::SUCCESS);
}

/// One slice's worth of a TPM command in the buffer at `gpa`.
fn command(kernel: &Kernel, protocol: u32, gpa: u64) -> CallResult {
    let (service, mut inner) = kernel.services.hold(protocol)?;
    let inner = &mut *inner;
    copy_in(kernel, inner, gpa)?;
    let call = match (
        inner.request_gpa == gpa,
        inner.request.get() == inner.incoming.get(),
    ) {
        (true, true) => Call::Same,
        (true, false) => Call::Replaced,
        (false, _) => Call::Other,
    };
    let decision = inner.exchange.admit(call, clock::milliseconds());
    match decision {
        Decision::Busy => return Err(result::BUSY),
        Decision::Deliver => return copy_out(kernel, inner, gpa),
        Decision::Start => {
            // A response that nobody fetched.
            inner.process.clear_message(inner.response as usize);
            inner.response = 0;
            core::mem::swap(&mut inner.request, &mut inner.incoming);
            inner.request_gpa = gpa;
            inner.spent = 0;
            let Inner {
                process, request, ..
            } = inner;
            process.request(service_abi::request::TPM_COMMAND, request.get());
        }
        Decision::Continue | Decision::Lend => {}
    }
    match inner.slice(SLICE_MS) {
        Pause::Sliced if decision == Decision::Lend => Err(result::BUSY),
        Pause::Sliced => Err(result::INCOMPLETE),
        Pause::Answered(bytes) if bytes > wire::MAX_RESPONSE.into() => {
            kernel
                .services
                .withdraw(service, inner, Reason::Answer(bytes));
            Err(result::UNSUPPORTED_PROTOCOL)
        }
        Pause::Answered(bytes) => {
            inner.response = bytes;
            if inner.exchange.finished(decision, clock::milliseconds()) {
                copy_out(kernel, inner, gpa)
            } else {
                Err(result::BUSY)
            }
        }
        Pause::Ended(reason) => {
            kernel.services.withdraw(service, inner, reason);
            Err(result::UNSUPPORTED_PROTOCOL)
        }
    }
}

/// Copies the request at `gpa`. The call lock keeps its pages from becoming VMSAs meanwhile.
fn copy_in(kernel: &Kernel, inner: &mut Inner, gpa: u64) -> CallResult {
    let fault = |MemoryFault| result::INVALID_ADDRESS;
    let _shared = kernel.lock.read().ok_or(result::BUSY)?;
    let mut header = [0; HEADER_BYTES];
    // All of the buffer, although a command may be short: its response must not get lost for want of room.
    if !kernel.pages.is_guest_readable(gpa, VTPM_BUFFER) {
        return Err(result::INVALID_ADDRESS);
    }
    kernel.machine.read(gpa, &mut header).map_err(fault)?;
    let bytes = wire::Header::parse(&header)?;
    inner.incoming.clear();
    let body = gpa + HEADER_BYTES as u64;
    inner.incoming.length = bytes as usize;
    let buffer = inner.incoming.bytes.get_mut(..bytes as usize);
    kernel
        .machine
        .read(body, buffer.ok_or(result::INVALID_PARAMETER)?)
        .map_err(fault)
}

/// Gives the response to the buffer at `gpa`, and forgets request and response.
fn copy_out(kernel: &Kernel, inner: &mut Inner, gpa: u64) -> CallResult {
    inner.incoming.clear();
    inner.incoming.length = inner.response as usize;
    if let Some(to) = inner.incoming.bytes.get_mut(..inner.response as usize) {
        inner.process.space().read_message(to);
    }
    let outcome = write_response(kernel, inner.incoming.get(), gpa);
    inner.forget();
    outcome
}

/// Writes a response to a buffer that may have been taken away or become something else meanwhile.
fn write_response(kernel: &Kernel, response: &[u8], gpa: u64) -> CallResult {
    let fault = |MemoryFault| result::INVALID_ADDRESS;
    let whole = response.len() as u64 + RESPONSE_HEADER_BYTES as u64;
    // Whoever else holds the lock does so for a bounded time, and the response must not get lost.
    let _shared = crate::serve::registrations(kernel);
    if !kernel.pages.is_guest_readable(gpa, whole) {
        return Err(result::INVALID_ADDRESS);
    }
    kernel
        .machine
        .write(gpa + RESPONSE_HEADER_BYTES as u64, response)
        .and_then(|()| {
            let header = wire::response_header(response.len() as u32);
            kernel.machine.write(gpa, &header)
        })
        .map_err(fault)
}
