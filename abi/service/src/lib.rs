//! What the SVSM kernel and its ring-3 services tell each other: calls, where things are in a service's address space,
//! what a request looks like.
//!
//! A service is passive. It starts at its ELF entry, sets itself up, and makes [`call::REPLY`], which comes back when there
//! is a request; from then on it lives from one REPLY to the next. A vCPU of the guest's runs it meanwhile.
//!
//! A call is `INT` [`VECTOR`]: its number in RAX, arguments in RDI and RSI; afterwards RAX holds one of [`status`] and RDX a
//! value. All other registers are kept. An interrupt gate rather than SYSCALL, because the processor then enters ring 0 on
//! the kernel's stack, and there is no moment at which an exception would find the kernel on a service's.
#![no_std]
#![forbid(unsafe_code)]

/// The vector of calls.
pub const VECTOR: u8 = 0x80;

/// Call numbers, in RAX.
pub mod call {
    /// Answers the present request with the first RDI bytes of the message page and waits for the next one. The first one
    /// of a service, with RDI 0, says that it is ready. Afterwards RDX holds the request: its kind in bits 63:32 and the
    /// number of bytes in the message page in 31:0.
    pub const REPLY: u64 = 0;
    /// Prints the RSI bytes at RDI as one line, which the host can read: printable ASCII, at most
    /// [`super::limit::LOG_BYTES`].
    pub const LOG: u64 = 1;
    /// Maps RDI more pages, zeroed, behind the heap. RDX: the address of the first one.
    pub const HEAP: u64 = 2;
    /// RDX: 64 bits from the processor's generator that passed the health tests.
    pub const ENTROPY: u64 = 3;
    /// RDX: milliseconds since the SVSM started; never goes back.
    pub const TIME: u64 = 4;
    /// Gives the guest its vCPU back for a moment; the service goes on with the guest's next call.
    pub const YIELD: u64 = 5;
    /// Gives up, with the reason RDI; does not come back.
    pub const FAIL: u64 = 6;
}

/// What RAX holds after a call.
pub mod status {
    /// Done.
    pub const OK: u64 = 0;
    /// No such call.
    pub const UNKNOWN_CALL: u64 = 1;
    /// An argument is out of range.
    pub const BAD_ARGUMENT: u64 = 2;
    /// The heap has no room for as many pages; or too many lines for one request.
    pub const QUOTA: u64 = 3;
    /// The processor gives no entropy, or bad one.
    pub const UNAVAILABLE: u64 = 4;
}

/// Kinds of requests.
pub mod request {
    /// A TPM command; the reply is the response.
    pub const TPM_COMMAND: u32 = 1;
}

/// Where things are in a service's address space. What is not named here is not mapped.
pub mod layout {
    /// Bytes of a page.
    pub const PAGE_SIZE: u64 = 4096;
    /// The image: where services are linked.
    pub const IMAGE_BASE: u64 = 0x40_0000;
    /// One past the image's last possible byte.
    pub const IMAGE_LIMIT: u64 = 0x80_0000;
    /// The heap, which grows by [`super::call::HEAP`].
    pub const HEAP_BASE: u64 = 0x100_0000;
    /// One past the stack's highest byte; the pages around the stack are not mapped.
    pub const STACK_TOP: u64 = 0x200_0000;
    /// The message page.
    pub const MESSAGE: u64 = 0x300_0000;
}

/// Limits.
pub mod limit {
    /// Pages of a service's stack.
    pub const STACK_PAGES: u64 = 32;
    /// Most pages of a service's heap, whatever the image asks for.
    pub const HEAP_PAGES: u64 = 256;
    /// Most seconds that a service may run for one request, whatever the image asks for.
    pub const REQUEST_SECONDS: u64 = 3600;
    /// Bytes of a line for the console.
    pub const LOG_BYTES: u64 = 160;
    /// Lines for the console that a service may print for one request; more get [`super::status::QUOTA`].
    pub const LOG_LINES: u32 = 32;
    /// Bytes of a message.
    pub const MESSAGE_BYTES: u64 = 4096;
}
