//! Checks that need no machine: format, lints, host tests, `unsafe` counts, and what must not be in the tree.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::apt;
use crate::compile::{self, Program};
use crate::paths::Paths;
use crate::process;
use crate::source;
use crate::test::runner::{Step, Verdict, passed};
use crate::ui::Progress;

/// Time for one cargo command.
const LIMIT: Duration = Duration::from_secs(1200);

/// Where the counts are recorded.
const COUNTS: &str = "tests/unsafe-counts.txt";

/// What runs in ring 0 of VMPL0, and its limits.
pub const RING_0: [&str; 2] = ["svsm/kernel", "svsm/core"];
/// Lines of code in it.
pub const RING_0_LINES: usize = 12_000;
/// `unsafe` in it.
pub const RING_0_UNSAFES: usize = 150;

/// What of it only a kernel with tests has. Its lines do not count, its `unsafe` does.
const RING_0_TESTS: [&str; 2] = ["svsm/kernel/src/tests", "svsm/kernel/src/arch/inspect.rs"];

/// The TPM engine.
const TPM_ENGINE: &str = "tpm/engine";
/// Lines of code in it.
const TPM_ENGINE_LINES: usize = 20_000;

/// Files and folders that may have `unsafe`; nothing else may.
const UNSAFE_ALLOWED: [&str; 12] = [
    "svsm/kernel/src/arch",
    "svsm/kernel/src/mm",
    "svsm/service-rt",
    "svsm/services/broken/src/misdeed",
    "simulator/machine/src/arch",
    "simulator/machine/src/svm",
    "simulator/conformance",
    "image/native-loader/src/arch",
    "guest/rt",
    "guest/probe",
    "guest/shim",
    "tests/coverage-hooks",
];

/// All of them.
pub fn steps<'a>(paths: &'a Paths) -> Vec<Step<'a>> {
    vec![
        Step::new("format", |progress| format(paths, progress)),
        Step::new("unsafe counts", |_| counts(paths)),
        Step::new("unsafe only where it may be", |_| unsafe_places(paths)),
        Step::new("size of ring 0", |_| ring_0(paths)),
        Step::new("size of the TPM engine", |_| tpm_engine(paths)),
        Step::new("no paths or hosts of this machine", |_| foreign(paths)),
        Step::new("lints, host", |progress| lints_host(paths, progress)).alone(),
        Step::new("host tests", |progress| host_tests(paths, progress)).alone(),
        Step::new("lints, bare metal", |progress| lints_bare(paths, progress)).alone(),
    ]
}

fn format(paths: &Paths, progress: &Progress) -> Result<Verdict> {
    process::check(
        compile::cargo(paths, "fmt").args(["--all", "--", "--check", "-l", "--color", "never"]),
        LIMIT,
        |line| progress.detail(line),
    )
    .context("not as `cargo fmt --all` would have it")?;
    Ok(passed())
}

fn lints_host(paths: &Paths, progress: &Progress) -> Result<Verdict> {
    clippy(
        compile::cargo(paths, "clippy").args(["--all-targets", "--", "-D", "warnings"]),
        progress,
    )
}

fn lints_bare(paths: &Paths, progress: &Progress) -> Result<Verdict> {
    let mut cargo = compile::bare_metal_command(paths, "clippy")?;
    for program in Program::ALL {
        cargo.args(["--package", program.package()]);
    }
    for program in [Program::SvsmDebugger, Program::SvsmTests] {
        let mut special = compile::special_command(paths, "clippy", program)?;
        clippy(special.args(["--", "-D", "warnings"]), progress)?;
    }
    // The TPM engine is built for the host by the other checks; a service of the SVSM needs it without one.
    for library in ["guest-rt", "service-rt", "tpm-engine"] {
        cargo.args(["--package", library]);
    }
    cargo.args(["--", "-D", "warnings"]);
    clippy(&mut cargo, progress)
}

fn clippy(cargo: &mut Command, progress: &Progress) -> Result<Verdict> {
    let finished = process::run(cargo, LIMIT, |line| progress.detail(line))?;
    if !finished.status.success() {
        bail!("{}", compile::errors_of(&finished.all));
    }
    Ok(passed())
}

