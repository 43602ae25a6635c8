//! The runtime of the SVSM's ring-3 services: what stands between a service's safe code and the kernel's calls
//! (`service_abi`).
//!
//! A service is an ELF file linked by `service.ld`, with one thread of execution that nothing interrupts as far as it can
//! tell. It looks like this:
//!
//! ```ignore
//! #![cfg_attr(target_os = "none", no_std, no_main)]
//! #![forbid(unsafe_code)]
//! fn main() -> ! {
//!     // Set up. Vec, Box and the like work; memory that runs out is a panic, a panic ends the service with a reason.
//!     let mut reply = 0;
//!     loop {
//!         let request = service_rt::call::reply(reply); // waits
//!         let mut buffer = [0; 64];
//!         reply = service_rt::message::take(&mut buffer, request.length).len();
//!         service_rt::message::write(&buffer[..reply]);
//!     }
//! }
//! #[cfg(target_os = "none")]
//! service_rt::entry!(main);
//! ```
//!
//! The build script of a service passes `-T../service-rt/service.ld` to the linker.
//!
//! `unsafe` is here so that a service needs none: the call instruction, the message page, the heap's pages.
#![cfg(target_os = "none")]
#![no_std]

pub mod call;
mod heap;
pub mod log;
pub mod message;
mod panic;

pub use heap::bytes as heap_bytes;

/// Makes `$main`, a `fn() -> !`, what runs first. The kernel enters a service with the stack as a call would leave it
/// (RSP = STACK_TOP - 8) and with DF clear, so a function can be the entry itself.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// The ELF entry.
        #[unsafe(no_mangle)]
        extern "C" fn _start() -> ! {
            let main: fn() -> ! = $main;
            main()
        }
    };
}
