//! `cargo xtask bench tpm`: the TPM engine against libtpms, command by command, both in process, in one run.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::apt;
use crate::compile;
use crate::figures::publish;
use crate::packages;
use crate::paths::Paths;
use crate::process;
use crate::ui::{self, Progress};

const LIMIT: Duration = Duration::from_secs(600);

/// Package and binary that do the measuring.
const PACKAGE: &str = "tpm-bench";
const BINARY: &str = "macadamia-tpm-bench";

/// Options of `bench tpm`.
#[derive(Args, Clone, Debug)]
pub struct TpmBenchOptions {
    /// Only the rows whose names contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
}

/// Why a command takes longer than libtpms does, by the rows' keys. Printed only where it does.
const REASONS: [(&str, &str); 5] = [
    (
        "create_primary_rsa",
        "a candidate costs one power of two in portable code, which OpenSSL does in assembly; how many there are is luck",
    ),
    (
        "hash",
        "the crates' SHA-256 and SHA-512 (the ticket's) against OpenSSL's assembly",
    ),
    (
        "pcr_extend",
        "level: two compressions and the authorization",
    ),
    (
        "get_capability",
        "level: the response is written property by property",
    ),
    (
        "verify_p256",
        "level: the crates' P-256 against OpenSSL's assembly",
    ),
];

/// 10th percentile, median, 90th percentile in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times([f64; 3]);

/// One row: what either side took, or its response code.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    key: String,
    name: String,
    engine: Result<Times, String>,
    libtpms: Result<Times, String>,
}

/// `cargo xtask bench tpm`.
pub fn bench(paths: &Paths, options: &TpmBenchOptions) -> Result<ExitCode> {
    let (harness, libraries) = harness(paths)?;
    let progress = Progress::start("measuring");
    let mut rows = Vec::new();
    process::check(
        Command::new(program(paths)?)
            .arg(harness)
            .arg(&options.filter)
            .env("LD_LIBRARY_PATH", libraries),
        LIMIT,
        |line| match parse(line) {
            Some(row) => {
                progress.detail(&row.name);
                rows.push(row);
            }
            None => ui::note(line),
        },
    )?;
    progress.quiet();
    ensure!(
        !rows.is_empty(),
        "no row has {:?} in its name",
        options.filter
    );
    let title = format!(
        "The engine against libtpms {}, both in process, state in memory; median (10th to 90th percentile)",
        apt::obtain(paths, &packages::LIBTPMS)?.version()
    );
    let table = table(&title, &rows);
    publish(paths, "tpm", &table, &json(&title, &rows))?;
    let failed = rows
        .iter()
        .any(|row| row.engine.is_err() || row.libtpms.is_err());
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Compiles the C side against Debian 12's libtpms, and says where it and its libraries are.
fn harness(paths: &Paths) -> Result<(PathBuf, PathBuf)> {
    let _lock = paths.lock()?;
    let root = apt::obtain(paths, &packages::LIBTPMS)?.root;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let folder = paths.cache.join("tpm-bench");
    fs::create_dir_all(&folder)?;
    let harness = folder.join("libtpms");
    process::check(
        // Rust links its programs with it, so it is there.
        Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-o"])
            .arg(&harness)
            .arg("-I")
            .arg(root.join("usr/include"))
            .arg(paths.root.join("tests/tpm/bench/libtpms.c"))
            .arg("-L")
            .arg(&libraries)
            .args(["-ltpms", "-Wl,--allow-shlib-undefined"]),
        LIMIT,
        |_| {},
    )?;
    Ok((harness, libraries))
}

/// Builds the Rust side as what is shipped is built.
fn program(paths: &Paths) -> Result<PathBuf> {
    let mut cargo = compile::cargo(paths, "build");
    cargo.args(["--release", "--package", PACKAGE]);
    compile::run_cargo(&mut cargo, "building the benchmark")?;
    let program = paths.target.join("release").join(BINARY);
    ensure!(program.is_file(), "{PACKAGE} has no binary of its own name");
    Ok(program)
}

/// A line of the benchmark's output: key, name, and for each side three numbers or a response code.
fn parse(line: &str) -> Option<Row> {
    let mut fields = line.split('\t').peekable();
    let key = fields.next()?.to_owned();
    let name = fields.next()?.to_owned();
    let mut side = || -> Option<Result<Times, String>> {
        let first = fields.next()?;
        if first.starts_with("0x") {
            return Some(Err(first.to_owned()));
        }
        let mut times = [first.parse().ok()?, 0.0, 0.0];
        for time in &mut times[1..] {
            *time = fields.next()?.parse().ok()?;
        }
        Some(Ok(Times(times)))
    };
    Some(Row {
        key,
        name,
        engine: side()?,
        libtpms: side()?,
    })
}

impl Row {
    /// How many times what libtpms takes.
    fn ratio(&self) -> Option<f64> {
        let (Ok(engine), Ok(libtpms)) = (&self.engine, &self.libtpms) else {
            return None;
        };
        Some(engine.0[1] / libtpms.0[1])
    }

    /// The reason, where there must be one.
    fn reason(&self) -> &'static str {
        match self.ratio() {
            Some(ratio) if ratio <= 1.0 => "",
            Some(_) => REASONS
                .iter()
                .find(|(key, _)| *key == self.key)
                .map_or("no reason is known", |(_, reason)| reason),
            None => "a side refuses the command",
        }
    }
}

