//! `cargo xtask test`: every check of the project in one report.

mod bad_images;
mod bochs;
mod boots;
pub mod checks;
mod cpus;
mod debugger;
mod fatal;
mod fuzz;
mod in_svsm;
mod isolation;
mod madt;
mod native;
mod native_loader;
mod policy;
mod runner;
mod secrets;
mod soundness;
mod stage;
mod tpm;
mod tpm_compare;
mod tpm_guest;
mod vtpm_flows;
mod vtpm_guest;
mod vtpm_selftests;

use std::cmp::Reverse;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::paths::Paths;
use crate::ui;
use runner::{Step, Tally};

/// Options of `test`.
#[derive(Args, Clone, Debug)]
pub struct TestOptions {
    /// Only the steps whose names contain this, in whatever case
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Also what takes long: boots with 2 and 8 vCPUs, with 512 MiB and 4 GiB, on a newer QEMU, and one many times over;
    /// trusted keys with a TPM, ten times as much comparing and fuzzing
    #[arg(long)]
    long: bool,
    /// Print the names of the steps and run none
    #[arg(long)]
    list: bool,
    /// Write the present `unsafe` counts to tests/unsafe-counts.txt and run nothing
    #[arg(long)]
    record_counts: bool,
    #[command(flatten)]
    boots: stage::BootOptions,
    #[command(flatten)]
    tpm: tpm::TpmOptions,
}

/// `cargo xtask test`.
pub fn test(paths: &Paths, options: &TestOptions) -> Result<ExitCode> {
    if options.record_counts {
        checks::record_counts(paths)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = |step: &Step| {
        options
            .filter
            .as_ref()
            .is_none_or(|filter| step.name.to_lowercase().contains(&filter.to_lowercase()))
    };
    let program = tpm::Program::default();
    let mut flows = tpm::steps(paths, &program, &options.tpm)?;
    flows.retain(wanted);
    let mut static_checks = checks::steps(paths);
    static_checks.extend(soundness::steps(paths));
    static_checks.retain(wanted);
    if !flows.is_empty() {
        // Beside the last of them: its program is linked by one processor.
        static_checks.push(tpm::prepare(paths, &program, &options.tpm));
    }
    let stage = stage::Stage::default();
    // What needs all processors first, then the longest, so that the rest goes on beside it.
    let mut boots = vtpm_guest::steps(paths, &stage, &options.tpm, options.long);
    boots.extend(tpm_compare::steps(paths, options.long));
    boots.push(madt::step(paths));
    boots.extend(fuzz::steps(paths, options.long));
    boots.extend(boots::steps(paths, &stage, options.long));
    boots.extend(native_loader::steps(paths, &stage));
    boots.extend(debugger::steps(paths, &stage));
    boots.extend(bochs::steps(paths, &stage, options.long));
    boots.extend(cpus::steps(paths, &stage, options.long));
    boots.extend(native::steps(paths, &stage, options.long));
    boots.extend(policy::steps(paths, &stage));
    boots.extend(in_svsm::steps(paths, &stage));
    boots.extend(tpm_guest::steps(paths, &stage, &options.tpm, options.long));
    boots.sort_by_key(|step| Reverse(step.slots));
    boots.retain(wanted);
    if options.list {
        for step in static_checks.iter().chain(&flows).chain(&boots) {
            ui::say(&step.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut tally = Tally::default();
    runner::run(static_checks, &mut tally);
    runner::run(flows, &mut tally);
    if !boots.is_empty() {
        let mut prepare = stage::prepare(paths, &stage, &options.boots);
        if options.filter.is_some() {
            prepare.retain(|step| boots.iter().any(|boot| stage::needs(boot, step)));
        }
        runner::run(prepare, &mut tally);
        runner::run(boots, &mut tally);
    }
    if !tally.failed.is_empty() {
        ui::say(format!("\nfailed: {}", tally.failed.join(", ")));
    }
    if !options.long && options.filter.is_none() {
        ui::say("\n`cargo xtask test --long` adds more sizes, a newer QEMU, and repeated boots.");
    }
    ui::say(tally.line());
    Ok(if tally.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
