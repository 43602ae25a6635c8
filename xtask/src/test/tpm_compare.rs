//! The TPM engine against Debian's swtpm, command by command, and against mutated commands.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::compile;
use crate::host;
use crate::packages;
use crate::paths::Paths;
use crate::process;
use crate::test::runner::{Step, Verdict};
use crate::ui::Progress;

/// The package and its program.
const PROGRAM: &str = "tpm-differential";
/// Commands that are compared.
const COMMANDS: [&str; 2] = ["20000", "200000"];
/// Seconds of fuzzing.
const SECONDS: [&str; 2] = ["60", "600"];
/// Time for either, on a slow machine.
const LIMIT: Duration = Duration::from_secs(1800);

/// Both, shorter or longer.
pub fn steps(paths: &Paths, long: bool) -> Vec<Step<'_>> {
    let which = usize::from(long);
    vec![
        Step::new("tpm: same answers as swtpm", move |progress| {
            host::require(&packages::SWTPM)?;
            run(
                paths,
                "differential",
                &["--commands", COMMANDS[which]],
                progress,
            )
        }),
        Step::new("tpm: fuzzing", move |progress| {
            run(
                paths,
                "fuzz",
                &["fuzz", "--seconds", SECONDS[which]],
                progress,
            )
        }),
    ]
}

/// Runs the program; its last line is the verdict.
fn run(paths: &Paths, name: &str, arguments: &[&str], progress: &Progress) -> Result<Verdict> {
    let program = compile::host_program(paths, PROGRAM, "building the differential runner")?;
    fs::create_dir_all(paths.logs())?;
    let log = paths.logs().join(format!("test-tpm-{name}.log"));
    let mut output =
        File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let finished = process::run(
        Command::new(program)
            .args(arguments)
            .current_dir(&paths.cache),
        LIMIT,
        |line| {
            progress.detail(line);
            let _ = writeln!(output, "{line}");
        },
    )?;
    let last = process::last_lines(&finished.all, 1);
    if !finished.status.success() {
        bail!(
            "{} ({})\n{}",
            paths.show(&log),
            finished.status,
            process::last_lines(&finished.all, 30)
        );
    }
    Ok(Verdict::Passed(last.trim().to_owned()))
}
