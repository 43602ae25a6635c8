//! `cargo xtask bench vtpm`: what the vTPM costs, in instructions and in time.
//!
//! Instructions are counted by the machine's option `calls=each`, one vCPU, with QEMU's `-icount shift=0`: one instruction
//! is one tick of the time stamp counter, so the figures depend on no other load. `docs/src/vtpm-bench.md` says what is
//! in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::build::{self, Contents, Image, LinuxFiles};
use crate::compile::{self, Program};
use crate::cpio::Archive;
use crate::figures::{Figure, json, publish, table};
use crate::paths::Paths;
use crate::qemu::{self, Machine};
use crate::ui::Progress;
use crate::watch::{Outcome, Watch};
use crate::{guest, host, packages, process, report, run};

/// Options of `bench vtpm`.
#[derive(Args, Clone, Debug)]
pub struct VtpmBenchOptions {
    /// QEMU's program; "newer" fetches the one of bookworm-backports
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
}

/// What Linux's init and its program are made of.
const SOURCE: &str = "guest/linux/bench";
/// RAM, in MiB.
const MEMORY: u64 = 1024;
/// Counting makes QEMU slower.
const LIMIT: Duration = Duration::from_secs(600);

/// VTPM_QUERY, after each kind of the probe's calls.
const END_OF_KIND: &str = "0x2.0x0";
const VTPM_CMD: &str = "0x2.0x1";

/// The kinds, in the order of `guest/probe/src/bench.rs`: keys, names.
const KINDS: [(&str, &str); 5] = [
    ("null", "null call (QUERY_PROTOCOL)"),
    ("refused", "TPM command with an unknown code"),
    ("read", "PCR_Read, one PCR"),
    ("extend", "PCR_Extend, SHA-256"),
    ("random", "GetRandom, 32 bytes"),
];

/// Most KiB of a service.
const MOST_MEMORY: &str = "2048";

/// `cargo xtask bench vtpm`.
pub fn bench(paths: &Paths, options: &VtpmBenchOptions) -> Result<ExitCode> {
    let qemu = qemu::program(paths, options.qemu.as_deref())?;
    let measured = measure(paths, &qemu, true)?;
    let title = format!(
        "QEMU {} (TCG), 1 vCPU, {MEMORY} MiB, instructions counted",
        qemu::version(&qemu)?
    );
    let figures = measured.figures();
    let text = format!("{}\n{}", table(&title, &figures), measured.tables());
    publish(paths, "vtpm", &text, &json(&title, &figures))?;
    Ok(ExitCode::SUCCESS)
}

/// Boots what is needed and reads the figures. `all`: with what is not a figure of the README's.
pub fn measure(paths: &Paths, qemu: &Path, all: bool) -> Result<Measured> {
    let stage = Stage::prepare(paths, qemu)?;
    let progress = Progress::start("measuring the vTPM");
    progress.detail("probe, counted");
    let probe = stage.probe()?;
    let kinds = kinds(&records(&probe)?)?;
    progress.detail("Linux, counted");
    let counted = stage.linux("bench-vtpm-counted", true)?;
    let extend = Split::of(&records(&counted)?)?;
    let memory = memory(&counted).context("the SVSM did not say how much the vTPM has")?;
    progress.detail("Linux, timed");
    let timed = stage.linux("bench-vtpm-timed", false)?;
    let latency = latency(&timed).context("the guest did not say how long its commands took")?;
    let compared = if all {
        progress.detail("Linux, both drivers");
        stage.compare()?
    } else {
        Vec::new()
    };
    progress.quiet();
    Ok(Measured {
        kinds,
        extend,
        latency,
        memory,
        compared,
    })
}

/// Everything that was measured.
pub struct Measured {
    kinds: Vec<Kind>,
    extend: Split,
    latency: [f64; 3],
    memory: f64,
    compared: Vec<String>,
}

impl Measured {
    /// What the vTPM must hold to, and what it is judged by.
    pub fn figures(&self) -> Vec<Figure> {
        let figure = |key, name, value, unit, limit| Figure {
            key,
            name,
            value,
            unit,
            limit,
        };
        let at_vmpl0 = |kind: usize| self.kinds[kind].ticks.median as f64;
        let instructions = "instructions";
        let [linux, svsm, engine, machine] = self.parts().map(|part| part as f64);
        vec![
            figure(
                "vmpl0_null",
                "null call, at VMPL0, median",
                at_vmpl0(0),
                instructions,
                "",
            ),
            figure(
                "vmpl0_read",
                "PCR_Read, at VMPL0, median",
                at_vmpl0(2),
                instructions,
                "",
            ),
            figure(
                "extend_linux",
                "PCR_Extend from userspace: Linux",
                linux,
                instructions,
                "",
            ),
            figure("extend_svsm", "… SVSM", svsm, instructions, ""),
            figure("extend_engine", "… TPM engine", engine, instructions, ""),
            figure("extend_machine", "… simulator", machine, instructions, ""),
            figure(
                "extend_us",
                "PCR_Extend from userspace, least",
                self.latency[0],
                "µs",
                "",
            ),
            figure(
                "vtpm_memory",
                "memory of the vTPM service",
                self.memory,
                "KiB",
                MOST_MEMORY,
            ),
        ]
    }

