//! The boot stub at the guest's VMPL: from the SVSM's hand-over to Linux's 64-bit entry.
//!
//! It stands where firmware would: validates all guest RAM through the SVSM, installs QEMU's ACPI tables, loads kernel,
//! initrd and command line from fw_cfg, checks each against the digests of the measured parameter page, and enters
//! Linux with everything private. It trusts the SVSM and what was launched with it, and nothing else. What it decides
//! is in `shim-core`; this crate does it.
//!
//! On anything wrong it prints one line, `shim: refused: ...`, and has the guest terminated with a reason of
//! [`boot_abi::termination`].
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod enter;
#[cfg(target_os = "none")]
mod files;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod ram;
#[cfg(target_os = "none")]
mod refusal;
#[cfg(target_os = "none")]
mod tables;
#[cfg(target_os = "none")]
mod tpm;

#[cfg(target_os = "none")]
guest_rt::entry!(boot::main);

#[cfg(not(target_os = "none"))]
fn main() {}
