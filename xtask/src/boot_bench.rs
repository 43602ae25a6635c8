//! `cargo xtask bench boot`: how long the SVSM takes to be ready, against processors and memory, on both platforms.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{self, Contents, Image};
use crate::cli::Platform;
use crate::compile::{self, Program};
use crate::figures::{Times, publish};
use crate::native;
use crate::paths::Paths;
use crate::plot::{Panel, Plot, Series};
use crate::qemu::{self, Machine};
use crate::report;
use crate::ui::{self, Progress};
use crate::watch::{Outcome, Watch};

/// Options of `bench boot`.
#[derive(Args, Clone, Debug)]
pub struct BootBenchOptions {
    /// Boots of each size
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// QEMU's program; "newer" fetches the one of bookworm-backports
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
}

const PLATFORMS: [Platform; 2] = [Platform::Snp, Platform::Native];
/// Processors, with [`MEMORY`].
const CPUS: [u32; 5] = [1, 2, 4, 8, 16];
/// MiB where processors are counted.
const MEMORY: u64 = 1024;
/// MiB, with [`FEW`] processors.
const MEMORIES: [u64; 4] = [256, 1024, 4096, 16384];
/// Processors where memory is counted.
const FEW: u32 = 2;

/// When things were said, from QEMU's start on, in seconds.
#[derive(Clone, Copy)]
pub struct Boot {
    /// The SVSM's first line.
    pub entry: f64,
    /// Its line once it is up.
    pub ready: f64,
    /// KiB that it says it uses then.
    pub used: f64,
}

impl Boot {
    /// Reads them from a console.
    pub fn of(outcome: &Outcome) -> Option<Boot> {
        let at = |text| Some(outcome.line(text)?.at.as_secs_f64());
        Some(Boot {
            entry: at("svsm: ")?,
            ready: at(native::READY)?,
            used: native::used(&outcome.line(native::READY)?.text)?,
        })
    }
}

/// Boots of one size on one platform.
struct Size {
    platform: Platform,
    cpus: u32,
    memory: u64,
    boots: Vec<Boot>,
}

impl Size {
    fn ready(&self) -> Times {
        Times::new(self.boots.iter().map(|boot| boot.ready).collect())
    }

    fn own(&self) -> Times {
        let own = |boot: &Boot| boot.ready - boot.entry;
        Times::new(self.boots.iter().map(own).collect())
    }
}

/// `cargo xtask bench boot`.
pub fn bench(paths: &Paths, options: &BootBenchOptions) -> Result<ExitCode> {
    let qemu = qemu::program(paths, options.qemu.as_deref())?;
    let version = qemu::version(&qemu)?;
    let image = prepare(paths)?;
    let sizes = CPUS.into_iter().map(|cpus| (cpus, MEMORY)).chain(
        MEMORIES
            .into_iter()
            .filter(|memory| *memory != MEMORY)
            .map(|memory| (FEW, memory)),
    );
    let mut measured: Vec<Size> = sizes
        .flat_map(|(cpus, memory)| PLATFORMS.map(|platform| (platform, cpus, memory)))
        .map(|(platform, cpus, memory)| Size {
            platform,
            cpus,
            memory,
            boots: Vec::new(),
        })
        .collect();
    let progress = Progress::start("booting");
    // All sizes once, then again: a machine that gets busier does so for all.
    for run in 1..=options.runs {
        for size in &mut measured {
            progress.detail(&format!(
                "{run} of {}: {}, {} vCPUs, {} MiB",
                options.runs,
                name(size.platform),
                size.cpus,
                size.memory
            ));
            let machine = machine(
                paths,
                qemu.clone(),
                &image,
                size.platform,
                (size.cpus, size.memory),
            )?;
            size.boots.push(boot(paths, &machine, size.platform)?);
        }
    }
    progress.quiet();
    let title = format!(
        "QEMU {version} (TCG), median (least to greatest) of {} boots",
        options.runs
    );
    let text = format!("{title}\n\n{}", table(&measured));
    publish(paths, "boot", &text, &json(&title, &measured))?;
    let file = paths.cache.join("bench").join("boot.svg");
    fs::write(&file, plot(&measured, options.runs).svg())?;
    ui::note(format!("plot: {}", paths.show(&file)));
    Ok(ExitCode::SUCCESS)
}

fn prepare(paths: &Paths) -> Result<Image> {
    let _lock = paths.lock()?;
    compile::bare_metal(paths, Program::PROBE)?;
    compile::bare_metal(paths, &[Program::NativeLoader])?;
    build::image(paths, "probe", &Contents::Probe)
}

