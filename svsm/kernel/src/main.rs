//! The Macadamia SVSM: what runs at VMPL0 of a confidential VM, below the guest's operating system, and serves it
//! (AMD publication 58019).
//!
//! Life of it: the 32-bit boot stage (`arch::boot_stage`) leads to `boot::run`, which goes from raw launch state to a
//! running guest, phase by phase; then every vCPU is in `serve::run` for good: let the guest run, answer its calls.
//!
//! 1. What can be decided without the machine is in `svsm_core`, tested on a host. Here is what touches the machine.
//! 2. `unsafe` is in `arch` and `mm` only, each with a safe interface.
//! 3. Host and guest are hostile. The guest gets a result code; a host that lies gets a reasoned termination.
//! 4. Nothing is allocated once the guest runs.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
#[allow(unsafe_code)]
mod arch;
#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod clock;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod entropy;
#[cfg(target_os = "none")]
mod exception;
#[cfg(target_os = "none")]
mod fatal;
#[cfg(all(target_os = "none", feature = "gdb"))]
mod gdb;
#[cfg(target_os = "none")]
mod kernel;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
#[allow(unsafe_code)]
mod mm;
#[cfg(target_os = "none")]
mod platform;
#[cfg(target_os = "none")]
mod serve;
#[cfg(target_os = "none")]
mod service;
#[cfg(all(target_os = "none", feature = "tests"))]
mod tests;
#[cfg(target_os = "none")]
mod uart;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the SVSM runs on bare metal: cargo xtask build");
}