fn host_tests(paths: &Paths, progress: &Progress) -> Result<Verdict> {
    let mut passed = 0;
    let finished = process::run(
        compile::cargo(paths, "test").arg("--no-fail-fast"),
        LIMIT,
        |line| {
            if line.starts_with("test ") {
                passed += usize::from(line.ends_with("... ok"));
                progress.detail(&format!("{passed} passed; {line}"));
            } else {
                progress.detail(line);
            }
        },
    )?;
    if !finished.status.success() {
        bail!("{}", test_failures(&finished.all));
    }
    ensure!(passed > 0, "no test ran");
    Ok(Verdict::Passed(format!("{passed} tests")))
}

/// The part of cargo's output that tells what failed.
fn test_failures(output: &str) -> String {
    let kept: Vec<&str> = output
        .lines()
        .filter(|line| {
            let line = line.trim();
            !line.ends_with("... ok")
                && !line.starts_with("Compiling")
                && !line.starts_with("Running")
                && !line.starts_with("running ")
                && !line.starts_with("test result: ok")
                && !line.is_empty()
        })
        .collect();
    process::last_lines(&kept.join("\n"), 80)
}

/// Folders with a Cargo.toml, as written in the workspace's member list.
pub fn crates(paths: &Paths) -> Result<Vec<String>> {
    let manifest = fs::read_to_string(paths.root.join("Cargo.toml"))?;
    let list = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .context("Cargo.toml has no members")?
        .0;
    Ok(list
        .split(',')
        .map(|member| member.trim().trim_matches('"').to_owned())
        .filter(|member| !member.is_empty())
        .collect())
}

/// `unsafe` per crate, as it is now.
pub fn count_crates(paths: &Paths) -> Result<BTreeMap<String, usize>> {
    crates(paths)?
        .into_iter()
        .map(|member| {
            let counts = source::count_folder(&paths.root.join(&member))?;
            Ok((member, counts.unsafes))
        })
        .collect()
}

/// Writes the present counts down as the recorded ones.
pub fn record_counts(paths: &Paths) -> Result<()> {
    let mut text = String::from(
        "# How often the keyword `unsafe` stands in each crate. `cargo xtask test` fails when a number grows;\n\
         # `cargo xtask test --record-counts` writes the present numbers here, for a reviewer to see.\n",
    );
    for (member, unsafes) in count_crates(paths)? {
        if unsafes > 0 {
            text.push_str(&format!("{member} {unsafes}\n"));
        }
    }
    fs::write(paths.root.join(COUNTS), text)?;
    Ok(())
}

fn counts(paths: &Paths) -> Result<Verdict> {
    let recorded = fs::read_to_string(paths.root.join(COUNTS))
        .with_context(|| format!("cannot read {COUNTS}"))?;
    let recorded: BTreeMap<&str, usize> = recorded
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(member, count)| Some((member, count.parse().ok()?)))
        .collect();
    let now = count_crates(paths)?;
    let mut grown = Vec::new();
    let mut shrunk = Vec::new();
    for (member, count) in &now {
        let before = recorded.get(member.as_str()).copied().unwrap_or(0);
        let change = format!("{member}: {count}, recorded {before}");
        if *count > before {
            grown.push(change);
        } else if *count < before {
            shrunk.push(change);
        }
    }
    ensure!(
        grown.is_empty(),
        "more `unsafe` than {COUNTS} records:\n{}\nIf each is argued for, `cargo xtask test --record-counts` records it.",
        grown.join("\n")
    );
    let mut remark = format!("{} in all", now.values().sum::<usize>());
    if !shrunk.is_empty() {
        remark.push_str(&format!(
            "; fewer than recorded, please record: {}",
            shrunk.join(", ")
        ));
    }
    Ok(Verdict::Passed(remark))
}