/// The image with the probe, which on SNP ends at once.
pub fn machine(
    paths: &Paths,
    qemu: PathBuf,
    image: &Image,
    platform: Platform,
    size: (u32, u64),
) -> Result<Machine> {
    if platform == Platform::Native {
        return native::machine(paths, qemu, &image.path, size, "");
    }
    let choice = paths.images().join("bench-boot");
    fs::write(&choice, "terminate")?;
    let payload = qemu::Payload::Snp {
        machine: Program::Machine.path(paths),
        image: image.path.clone(),
        options: String::new(),
        files: vec![(boot_abi::fw_cfg::TEST_CASE, choice)],
        programs: Program::PROBE,
    };
    Ok(Machine::new(qemu, payload, size))
}

/// One boot. The SVSM must see all processors.
pub fn boot(paths: &Paths, machine: &Machine, platform: Platform) -> Result<Boot> {
    let limit = Duration::from_secs(120);
    let watch = Watch {
        name: "bench-boot".to_owned(),
        limit,
        silence: limit,
        live: false,
        dump: None,
    };
    let outcome = machine.run(paths, &watch)?;
    let problem = match platform {
        Platform::Native => native::problem(&outcome, machine.cpus),
        Platform::Snp => native::ready_problem(&outcome, machine.cpus),
    };
    if let Some(problem) = problem {
        bail!("{}", report::explanation(paths, &outcome, &problem));
    }
    Boot::of(&outcome).context("the SVSM's ready line tells no memory")
}

const fn name(platform: Platform) -> &'static str {
    match platform {
        Platform::Snp => "SNP",
        Platform::Native => "native",
    }
}

fn table(sizes: &[Size]) -> String {
    let mut text = String::from(
        "| platform | vCPUs | memory | QEMU's start to ready | SVSM's first line to ready | memory in use |\n\
         |---|---:|---:|---:|---:|---:|\n",
    );
    for size in sizes {
        let used = size.boots.first().map_or(f64::NAN, |boot| boot.used);
        text.push_str(&format!(
            "| {} | {} | {} MiB | {} | {} | {used:.0} KiB |\n",
            name(size.platform),
            size.cpus,
            size.memory,
            span(&size.ready()),
            span(&size.own()),
        ));
    }
    text
}

fn span(times: &Times) -> String {
    format!(
        "{:.2} s ({:.2}–{:.2})",
        times.median(),
        times.min(),
        times.max()
    )
}

fn json(title: &str, sizes: &[Size]) -> String {
    let rows: Vec<String> = sizes
        .iter()
        .map(|size| {
            format!(
                "    {{ \"platform\": \"{}\", \"vcpus\": {}, \"mebibytes\": {}, \"ready\": {:.3}, \"own\": {:.3} }}",
                name(size.platform),
                size.cpus,
                size.memory,
                size.ready().median(),
                size.own().median()
            )
        })
        .collect();
    format!(
        "{{\n  \"conditions\": \"{title}\",\n  \"boots\": [\n{}\n  ]\n}}\n",
        rows.join(",\n")
    )
}

fn plot(sizes: &[Size], runs: u32) -> Plot {
    let lines = |x: fn(&Size) -> f64, wanted: fn(&Size) -> bool| {
        PLATFORMS
            .into_iter()
            .map(|platform| {
                let mut points: Vec<(f64, f64)> = sizes
                    .iter()
                    .filter(|size| size.platform == platform && wanted(size))
                    .map(|size| (x(size), size.ready().median()))
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                Series {
                    name: match platform {
                        Platform::Snp => "SNP, on the software SNP machine".to_owned(),
                        Platform::Native => "native".to_owned(),
                    },
                    points,
                }
            })
            .collect()
    };
    Plot {
        title: format!("From QEMU's start to the SVSM's ready line, median of {runs} boots"),
        y_name: "seconds".to_owned(),
        panels: vec![
            Panel {
                x_name: format!("vCPUs, with {MEMORY} MiB"),
                x_marks: CPUS
                    .iter()
                    .map(|cpus| (f64::from(*cpus), cpus.to_string()))
                    .collect(),
                series: lines(|size| size.cpus.into(), |size| size.memory == MEMORY),
            },
            Panel {
                x_name: format!("memory, with {FEW} vCPUs"),
                x_marks: MEMORIES
                    .iter()
                    .map(|memory| {
                        let name = match memory {
                            0..1024 => format!("{memory} MiB"),
                            _ => format!("{} GiB", memory / 1024),
                        };
                        (*memory as f64, name)
                    })
                    .collect(),
                series: lines(|size| size.memory as f64, |size| size.cpus == FEW),
            },
        ],
    }
}