fn table(title: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "{title}\n\n| command | engine | libtpms | ratio | where it is not ahead, why |\n|---|---:|---:|---:|---|\n"
    );
    for row in rows {
        let ratio = row
            .ratio()
            .map_or("".to_owned(), |ratio| format!("{ratio:.2}"));
        text.push_str(&format!(
            "| {} | {} | {} | {ratio} | {} |\n",
            row.name,
            shown(&row.engine),
            shown(&row.libtpms),
            row.reason()
        ));
    }
    text
}

/// `1.23 µs (1.20–1.31)`, all in the median's unit.
fn shown(side: &Result<Times, String>) -> String {
    let [low, median, high] = match side {
        Ok(Times(times)) => *times,
        Err(code) => return format!("refused: {code}"),
    };
    let (unit, name) = if median < 1e3 {
        (1.0, "ns")
    } else if median < 1e6 {
        (1e3, "µs")
    } else {
        (1e6, "ms")
    };
    let number = |time: f64| {
        let time = time / unit;
        if time < 10.0 && unit > 1.0 {
            format!("{time:.2}")
        } else if time < 100.0 && unit > 1.0 {
            format!("{time:.1}")
        } else {
            format!("{time:.0}")
        }
    };
    format!(
        "{} {name} ({}–{})",
        number(median),
        number(low),
        number(high)
    )
}

fn json(title: &str, rows: &[Row]) -> String {
    let side = |side: &Result<Times, String>| match side {
        Ok(Times([low, median, high])) => format!("[{low}, {median}, {high}]"),
        Err(code) => format!("\"{code}\""),
    };
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "  \"{}\": {{ \"engine_ns\": {}, \"libtpms_ns\": {}, \"ratio\": {} }}",
                row.key,
                side(&row.engine),
                side(&row.libtpms),
                row.ratio()
                    .map_or("null".to_owned(), |ratio| format!("{ratio:.3}"))
            )
        })
        .collect();
    format!(
        "{{\n  \"conditions\": \"{title}\",\n{}\n}}\n",
        rows.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_benchmark_is_a_row() {
        let row = parse("sign\tSign\t100\t200\t300\t300\t400\t500").unwrap();
        assert_eq!(row.engine, Ok(Times([100.0, 200.0, 300.0])));
        assert_eq!(row.ratio(), Some(0.5));
        assert_eq!(row.reason(), "");
    }

    #[test]
    fn a_refused_command_is_a_row_without_ratio() {
        let row = parse("sign\tSign\t0x143\t300\t400\t500").unwrap();
        assert_eq!(row.engine, Err("0x143".to_owned()));
        assert_eq!(row.ratio(), None);
        assert!(parse("engine: 0x143").is_none());
    }

    #[test]
    fn times_are_shown_in_the_unit_of_the_median() {
        assert_eq!(shown(&Ok(Times([310.0, 317.0, 319.0]))), "317 ns (310–319)");
        assert_eq!(
            shown(&Ok(Times([990.0, 1234.0, 12345.0]))),
            "1.23 µs (0.99–12.3)"
        );
    }
}