/// Crates without any `unsafe` must say so to the compiler; in the others it stays in its modules.
fn unsafe_places(paths: &Paths) -> Result<Verdict> {
    let mut wrong = Vec::new();
    for member in crates(paths)? {
        let folder = paths.root.join(&member);
        let may = UNSAFE_ALLOWED
            .iter()
            .any(|allowed| allowed.starts_with(&member));
        for root in ["src/lib.rs", "src/main.rs"] {
            let path = folder.join(root);
            if let Ok(text) = fs::read_to_string(&path)
                && !may
                && !source::code_only(&text).contains("#![forbid(unsafe_code)]")
            {
                wrong.push(format!(
                    "{} lacks #![forbid(unsafe_code)]",
                    paths.show(&path)
                ));
            }
        }
        for path in source::rust_files(&folder)? {
            let shown = paths.show(&path);
            let allowed = UNSAFE_ALLOWED.iter().any(|place| {
                Path::new(&shown).starts_with(place) || shown == format!("{place}.rs")
            });
            let count = source::count(&fs::read_to_string(&path)?).unsafes;
            if count > 0 && !allowed {
                wrong.push(format!(
                    "{shown} has {count} `unsafe`, outside of the modules that may"
                ));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(passed())
}

/// What is in kernels with a debugger only.
const DEBUGGER: &str = "svsm/kernel/src/gdb";

/// Lines and `unsafe` of what runs in ring 0 of VMPL0.
pub fn ring_0_counts(paths: &Paths) -> Result<source::Counts> {
    let mut total = source::Counts::default();
    for folder in RING_0 {
        let counts = source::count_folder(&paths.root.join(folder).join("src"))?;
        total.unsafes += counts.unsafes;
        total.lines += counts.lines;
    }
    for place in RING_0_TESTS {
        total.lines -= source::count_folder(&paths.root.join(place))?.lines;
    }
    // No release image has the debugger in it.
    let debugger = source::count_folder(&paths.root.join(DEBUGGER))?;
    total.unsafes -= debugger.unsafes;
    total.lines -= debugger.lines;
    Ok(total)
}

fn ring_0(paths: &Paths) -> Result<Verdict> {
    let counts = ring_0_counts(paths)?;
    ensure!(
        counts.lines <= RING_0_LINES && counts.unsafes <= RING_0_UNSAFES,
        "{} lines and {} `unsafe`; at most {RING_0_LINES} and {RING_0_UNSAFES} are allowed",
        counts.lines,
        counts.unsafes
    );
    Ok(Verdict::Passed(format!(
        "{} lines, {} unsafe",
        counts.lines, counts.unsafes
    )))
}

fn tpm_engine(paths: &Paths) -> Result<Verdict> {
    let counts = source::count_folder(&paths.root.join(TPM_ENGINE).join("src"))?;
    ensure!(
        counts.lines <= TPM_ENGINE_LINES,
        "{} lines; at most {TPM_ENGINE_LINES} are allowed",
        counts.lines
    );
    Ok(Verdict::Passed(format!("{} lines", counts.lines)))
}

/// Nothing in the tree names the machine it was written on: its folders, its name, the mirrors it uses.
fn foreign(paths: &Paths) -> Result<Verdict> {
    let listing = process::output(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(&paths.root),
    )?;
    let needles = machine_names(paths);
    let mut found = Vec::new();
    for name in listing.lines() {
        let Ok(text) = fs::read_to_string(paths.root.join(name)) else {
            continue; // not text, or just removed
        };
        for (number, line) in text.lines().enumerate() {
            for needle in &needles {
                if stands_alone(line, needle) {
                    found.push(format!("{name}:{}: {needle}", number + 1));
                }
            }
        }
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(passed())
}

fn machine_names(paths: &Paths) -> Vec<String> {
    let mut names = Vec::new();
    for folder in paths.root.ancestors() {
        // The root and what any machine has are no sign of this one.
        if folder.components().count() > 1 && folder != Path::new("/tmp") {
            names.push(format!("{}/", folder.display()));
        }
    }
    if let Some(home) = env::home_dir()
        && home.components().count() > 1
    {
        names.push(format!("{}/", home.display()));
    }
    for prefix in ["home", "Users"] {
        names.push(format!("/{prefix}/"));
    }
    names.extend(apt::hosts());
    names
}

/// Whether `needle` is in `line` and is not the tail of something longer.
fn stands_alone(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        !line[..at].ends_with(|character: char| {
            character.is_alphanumeric() || matches!(character, '.' | '-' | '_' | '}' | '~')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_found_only_where_it_starts_a_path() {
        assert!(stands_alone("see /srv/checkout/x", "/srv/checkout/"));
        assert!(!stands_alone("see data/srv/checkout/x", "/srv/checkout/"));
    }
}