    /// Instructions of a PCR_Extend from userspace: Linux, SVSM, engine, machine.
    fn parts(&self) -> [u64; 4] {
        let [_, refused, _, extend, _] = [0, 1, 2, 3, 4].map(|kind| self.kinds[kind].ticks.median);
        let engine = extend.saturating_sub(refused);
        let at_vmpl0 = self.extend.vmpl0;
        [
            self.extend.linux,
            at_vmpl0.saturating_sub(engine),
            engine,
            self.extend.machine,
        ]
    }

    fn tables(&self) -> String {
        let mut text = String::from(
            "| call | at VMPL0, median | least | exits | machine, median |\n|---|---:|---:|---:|---:|\n",
        );
        for (kind, (_, name)) in self.kinds.iter().zip(KINDS) {
            text.push_str(&format!(
                "| {name} | {} | {} | {} | {} |\n",
                thousands(kind.ticks.median),
                thousands(kind.ticks.least),
                kind.exits.median,
                thousands(kind.machine.median),
            ));
        }
        let parts = self.parts();
        let total: u64 = parts.iter().sum();
        text.push_str("\n| PCR_Extend from userspace | instructions | share | without simulator |\n|---|---:|---:|---:|\n");
        for (part, name) in parts
            .iter()
            .zip(["Linux", "SVSM", "TPM engine", "simulator"])
        {
            let own = if name == "simulator" {
                String::new()
            } else {
                percent(*part, total - parts[3])
            };
            text.push_str(&format!(
                "| {name} | {} | {} | {own} |\n",
                thousands(*part),
                percent(*part, total)
            ));
        }
        let [least, median, greatest] = self.latency;
        text.push_str(&format!(
            "\nNot counted, one vCPU: PCR_Extend from userspace takes {median:.0} µs ({least:.0} to {greatest:.0}).\n"
        ));
        text.push_str(&format!(
            "Linux leaves its VMPL {} times for it, VMPL0 is left {} times.\n",
            self.extend.linux_exits, self.extend.vmpl0_exits
        ));
        if !self.compared.is_empty() {
            text.push_str(
                "\nAn RSA-2048 key by either driver, a nanosecond for each instruction:\n\n",
            );
        }
        for line in &self.compared {
            text.push_str(&format!("- {line}\n"));
        }
        text
    }
}

fn percent(part: u64, total: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / total.max(1) as f64)
}

fn thousands(number: u64) -> String {
    match number / 1000 {
        0 => number.to_string(),
        above => format!("{},{:03}", thousands(above), number % 1000),
    }
}

/// What boots.
struct Stage<'a> {
    paths: &'a Paths,
    qemu: PathBuf,
    counting: PathBuf,
    probe: Image,
    choice: PathBuf,
    files: LinuxFiles,
    linux: Image,
    compare_files: LinuxFiles,
    compare: Image,
}

