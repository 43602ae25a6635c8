//! The boot stub's logic, without the machine: what it decides, checks and writes before Linux runs.
//!
//! The order of use: [`memory_map`] turns the SVSM's memory map into RAM, [`validation`] says in which steps that RAM
//! is validated, [`fw_cfg`] and [`acpi`] read what QEMU offers and patch the ACPI tables, [`digest`] checks kernel,
//! initrd and command line against the measured digests, [`bzimage`] reads the kernel's header, [`placement`] finds a
//! place for everything, and [`e820`] and [`boot_params`] tell Linux about it.
//!
//! Nothing here is trusted by the SVSM, but all of it vouches for the guest: memory map, fw_cfg and ACPI tables come
//! from a host that may lie. So every number that was read is checked before it is used, and each error names the
//! value at fault.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod boot_params;
pub mod bzimage;
pub mod chipset;
pub mod digest;
pub mod e820;
mod field;
pub mod fw_cfg;
pub mod memory_map;
pub mod placement;
pub mod range;
pub mod validation;
