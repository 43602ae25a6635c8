//! `cargo xtask bench`: the figures of the README, all from one run on one machine.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use boot_abi::layout;
use clap::Args;

use crate::boot_bench::{self, Boot};
use crate::build::{self, Contents, Image, LinuxFiles};
use crate::cli::{Platform, Size};
use crate::compile::{self, Program};
use crate::elf;
use crate::figures::{Figure, Times, json, publish, table};
use crate::guest;
use crate::native;
use crate::paths::Paths;
use crate::qemu::{self, Machine};
use crate::report;
use crate::run;
use crate::test::checks;
use crate::ui::Progress;
use crate::vtpm_bench;
use crate::watch::{Outcome, Watch};

/// Options of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchOptions {
    /// Boots of each kind
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    #[command(flatten)]
    size: Size,
    /// QEMU's program; "newer" fetches the one of bookworm-backports
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
}

/// `cargo xtask bench`.
pub fn bench(paths: &Paths, options: &BenchOptions) -> Result<ExitCode> {
    let qemu = qemu::program(paths, options.qemu.as_deref())?;
    let version = qemu::version(&qemu)?;
    let (files, linux, probe) = prepare(paths)?;
    let bench = Bench {
        paths,
        options,
        qemu,
    };
    let mut plain = Vec::new();
    let mut under = Vec::new();
    let mut svsm = Vec::new();
    let mut used = None;
    let mut native = Vec::new();
    let progress = Progress::start("booting");
    for run in 1..=options.runs {
        // In turn, so that a machine that gets busier does so for both.
        progress.detail(&format!("plain, {run} of {}", options.runs));
        plain.push(to_init(&bench.boot(
            "bench-plain",
            bench.plain(&files),
            None,
        )?)?);
        progress.detail(&format!("under the SVSM, {run} of {}", options.runs));
        let outcome = bench.boot("bench-svsm", bench.snp(&files, &linux), Some(&linux))?;
        under.push(to_init(&outcome)?);
        svsm.extend(svsm_boot(&outcome));
        used = used.or_else(|| native::used(&outcome.line(native::READY)?.text));
        progress.detail(&format!("native, {run} of {}", options.runs));
        native.push(bench.native(&probe)?);
    }
    progress.quiet();
    let mut figures = figures(paths, (&plain, &under, &svsm), used, &probe)?;
    figures.extend(native_figures(&native));
    figures.extend(vtpm_bench::measure(paths, &bench.qemu, false)?.figures());
    let title = format!(
        "QEMU {version} (TCG), {} vCPUs, {} MiB, {} boots of each kind",
        options.size.cpus, options.size.memory, options.runs
    );
    let table = table(&title, &figures);
    publish(paths, "bench", &table, &json(&title, &figures))?;
    Ok(ExitCode::SUCCESS)
}

fn prepare(paths: &Paths) -> Result<(LinuxFiles, Image, Image)> {
    let _lock = paths.lock()?;
    let guest = guest::obtain(paths)?;
    compile::bare_metal(paths, &Program::ALL)?;
    let command_line = paths.images().join("bench-cmdline");
    fs::write(&command_line, guest::COMMAND_LINE)?;
    let files = LinuxFiles {
        kernel: guest.kernel,
        initrd: guest.initrd,
        command_line,
    };
    let linux = build::image(paths, "bench-linux", &Contents::Linux(&files))?;
    let probe = build::image(paths, "probe", &Contents::Probe)?;
    Ok((files, linux, probe))
}

struct Bench<'a> {
    paths: &'a Paths,
    options: &'a BenchOptions,
    qemu: PathBuf,
}

impl Bench<'_> {
    fn plain(&self, files: &LinuxFiles) -> qemu::Payload {
        qemu::Payload::Plain {
            kernel: files.kernel.clone(),
            initrd: files.initrd.clone(),
            command_line: guest::COMMAND_LINE.to_owned(),
            tpm: None,
        }
    }

    fn snp(&self, files: &LinuxFiles, image: &Image) -> qemu::Payload {
        qemu::Payload::Snp {
            machine: Program::Machine.path(self.paths),
            image: image.path.clone(),
            options: String::new(),
            files: run::fw_cfg_files(files),
            programs: Program::LINUX,
        }
    }

    fn native(&self, image: &Image) -> Result<Boot> {
        let size = (self.options.size.cpus, self.options.size.memory);
        let qemu = self.qemu.clone();
        let machine = boot_bench::machine(self.paths, qemu, image, Platform::Native, size)?;
        boot_bench::boot(self.paths, &machine, Platform::Native)
    }

    fn boot(&self, name: &str, payload: qemu::Payload, image: Option<&Image>) -> Result<Outcome> {
        let machine = Machine::new(
            self.qemu.clone(),
            payload,
            (self.options.size.cpus, self.options.size.memory),
        );
        let outcome = machine.run(
            self.paths,
            &Watch {
                name: name.to_owned(),
                limit: Duration::from_secs(300),
                silence: Duration::from_secs(90),
                live: false,
                dump: None,
            },
        )?;
        let problem = report::linux_problem(&outcome)
            .or_else(|| image.and_then(|image| report::digest_problem(&outcome, image)));
        if let Some(problem) = problem {
            bail!("{}", report::explanation(self.paths, &outcome, &problem));
        }
        Ok(outcome)
    }
}

