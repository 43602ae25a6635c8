//! `cargo xtask fuzz`: the fuzzer, built with LLVM's coverage pass, which stable Rust can switch on.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::compile::{self, HOST};
use crate::paths::Paths;
use crate::process;
use crate::ui;

/// The package and its program.
const PROGRAM: &str = "macadamia-fuzz";
/// What `docs/src/fuzzing.md` explains.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Time beside the fuzzing: the corpus, making failing inputs smaller.
const BESIDE: Duration = Duration::from_secs(600);

/// Options of `fuzz`.
#[derive(Args, Clone, Debug)]
pub struct FuzzOptions {
    /// Only this parser; --list names them
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Seconds for each parser
    #[arg(long, default_value_t = 60.0, value_name = "N")]
    seconds: f64,
    /// The same seed makes the same inputs
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Run this input alone, and show what panics
    #[arg(long, value_name = "FILE", requires = "target")]
    replay: Option<PathBuf>,
    /// Write the corpus anew: the smallest inputs that do all that was seen, at most so many bytes for each parser
    #[arg(long, value_name = "BYTES")]
    grow: Option<u64>,
    /// Name the parsers
    #[arg(long)]
    list: bool,
}

/// Builds the fuzzer, instrumented; says where it is.
pub fn build(paths: &Paths) -> Result<PathBuf> {
    let folder = paths.cache.join("fuzz");
    let mut cargo = compile::cargo(paths, "build");
    // With a target named, the flags are not for build scripts and procedural macros.
    cargo
        .args(["--package", PROGRAM, "--profile", "fuzz", "--target", HOST])
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    compile::run_cargo(&mut cargo, "building the fuzzer")?;
    Ok(folder.join(HOST).join("fuzz").join(PROGRAM))
}

/// The fuzzer, with the corpus of this checkout.
pub fn command(paths: &Paths, program: &PathBuf, seconds: f64) -> Command {
    let mut command = Command::new(program);
    command
        .arg("--corpus")
        .arg(paths.root.join("tests/fuzz/corpus"))
        .arg("--failures")
        .arg(failures(paths))
        .arg("--seconds")
        .arg(seconds.to_string());
    command
}

/// Where failing inputs go.
fn failures(paths: &Paths) -> PathBuf {
    paths.cache.join("fuzz-failures")
}

/// `cargo xtask fuzz`.
pub fn fuzz(paths: &Paths, options: &FuzzOptions) -> Result<ExitCode> {
    ensure!(
        options.seconds.is_finite() && options.seconds >= 0.0,
        "--seconds {}",
        options.seconds
    );
    let program = build(paths)?;
    let mut command = command(paths, &program, options.seconds);
    command.arg("--seed").arg(options.seed.to_string());
    if let Some(target) = &options.target {
        command.arg("--target").arg(target);
    }
    if let Some(file) = &options.replay {
        command.arg("--replay").arg(file);
    }
    if let Some(bytes) = options.grow {
        command.arg("--grow").arg(bytes.to_string());
    }
    if options.list {
        command.arg("--list");
    }
    const PARSERS: f64 = 100.0;
    let limit = Duration::from_secs_f64(options.seconds * PARSERS) + BESIDE;
    let finished = process::run(&mut command, limit, |line| ui::say(line))?;
    Ok(if finished.status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
