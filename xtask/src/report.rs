//! What a run says at its end: a summary, or what went wrong and where to look.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::build::{self, Image};
use crate::cli::Payload;
use crate::paths::Paths;
use crate::process::last_lines;
use crate::qemu::Machine;
use crate::symbols;
use crate::tour::Tour;
use crate::watch::{End, Line, Outcome};
use crate::{monitor, native};

/// QEMU's status when the machine refuses its image.
pub const BAD_IMAGE: i32 = 39;
/// QEMU's status after a bug in the native loader.
pub const LOADER_FAULT: i32 = 43;
/// QEMU's status when the machine's guest asks for termination.
pub const TERMINATED: i32 = 33;

/// QEMU's status for each way the machine ends a run: its own values (`simulator/machine/src/exit_status.rs`), doubled
/// and made odd by the isa-debug-exit device.
const MACHINE_ENDS: [(i32, &str); 7] = [
    (33, "the guest asked for termination"),
    (35, "the guest did what hardware does not allow"),
    (37, "every processor of the guest halted for good"),
    (BAD_IMAGE, "the machine refused the image"),
    (41, "QEMU was not started as the machine needs it"),
    (43, "a bug in the machine"),
    (45, "a triple fault in the guest"),
];

/// Who chose the guest's kernel and initial RAM disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The project: what the tour must show is known.
    Ours,
    /// The caller.
    Others,
}

/// The summary of a run under the SVSM.
pub fn summarise(
    paths: &Paths,
    payload: Payload,
    machine: &Machine,
    image: &Image,
    outcome: &Outcome,
    whose: Whose,
) -> Result<ExitCode> {
    let problem = match (payload, whose) {
        (Payload::Linux, Whose::Ours) => {
            linux_problem(outcome).or_else(|| Tour::of(outcome).tpm_problem())
        }
        (Payload::Linux, Whose::Others) => linux_problem(outcome),
        (Payload::Probe, _) => probe_problem(outcome),
    };
    let problem = problem.or_else(|| digest_problem(outcome, image));
    if let Some(problem) = problem {
        explain(paths, outcome, &problem);
        return Ok(ExitCode::FAILURE);
    }
    let tour = Tour::of(outcome);
    eprintln!();
    if let Some(kernel) = &tour.kernel {
        row("guest", format!("Linux {kernel}, unmodified"));
    } else {
        row("guest", "the probe");
    }
    if let Some(vmpl) = tour.vmpl {
        row("privilege", format!("VMPL{vmpl}, under the SVSM at VMPL0"));
    }
    row(
        "processors",
        format!("{} of {}", tour.cpus.unwrap_or(machine.cpus), machine.cpus),
    );
    match tour.memory {
        Some(kibibytes) => row(
            "memory",
            format!(
                "{} MiB, of which Linux has {} MiB",
                machine.memory,
                kibibytes / 1024
            ),
        ),
        None => row("memory", format!("{} MiB", machine.memory)),
    }
    if let (Some(line), Some(guest)) = (outcome.line("macadamia: init reached"), &tour.init)
        && !line.at.is_zero()
    {
        row(
            "boot",
            format!(
                "init after {:.1} s, of which {guest} s by the guest's clock",
                line.at.as_secs_f64()
            ),
        );
    }
    if !tour.tpm.is_empty() {
        let facts = tour.tpm.len();
        row(
            "TPM",
            format!("/dev/tpm0 on the SVSM bus, {facts} facts shown"),
        );
    }
    row("took", format!("{:.1} s", outcome.took.as_secs_f64()));
    row("launch digest", &image.digest);
    row("", "equal to what the machine computed at launch");
    row(
        "logs",
        format!(
            "{}, {}",
            paths.show(&outcome.serial_log),
            paths.show(&outcome.machine_log)
        ),
    );
    Ok(ExitCode::SUCCESS)
}

/// The summary of a run without SVSM.
pub fn summarise_plain(paths: &Paths, outcome: &Outcome) -> Result<ExitCode> {
    if let Some(problem) = linux_problem(outcome) {
        explain(paths, outcome, &problem);
        return Ok(ExitCode::FAILURE);
    }
    eprintln!();
    row("guest", "Linux without SVSM, in plain QEMU");
    row("took", format!("{:.1} s", outcome.took.as_secs_f64()));
    row("log", paths.show(&outcome.serial_log));
    Ok(ExitCode::SUCCESS)
}

/// The summary of a native run on the machine that `what` names.
pub fn summarise_native(
    paths: &Paths,
    what: &str,
    image: &Image,
    outcome: &Outcome,
    problem: Option<String>,
) -> Result<ExitCode> {
    if let Some(problem) = problem {
        explain(paths, outcome, &problem);
        return Ok(ExitCode::FAILURE);
    }
    let said = |prefix: &str| {
        let line = outcome.line(prefix)?;
        Some((line.at, line.text.split_once(prefix)?.1))
    };
    eprintln!();
    row("platform", what);
    row("image", paths.show(&image.path));
    if let Some((_, policy)) = said(native::POLICY) {
        row("policy", policy);
    }
    if let Some((at, ready)) = said(native::READY) {
        row("ready", ready);
        row(
            "boot",
            format!("ready {:.2} s after the machine's start", at.as_secs_f64()),
        );
    }
    row("took", format!("{:.1} s", outcome.took.as_secs_f64()));
    row("log", paths.show(&outcome.serial_log));
    Ok(ExitCode::SUCCESS)
}

