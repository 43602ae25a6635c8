//! `tpm-differential`: the engine against swtpm, and against mutated commands.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tpm_differential::run::{self, Config, Subject};
use tpm_differential::{fuzz, run as differential};

#[global_allocator]
static HEAP: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

#[derive(Parser)]
#[command(about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// The same commands to the engine and to swtpm (the default)
    Run(Run),
    /// Mutated commands to the engine: no panic, no hang, no growth
    Fuzz(Fuzz),
}

#[derive(Args)]
struct Run {
    /// At least so many commands
    #[arg(long, default_value_t = 20_000)]
    commands: usize,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this segment of the run
    #[arg(long)]
    segment: Option<u64>,
    /// Stop after so many kinds of differences
    #[arg(long, default_value_t = 1000)]
    enough: usize,
    /// Show the fewest commands that lead to each difference, with so many attempts
    #[arg(long, default_value_t = 0)]
    shrink: usize,
    /// Compare swtpm with swtpm
    #[arg(long)]
    swtpm: bool,
    /// Only commands that are meant to be valid
    #[arg(long)]
    valid: bool,
    /// Print everything that is exchanged
    #[arg(long)]
    verbose: bool,
    /// What was sent, by command
    #[arg(long)]
    coverage: bool,
}

#[derive(Args)]
struct Fuzz {
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => run_differential(&cli.run),
        Some(Command::Run(run)) => run_differential(&run),
        Some(Command::Fuzz(it)) => fuzz::fuzz(Duration::from_secs(it.seconds), it.seed, || {
            HEAP.allocated()
        })
        .map(|line| {
            println!("{line}");
            true
        }),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("tpm-differential: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_differential(args: &Run) -> Result<bool> {
    let start = Instant::now();
    let config = Config {
        subject: if args.swtpm {
            Subject::Swtpm
        } else {
            Subject::Engine
        },
        commands: args.commands,
        seed: args.seed,
        segment: args.segment,
        enough: args.enough,
        verbose: args.verbose,
        valid: args.valid,
    };
    let report = differential::run(&config)?;
    for (difference, count) in report.differences.values() {
        println!(
            "{} in {} cases, first with --seed {} --segment {} at step {}{}{}:",
            difference.what,
            count,
            args.seed,
            difference.segment,
            difference.step,
            if difference.label.is_empty() {
                ""
            } else {
                ", mutated: "
            },
            difference.label,
        );
        print!("{}", run::show(&difference.subject, &difference.reference));
        if args.shrink > 0 {
            let actions = differential::shrink(&config, difference, args.shrink)?;
            println!("  the fewest commands found:");
            print!(
                "{}",
                differential::transcript(&config, difference.segment, &actions)?
            );
        }
    }
    for (name, count) in &report.missing {
        println!("not there, {count} times: {name}");
    }
    for (fault, count) in &report.faults {
        println!("mistake of the runner, {count} times: {fault}");
    }
    if args.coverage {
        print!("{}", report.coverage());
    }
    for (reason, count) in &report.excused {
        println!("excused {count} times: {reason}");
    }
    println!(
        "{} (seed {}, {:.0?})",
        report.summary(),
        args.seed,
        start.elapsed()
    );
    Ok(report.is_clean())
}
