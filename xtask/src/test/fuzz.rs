//! The fuzzer: its corpus and some time for each parser, and a planted bug that it must find.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::fuzz;
use crate::paths::Paths;
use crate::process;
use crate::test::runner::{Step, Verdict};

/// Seconds for each parser.
const SECONDS: [f64; 2] = [1.0, 30.0];
/// Seconds in which the planted bug must be found. It takes a fraction of one.
const CANARY: f64 = 30.0;
/// Time for all of it, on a slow machine.
const LIMIT: Duration = Duration::from_secs(1800);

/// Both; the second one uses what the first one has built.
pub fn steps(paths: &Paths, long: bool) -> Vec<Step<'_>> {
    vec![
        Step::new("fuzzing: finds a planted bug", move |_| canary(paths)),
        Step::new("fuzzing", move |progress| {
            let program = fuzz::build(paths)?;
            let mut command = fuzz::command(paths, &program, SECONDS[usize::from(long)]);
            let mut lines = String::new();
            let finished = process::run(&mut command, LIMIT, |line| {
                progress.detail(line);
                lines.push_str(line);
                lines.push('\n');
            })?;
            fs::create_dir_all(paths.logs())?;
            fs::write(paths.logs().join("test-fuzz.log"), &lines)?;
            if !finished.status.success() {
                bail!("{}\n{}", finished.status, process::last_lines(&lines, 30));
            }
            Ok(Verdict::Passed(process::last_lines(&lines, 1)))
        }),
    ]
}

/// A fuzzer that finds nothing has not shown that there is nothing.
fn canary(paths: &Paths) -> Result<Verdict> {
    let program = fuzz::build(paths)?;
    let mut command = fuzz::command(paths, &program, CANARY);
    let finished = process::run(command.args(["--target", "canary"]), LIMIT, |_| {})?;
    ensure!(
        !finished.status.success() && finished.stdout.contains("FAIL canary: index out of bounds"),
        "the planted bug was not found:\n{}",
        process::last_lines(&finished.all, 10)
    );
    let line = finished
        .stdout
        .lines()
        .find(|line| line.starts_with("canary"))
        .context("no line about it")?;
    let inputs = line.split_whitespace().nth(1).unwrap_or("?");
    Ok(Verdict::Passed(format!("after {inputs} inputs")))
}