/// Why a Linux run is no success, if it is none.
pub fn linux_problem(outcome: &Outcome) -> Option<String> {
    end_problem(outcome).or_else(|| {
        (!Tour::of(outcome).complete).then(|| "the guest did not complete its tour".to_owned())
    })
}

/// Why a run of test cases is no success, if it is none: each case prints one line, `ok NAME` or `FAIL NAME: reason`.
pub fn probe_problem(outcome: &Outcome) -> Option<String> {
    let (good, bad) = count_cases(outcome);
    end_problem(outcome)
        .or_else(|| {
            (!bad.is_empty()).then(|| format!("{} cases failed:\n{}", bad.len(), bad.join("\n")))
        })
        .or_else(|| (good == 0).then(|| "no case ran".to_owned()))
        .or_else(|| {
            let counted = format!(": {good} passed, 0 failed");
            let closes = |line: &Line| line.text.ends_with(&counted);
            (!outcome.lines.iter().any(closes))
                .then(|| format!("no closing line that ends with {counted:?}"))
        })
}

/// How many cases passed, in words.
pub fn cases(outcome: &Outcome) -> String {
    format!("{} cases", count_cases(outcome).0)
}

fn count_cases(outcome: &Outcome) -> (usize, Vec<&str>) {
    let lines = || outcome.lines.iter().map(|line| line.text.trim());
    (
        lines().filter(|line| line.starts_with("ok ")).count(),
        lines().filter(|line| line.starts_with("FAIL ")).collect(),
    )
}

/// Whether the machine launched something else than what was measured.
pub fn digest_problem(outcome: &Outcome, image: &Image) -> Option<String> {
    match launched_digest(outcome) {
        Some(digest) if digest == image.digest => None,
        Some(digest) => Some(format!(
            "the machine launched {digest}, not the measured {}",
            image.digest
        )),
        None => Some("the machine printed no launch digest".to_owned()),
    }
}

/// The digest that the machine computed, from its log or the console.
pub fn launched_digest(outcome: &Outcome) -> Option<String> {
    let is_digest = |line: &&str| line.contains("launch digest");
    outcome
        .machine_text()
        .lines()
        .find(is_digest)
        .and_then(build::hexadecimal)
        .or_else(|| outcome.texts().find(is_digest).and_then(build::hexadecimal))
}

/// Tells what went wrong, and where the logs are.
pub fn explain(paths: &Paths, outcome: &Outcome, problem: &str) {
    eprintln!("\n{}", explanation(paths, outcome, problem));
}

/// A test's verdict on a run: an error with everything that one needs to find the cause, unless `problem` is none.
pub fn judge(paths: &Paths, outcome: &Outcome, problem: Option<String>) -> Result<()> {
    match problem {
        None => Ok(()),
        Some(problem) => bail!("{}", explanation(paths, outcome, &problem)),
    }
}

/// The text of [`explain`]: the console's end, the machine's diagnosis, names for its addresses, and the logs.
pub fn explanation(paths: &Paths, outcome: &Outcome, problem: &str) -> String {
    let mut text = format!(
        "FAILED after {:.1} s: {problem}\n",
        outcome.took.as_secs_f64()
    );
    let mut part = |title: &str, content: &str| {
        if !content.trim().is_empty() {
            text.push_str(&format!("{title}:\n{}", indent(content.trim_end())));
        }
    };
    let is_machine = |line: &&str| line.starts_with("machine: ");
    let console: Vec<&str> = outcome.texts().filter(|line| !is_machine(line)).collect();
    part(
        "the console's last lines",
        &last_lines(&console.join("\n"), 12),
    );
    let diagnosis: Vec<&str> = outcome.texts().filter(is_machine).collect();
    if diagnosis.is_empty() {
        let log = outcome.machine_text();
        part("the machine log's last lines", &last_lines(&log, 8));
    } else {
        let shown: Vec<&str> = diagnosis
            .iter()
            .copied()
            .filter(|line| !line.contains("called from"))
            .collect();
        part("the machine's diagnosis", &shown.join("\n"));
    }
    let all: Vec<&str> = outcome.texts().collect();
    part(
        "addresses by name",
        &symbols::annotate(paths, outcome.programs, &all.join("\n")),
    );
    part(
        "where the processors were",
        &monitor::places(&outcome.registers),
    );
    part("QEMU says", &outcome.errors);
    text.push_str(&format!(
        "serial log:  {}\n",
        paths.show(&outcome.serial_log)
    ));
    if outcome.machine_log.exists() {
        text.push_str(&format!(
            "machine log: {}\n",
            paths.show(&outcome.machine_log)
        ));
    }
    text
}

fn end_problem(outcome: &Outcome) -> Option<String> {
    match outcome.end {
        End::Status(0) => None,
        End::Status(status) => Some(match MACHINE_ENDS.iter().find(|end| end.0 == status) {
            Some((_, meaning)) => (*meaning).to_owned(),
            None => format!("QEMU ended with status {status}"),
        }),
        End::Signal => Some("QEMU was ended by a signal".to_owned()),
        End::TimedOut => Some("the time limit passed".to_owned()),
        End::Silent => Some("no output for too long".to_owned()),
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn row(name: &str, value: impl AsRef<str>) {
    eprintln!("  {name:14} {}", value.as_ref());
}
