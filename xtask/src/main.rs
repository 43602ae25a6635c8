//! `cargo xtask`: everything a person does with this checkout, each as one command.
#![forbid(unsafe_code)]

mod apt;
mod bench;
mod bochs;
mod boot_bench;
mod build;
mod cli;
mod compile;
mod cpio;
mod debug;
mod elf;
mod figures;
mod fuzz;
mod guest;
mod host;
mod kernel;
mod modules;
mod monitor;
mod native;
mod packages;
mod paths;
mod plot;
mod process;
mod qemu;
mod report;
mod run;
mod segments;
mod source;
mod suite;
mod symbols;
mod test;
mod toolchain;
mod tour;
mod tpm_bench;
mod trusted;
mod ui;
mod userland;
mod vtpm_bench;
mod watch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().execute() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
