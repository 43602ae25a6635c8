//! The kernel's calls as functions.

use core::arch::asm;

use service_abi::{VECTOR, call, status};

/// What a service gives [`fail`] as its reason, where the runtime or several services have the same one.
pub mod reason {
    /// A panic; the line before it says where.
    pub const PANIC: u64 = 1;
    /// The kernel sent what the service does not serve.
    pub const REQUEST: u64 = 2;
}

/// What the guest asks for; its bytes are in the message page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// One of [`service_abi::request`].
    pub kind: u32,
    /// Bytes in the message page, at most its size.
    pub length: usize,
}

/// Answers the present request with the first `length` bytes of the message page, and waits for the next. The first one
/// says that the service is ready.
///
/// # Panics
/// `length` is more than a page.
pub fn reply(length: usize) -> Request {
    let (result, value) = raw(call::REPLY, length as u64, 0);
    assert!(result == status::OK, "reply of {length} bytes: {result}");
    Request {
        kind: (value >> 32) as u32,
        length: (value & 0xFFFF_FFFF) as usize,
    }
}

/// Prints a line on the console, which the host reads: no secrets. A line that the kernel refuses is lost.
pub fn log(line: &[u8]) {
    raw(call::LOG, line.as_ptr() as u64, line.len() as u64);
}

/// 64 bits from the processor's generator, or nothing where it is broken or exhausted.
pub fn entropy() -> Option<u64> {
    let (result, value) = raw(call::ENTROPY, 0, 0);
    (result == status::OK).then_some(value)
}

/// Milliseconds since the SVSM started.
pub fn time_ms() -> u64 {
    raw(call::TIME, 0, 0).1
}

/// Gives the guest its vCPU back for a moment.
pub fn yield_now() {
    raw(call::YIELD, 0, 0);
}

/// Maps `pages` more pages behind the heap and returns the address of the first, or nothing where the heap has no room for
/// as many.
pub(crate) fn heap(pages: u64) -> Option<u64> {
    let (result, address) = raw(call::HEAP, pages, 0);
    (result == status::OK).then_some(address)
}

/// Gives up: the kernel ends this service and says so, with its name and `reason`, on the console.
pub fn fail(reason: u64) -> ! {
    loop {
        raw(call::FAIL, reason, 0);
    }
}

/// Makes a call and returns its status and value.
fn raw(number: u64, first: u64, second: u64) -> (u64, u64) {
    let (result, value);
    // SAFETY: the kernel keeps all registers but RAX and RDX, runs on a stack of its own, and of this service's memory
    // writes the message page only, which nothing here refers to. Memory that LOG reads is its caller's slice; what HEAP
    // maps was nobody's.
    unsafe {
        asm!(
            "int {vector}",
            vector = const VECTOR,
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            lateout("rdx") value,
            options(nostack, preserves_flags),
        );
    }
    (result, value)
}
