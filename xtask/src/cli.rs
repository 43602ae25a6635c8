//! The command line. Its help is the first documentation a newcomer reads, so it says what a command does, what it
//! needs and what to try next.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use snp_model::trace::Filter;

use crate::paths::Paths;
use crate::{bench, boot_bench, build, debug, fuzz, run, test, tpm_bench, vtpm_bench};

/// Builds, starts, tests and measures the Macadamia SVSM.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "\
Start with `cargo xtask run`: it builds the SVSM and a software SNP machine,
fetches Debian's cloud kernel, and boots that kernel under the SVSM in QEMU.
Nothing but QEMU is installed; everything else is kept in target/macadamia,
and `cargo xtask clean` removes it.

`cargo xtask COMMAND --help` says more about each."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot a guest under the SVSM and show its console
    #[command(after_help = "\
On a terminal Linux ends in a shell (leave it with `exit`; Ctrl-A X ends QEMU).
Elsewhere, or with --tour, it prints what it found of SEV-SNP and the SVSM, and
powers off. The logs of the last run are target/macadamia/logs/run.*.

Examples:
  cargo xtask run --cpus 4 --memory 4G
  cargo xtask run --payload probe         a test guest; needs nothing but QEMU
  cargo xtask run --platform native --cpus 16   the same image in an ordinary VM
  cargo xtask run --trace ghcb,rmp        the machine's view, in run.machine.log
  cargo xtask run --append loglevel=7     measured like the rest of the line
  cargo xtask run --kernel bzImage --initrd initrd.img --tour")]
    Run(run::RunOptions),
    /// Boot an SVSM with a debugger in it, and gdb at its first line after the console is there
    #[command(after_help = "\
The image has the test guest. The SVSM's console is in
target/macadamia/logs/debug.serial.log; QEMU ends with gdb.

Examples:
  cargo xtask debug
  cargo xtask debug --platform native --cpus 4 -- -ex 'break svsm_kernel_gdb::serve::run'")]
    Debug(debug::DebugOptions),
    /// Run every check of the project and end with one line of counts
    #[command(after_help = "\
Steps run two at a time at most, each with a time limit. A failing boot leaves
its logs in target/macadamia/logs and the report says which.

Examples:
  cargo xtask test --filter Linux         only steps with that in their names
  cargo xtask test --list                 the names")]
    Test(test::TestOptions),
    /// Measure boot times, memory and code size, and print a table
    #[command(after_help = "\
Linux is booted under the SVSM and in plain QEMU in turn, with the same kernel,
RAM disk and command line. The table is also written to target/macadamia/bench,
as Markdown and JSON.

`cargo xtask bench boot` measures how long the SVSM takes to be ready.
`cargo xtask bench vtpm` measures the vTPM alone, and more of it.
`cargo xtask bench tpm` measures the TPM engine against libtpms instead.")]
    #[command(args_conflicts_with_subcommands = true)]
    Bench {
        #[command(flatten)]
        boots: bench::BenchOptions,
        #[command(subcommand)]
        other: Option<OtherBench>,
    },
    /// Fuzz everything that parses foreign bytes, guided by coverage
    #[command(after_help = "\
First the corpus (tests/fuzz/corpus), then the time given for each parser. An
input that fails is made smaller and written to a file, and a line says how to
run it again.

Examples:
  cargo xtask fuzz --target igvm --seconds 600 --seed 7
  cargo xtask fuzz --target igvm --replay FILE")]
    Fuzz(fuzz::FuzzOptions),
    /// Build everything that boots, and the IGVM images without Linux
    #[command(after_help = "\
The bare-metal crates need `core` for x86_64-unknown-none. xtask takes it from
rustup where that has the target or can fetch it, else builds it from Debian's
rust-src, else from the folder that MACADAMIA_RUST_SRC names (an unpacked
`library` of the compiler's version). RUSTUP_AUTO_INSTALL=0 keeps rustup out.")]
    Build,
    /// Fetch the guest's kernel, make its initial RAM disk and the IGVM image that vouches for both
    Image(run::Guest),
    /// Remove target/macadamia: builds, packages, images and logs
    Clean,
}