impl<'a> Stage<'a> {
    fn prepare(paths: &'a Paths, qemu: &Path) -> Result<Stage<'a>> {
        let _lock = paths.lock()?;
        let guest = guest::obtain(paths)?;
        compile::bare_metal(paths, &Program::ALL)?;
        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let path = paths.images().join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let files = LinuxFiles {
            kernel: guest.kernel.clone(),
            initrd: initrd(paths, &guest.initrd)?,
            command_line: write(
                "bench-vtpm-cmdline",
                &format!("{} rdinit=/bench", guest::COMMAND_LINE),
            )?,
        };
        let compare_files = LinuxFiles {
            kernel: guest.kernel,
            initrd: guest.initrd,
            command_line: write(
                "bench-compare-cmdline",
                &format!("{} macadamia=compare", guest::COMMAND_LINE),
            )?,
        };
        Ok(Stage {
            paths,
            qemu: qemu.to_path_buf(),
            counting: counting(paths, qemu)?,
            probe: build::image(paths, "probe", &Contents::Probe)?,
            choice: write("case-bench", "bench")?,
            linux: build::image(paths, "bench-vtpm", &Contents::Linux(&files))?,
            files,
            compare: build::image(paths, "bench-compare", &Contents::Linux(&compare_files))?,
            compare_files,
        })
    }

    fn probe(&self) -> Result<Outcome> {
        let payload = qemu::Payload::Snp {
            machine: Program::Machine.path(self.paths),
            image: self.probe.path.clone(),
            options: "calls=each".to_owned(),
            files: vec![(boot_abi::fw_cfg::TEST_CASE, self.choice.clone())],
            programs: Program::PROBE,
        };
        let outcome = self.boot("bench-vtpm-probe", payload, true)?;
        self.judge(report::probe_problem(&outcome), outcome)
    }

    fn linux(&self, name: &str, counted: bool) -> Result<Outcome> {
        let options = if counted { "calls=each" } else { "" };
        let payload = self.payload(&self.files, &self.linux, options);
        let outcome = self.boot(name, payload, counted)?;
        self.judge(report::linux_problem(&outcome), outcome)
    }

    /// What `macadamia=compare` says.
    fn compare(&self) -> Result<Vec<String>> {
        let payload = self.payload(&self.compare_files, &self.compare, "");
        let outcome = self.boot("bench-vtpm-compare", payload, true)?;
        let outcome = self.judge(report::linux_problem(&outcome), outcome)?;
        let lines = outcome.lines.iter().map(|line| line.text.trim());
        let said: Vec<String> = lines
            .filter(|line| line.contains("timer interrupts meanwhile"))
            .map(str::to_owned)
            .collect();
        ensure!(said.len() == 2, "the guest did not compare its drivers");
        Ok(said)
    }

    fn payload(&self, files: &LinuxFiles, image: &Image, options: &str) -> qemu::Payload {
        qemu::Payload::Snp {
            machine: Program::Machine.path(self.paths),
            image: image.path.clone(),
            options: options.to_owned(),
            files: run::fw_cfg_files(files),
            programs: Program::LINUX,
        }
    }

    fn boot(&self, name: &str, payload: qemu::Payload, counted: bool) -> Result<Outcome> {
        let machine = Machine::new(
            if counted { &self.counting } else { &self.qemu }.clone(),
            payload,
            (1, MEMORY),
        );
        machine.run(
            self.paths,
            &Watch {
                name: name.to_owned(),
                limit: LIMIT,
                silence: LIMIT,
                live: false,
                dump: None,
            },
        )
    }

    fn judge(&self, problem: Option<String>, outcome: Outcome) -> Result<Outcome> {
        match problem {
            Some(problem) => bail!("{}", report::explanation(self.paths, &outcome, &problem)),
            None => Ok(outcome),
        }
    }
}

/// QEMU with a time of its own: each instruction takes a nanosecond, and waiting takes none.
fn counting(paths: &Paths, qemu: &Path) -> Result<PathBuf> {
    let script = paths.images().join("qemu-counting");
    let text = format!(
        "#!/bin/sh\nexec '{}' \"$@\" -icount shift=0,sleep=off\n",
        qemu.display()
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// The guest's RAM disk with another init and the program that times commands. Linux takes one archive after the other.
fn initrd(paths: &Paths, ours: &Path) -> Result<PathBuf> {
    host::require(&[packages::COMPILER])?;
    let source = paths.root.join(SOURCE);
    let program = paths.images().join("tpm-time");
    process::output(
        Command::new(packages::COMPILER.program)
            .args(["-O2", "-static", "-s", "-Wl,--build-id=none", "-o"])
            .arg(&program)
            .arg(source.join("tpm-time.c")),
    )?;
    let mut archive = Archive::default();
    archive.file("bench", 0o755, &fs::read(source.join("init"))?);
    archive.file("bin/tpm-time", 0o755, &fs::read(&program)?);
    let mut bytes = fs::read(ours)?;
    bytes.extend(archive.finish());
    let path = paths.images().join("bench-vtpm-initrd.cpio");
    fs::write(&path, bytes)?;
    Ok(path)
}

/// A line of the machine's: a call, and what came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    request: String,
    ticks: u64,
    exits: u64,
    machine: u64,
    guest: u64,
    guest_exits: u64,
    around: u64,
}

impl Record {
    /// `…calls: each 0x2.0x1 result=0x0 ticks=7 exits=2 machine=9 before=3/1/5`.
    fn parse(line: &str) -> Option<Record> {
        let mut words = line.split_once("calls: each ")?.1.split_whitespace();
        let request = words.next()?.to_owned();
        let words: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        let value = |name| Some(words.iter().find(|word| word.0 == name)?.1);
        let number = |name| value(name)?.parse().ok();
        let mut before = value("before")?
            .split('/')
            .map_while(|part| part.parse().ok());
        Some(Record {
            request,
            ticks: number("ticks")?,
            exits: number("exits")?,
            machine: number("machine")?,
            guest: before.next()?,
            guest_exits: before.next()?,
            around: before.next()?,
        })
    }
}

fn records(outcome: &Outcome) -> Result<Vec<Record>> {
    let text = outcome.machine_text();
    let records: Vec<Record> = text.lines().filter_map(Record::parse).collect();
    ensure!(!records.is_empty(), "the machine counted no calls");
    Ok(records)
}

/// Least and median of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    least: u64,
    median: u64,
}

impl Column {
    fn of<'a>(
        records: impl IntoIterator<Item = &'a Record>,
        value: impl Fn(&Record) -> u64,
    ) -> Column {
        let mut values: Vec<u64> = records.into_iter().map(value).collect();
        values.sort_unstable();
        Column {
            least: values.first().copied().unwrap_or(0),
            median: values.get(values.len() / 2).copied().unwrap_or(0),
        }
    }
}

