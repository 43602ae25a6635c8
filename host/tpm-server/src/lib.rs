//! A software TPM 2.0 for a Linux host: [`tpm_engine`] with its state in a file, behind the protocols that TPM clients
//! speak.
//!
//! - [`Device`] is an engine with a power button. Tests, fuzzers and benchmarks use it, or [`tpm_engine::Tpm`] on a
//!   [`HostPlatform`], in process.
//! - [`store`] keeps the engine's records: in memory, or in a journal that is atomic at every byte.
//! - [`mssim`], [`swtpm`] and [`raw`] are the protocols: pure parsers of bytes, and loops over a connection.
//! - [`serve`] binds them to sockets.
//!
//! Everything that arrives is foreign: sizes are bounded before memory is taken, and a client that leaves in the middle
//! of a message takes nothing with it.
#![forbid(unsafe_code)]

pub mod device;
pub mod framing;
pub mod mssim;
pub mod options;
pub mod platform;
pub mod raw;
pub mod serve;
pub mod store;
pub mod swtpm;
pub mod trace;

pub use device::{Device, SharedDevice};
pub use platform::{Entropy, HostPlatform};