/// The same figures for the native platform, where there is no guest to enter. The image is the same.
fn native_figures(boots: &[Boot]) -> Vec<Figure> {
    let times = |time: fn(&Boot) -> f64| Times::new(boots.iter().map(time).collect());
    let figure = |key, name, value, unit| Figure {
        key,
        name,
        value,
        unit,
        limit: "",
    };
    vec![
        figure(
            "native_ready",
            "native: QEMU's start to the SVSM's ready line, median",
            times(|boot| boot.ready).median(),
            "s",
        ),
        figure(
            "native_boot",
            "native: SVSM's first line to ready line, median",
            times(|boot| boot.ready - boot.entry).median() * 1000.0,
            "ms",
        ),
        figure(
            "native_used",
            "native: of the reserved memory in use when ready",
            boots.first().map_or(f64::NAN, |boot| boot.used),
            "KiB",
        ),
    ]
}

/// Seconds from QEMU's start to the guest's first process.
fn to_init(outcome: &Outcome) -> Result<f64> {
    Ok(outcome
        .line("macadamia: init reached")
        .context("the guest did not say that it reached init")?
        .at
        .as_secs_f64())
}

/// Seconds from the SVSM's first line to its last before it enters the guest, or none where it says neither.
fn svsm_boot(outcome: &Outcome) -> Option<f64> {
    let entered = outcome.line("svsm: guest: starting")?.at;
    let began = outcome.line("svsm: ")?.at;
    Some(entered.saturating_sub(began).as_secs_f64())
}

fn figures(
    paths: &Paths,
    (plain, under, svsm): (&[f64], &[f64], &[f64]),
    used: Option<f64>,
    probe: &Image,
) -> Result<Vec<Figure>> {
    let figure = |key, name, value, unit, limit| Figure {
        key,
        name,
        value,
        unit,
        limit,
    };
    let plain = Times::new(plain.to_vec());
    let under = Times::new(under.to_vec());
    let mut figures = vec![
        figure(
            "plain_median",
            "Linux to init, plain QEMU, median",
            plain.median(),
            "s",
            "",
        ),
        figure(
            "plain_min",
            "Linux to init, plain QEMU, least",
            plain.min(),
            "s",
            "",
        ),
        figure(
            "svsm_median",
            "Linux to init, under the SVSM, median",
            under.median(),
            "s",
            "",
        ),
        figure(
            "svsm_min",
            "Linux to init, under the SVSM, least",
            under.min(),
            "s",
            "",
        ),
        figure(
            "ratio_median",
            "ratio of the medians",
            under.median() / plain.median(),
            "",
            "8",
        ),
        figure(
            "ratio_min",
            "ratio of the least",
            under.min() / plain.min(),
            "",
            "8",
        ),
    ];
    if !svsm.is_empty() {
        let svsm = Times::new(svsm.to_vec());
        figures.push(figure(
            "svsm_boot",
            "SVSM entry to guest entry, median",
            svsm.median() * 1000.0,
            "ms",
            "",
        ));
    }
    let ring_0 = checks::ring_0_counts(paths)?;
    let all_unsafes: usize = checks::count_crates(paths)?.values().sum();
    let kernel: u64 = elf::segments(&Program::Svsm.path(paths))?
        .iter()
        .map(|segment| segment.size)
        .sum();
    figures.extend([
        figure(
            "reserved",
            "memory reserved by the SVSM",
            layout::SVSM_SIZE as f64 / 1024.0,
            "KiB",
            "8192",
        ),
        figure(
            "used",
            "of it in use when the guest starts",
            used.unwrap_or(f64::NAN),
            "KiB",
            "",
        ),
        figure(
            "kernel",
            "of it the kernel's image",
            kernel as f64 / 1024.0,
            "KiB",
            "",
        ),
        figure(
            "image",
            "IGVM file without Linux",
            fs::metadata(&probe.path)?.len() as f64 / 1024.0,
            "KiB",
            "2048",
        ),
        figure(
            "lines",
            "lines of code in ring 0",
            ring_0.lines as f64,
            "",
            "12000",
        ),
        figure(
            "unsafes",
            "`unsafe` in ring 0",
            ring_0.unsafes as f64,
            "",
            "150",
        ),
        figure(
            "all_unsafes",
            "`unsafe` in the whole project",
            all_unsafes as f64,
            "",
            "",
        ),
    ]);
    Ok(figures)
}