/// What can be measured besides boots.
#[derive(Subcommand)]
enum OtherBench {
    /// Measure how long the SVSM takes to be ready, against vCPUs and memory, on both platforms, and plot it
    Boot(boot_bench::BootBenchOptions),
    /// Measure TPM commands on our engine and on libtpms, with the same bytes
    Tpm(tpm_bench::TpmBenchOptions),
    /// Measure what calls to the SVSM and commands of its vTPM cost, in instructions
    Vtpm(vtpm_bench::VtpmBenchOptions),
}

/// What runs as guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Payload {
    /// An unmodified Linux kernel, started by the boot stub
    Linux,
    /// The test guest that makes every SVSM call, well-formed and hostile
    Probe,
}

/// What an image is booted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    /// SEV-SNP, by the software SNP machine
    Snp,
    /// An ordinary virtual machine without confidential computing: the SVSM boots and says so; there is no less privileged
    /// level to run a guest at
    Native,
}

/// A guest's size.
#[derive(Args, Clone, Debug)]
pub struct Size {
    /// Virtual processors
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub cpus: u32,
    /// RAM, in MiB or with a suffix (512M, 4G)
    #[arg(long, default_value = "1G", value_name = "SIZE", value_parser = memory)]
    pub memory: u64,
}

impl Cli {
    /// Does what was asked for.
    pub fn execute(self) -> Result<ExitCode> {
        let paths = Paths::find()?;
        match self.command {
            Command::Run(options) => run::run(&paths, &options),
            Command::Debug(options) => debug::debug(&paths, &options),
            Command::Test(options) => test::test(&paths, &options),
            Command::Bench { boots, other } => match other {
                None => bench::bench(&paths, &boots),
                Some(OtherBench::Boot(options)) => boot_bench::bench(&paths, &options),
                Some(OtherBench::Tpm(options)) => tpm_bench::bench(&paths, &options),
                Some(OtherBench::Vtpm(options)) => vtpm_bench::bench(&paths, &options),
            },
            Command::Fuzz(options) => fuzz::fuzz(&paths, &options),
            Command::Build => build::build(&paths).map(|()| ExitCode::SUCCESS),
            Command::Image(guest) => run::image(&paths, &guest).map(|()| ExitCode::SUCCESS),
            Command::Clean => build::clean(&paths).map(|()| ExitCode::SUCCESS),
        }
    }
}

/// `512`, `512M` and `4G`, in MiB.
fn memory(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix(['G', 'g']) {
        Some(digits) => (digits, 1024),
        None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|mebibytes| (64..=1024 * 1024).contains(mebibytes))
        .ok_or_else(|| format!("{text:?} is no size from 64M to 1024G"))
}

/// Trace topics, by the machine's own rules.
pub fn topics(text: &str) -> Result<String, String> {
    let mut wrong = None;
    let _ = Filter::parse(text, |error| wrong = Some(error.to_string()));
    wrong.map_or_else(|| Ok(text.to_owned()), Err)
}

/// Seconds.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.strip_suffix('s')
        .unwrap_or(text)
        .parse()
        .map(Duration::from_secs)
        .map_err(|_| format!("{text:?} is no number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_unknown_trace_topic_is_refused_before_the_boot() {
        assert_eq!(topics("ghcb,io:3f8"), Ok("ghcb,io:3f8".to_owned()));
        assert!(topics("ghcb,bogus").is_err_and(|error| error.contains("bogus")));
    }

    #[test]
    fn sizes_are_read_with_and_without_suffix() {
        assert_eq!(memory("512"), Ok(512));
        assert_eq!(memory("512M"), Ok(512));
        assert_eq!(memory("4G"), Ok(4096));
        assert!(memory("4T").is_err());
        assert!(memory("1").is_err());
        assert!(memory("99999999999999999999G").is_err());
    }
}