/// Calls of one kind.
#[derive(Debug)]
struct Kind {
    ticks: Column,
    exits: Column,
    machine: Column,
}

/// The probe's kinds: what is between the last calls of VTPM_QUERY.
fn kinds(records: &[Record]) -> Result<Vec<Kind>> {
    let parts: Vec<&[Record]> = records
        .split(|record| record.request == END_OF_KIND)
        .collect();
    // What the probe does with every group is before the first and behind the last.
    ensure!(
        parts.len() == KINDS.len() + 2,
        "the machine's log has {} kinds of calls",
        parts.len().saturating_sub(2)
    );
    Ok(parts[1..=KINDS.len()]
        .iter()
        .map(|&part| Kind {
            ticks: Column::of(part, |record| record.ticks),
            exits: Column::of(part, |record| record.exits),
            machine: Column::of(part, |record| record.machine),
        })
        .collect())
}

/// Where the instructions of a command from userspace are: medians.
#[derive(Debug, PartialEq, Eq)]
struct Split {
    linux: u64,
    linux_exits: u64,
    vmpl0: u64,
    vmpl0_exits: u64,
    machine: u64,
}

impl Split {
    /// Of the last commands; what Linux itself sends at its end is few enough not to matter.
    fn of(records: &[Record]) -> Result<Split> {
        const LAST: usize = 200;
        let commands: Vec<&Record> = records
            .iter()
            .rev()
            .filter(|record| record.request == VTPM_CMD)
            .take(LAST)
            .collect();
        ensure!(commands.len() == LAST, "{} commands only", commands.len());
        let median = |value: fn(&Record) -> u64| Column::of(commands.iter().copied(), value).median;
        Ok(Split {
            linux: median(|record| record.guest),
            linux_exits: median(|record| record.guest_exits),
            vmpl0: median(|record| record.ticks),
            vmpl0_exits: median(|record| record.exits),
            machine: median(|record| record.machine + record.around),
        })
    }
}

/// KiB: `… service vtpm: ready after 90 ms, protocol 2, 1400 KiB, heap …`.
fn memory(outcome: &Outcome) -> Option<f64> {
    let line = &outcome.line("service vtpm: ready")?.text;
    let word = line.split(", ").find(|word| word.ends_with(" KiB"))?;
    word.strip_suffix(" KiB")?.parse().ok()
}

/// Least, median, greatest in microseconds: `macadamia: bench: PCR_Extend 300 times: 1 2 3 ns`.
fn latency(outcome: &Outcome) -> Option<[f64; 3]> {
    let line = &outcome.line("macadamia: bench: PCR_Extend")?.text;
    let mut values = line
        .split_once("times: ")?
        .1
        .split_whitespace()
        .map_while(|word| word.parse::<f64>().ok())
        .map(|nanoseconds| nanoseconds / 1000.0);
    Some([values.next()?, values.next()?, values.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "machine: calls: each 0x2.0x1 result=0x0 ticks=7 exits=2 machine=9 before=3/1/5";

    #[test]
    fn a_line_of_the_machines_is_read() {
        let record = Record::parse(LINE).unwrap();
        assert_eq!(record.request, VTPM_CMD);
        assert_eq!((record.ticks, record.exits, record.machine), (7, 2, 9));
        assert_eq!((record.guest, record.guest_exits, record.around), (3, 1, 5));
        assert_eq!(Record::parse("machine: calls: call 0x0.0x6 count=18"), None);
    }

    #[test]
    fn kinds_are_between_queries() {
        let record = |request: &str, ticks| Record {
            request: request.to_owned(),
            ticks,
            ..Record::parse(LINE).unwrap()
        };
        let mut records = vec![record(VTPM_CMD, 99)];
        for ticks in 1..=KINDS.len() as u64 {
            records.push(record(END_OF_KIND, 50));
            records.extend([record(VTPM_CMD, ticks + 1), record(VTPM_CMD, ticks)]);
        }
        assert!(kinds(&records).is_err());
        records.push(record(END_OF_KIND, 50));
        let kinds = kinds(&records).unwrap();
        assert_eq!(
            kinds[1].ticks,
            Column {
                least: 2,
                median: 3
            }
        );
    }

    #[test]
    fn thousands_are_parted() {
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_002_003), "1,002,003");
    }
}
