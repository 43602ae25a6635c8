//! What the SVSM decides, apart from the machine it runs on: who owns which page of guest memory, what the core
//! protocol answers, what is believed of the tables that the host supplies, what the guest is handed at its start.
//!
//! Everything here runs on a host under `cargo test`; the kernel supplies the two traits of [`machine`], which touch
//! guest memory and the RMP, and nothing else.
//!
//! *Invariant:* the host and the guest are both hostile. Nothing here panics on what they supply: the guest gets a
//! result code of 58019 §5.1, the host's tables get an error that names the value at fault.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, loom, feature = "fake-machine"))]
extern crate std;

pub mod boot_params;
pub mod clock;
pub mod core_protocol;
pub mod cpuid;
pub mod frames;
pub mod handoff;
pub mod host_answer;
pub mod machine;
pub mod madt;
pub mod memory_map;
mod mistake;
pub mod page_map;
pub mod policy;
pub mod request;
pub mod rsp;
pub mod service;
pub mod startup;
pub mod sync;
pub mod turn;
pub mod vc;
pub mod vcpu;
pub mod vmsa;
