//! ACPI tables as QEMU offers them: files in fw_cfg, and a script (`etc/table-loader`) that says where to put them and
//! how to patch pointers and checksums (QEMU `hw/acpi/bios-linker-loader.c`).
//!
//! [`command`] reads the script, [`loader`] runs it, [`tables`] finds the RSDP and checks what it leads to.

pub mod command;
pub mod loader;
pub mod tables;

/// Name of the script's fw_cfg file.
pub const SCRIPT_FILE: &str = "etc/table-loader";
