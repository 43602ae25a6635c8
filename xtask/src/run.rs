//! `run` and `image`: a guest under the SVSM, with its console live and a summary at the end.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::build::{self, Contents, Image, LinuxFiles};
use crate::cli::{Payload, Platform, Size, seconds, topics};
use crate::compile::{self, Program};
use crate::paths::Paths;
use crate::qemu::{self, Accel, Accelerator, Machine, Needs};
use crate::watch::Watch;
use crate::{apt, bochs, guest, native, report, ui};

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    #[command(flatten)]
    size: Size,
    /// What the image is booted on
    #[arg(long, default_value = "snp", value_name = "WHICH")]
    platform: Platform,
    /// What executes it. KVM is used where it is there and shows that it is able; the software SNP machine gets it only when
    /// asked for
    #[arg(long, default_value = "auto", value_name = "WHICH")]
    accel: Accel,
    /// What the image has as guest; linux unless the platform is native, where no guest is run
    #[arg(long, value_name = "WHICH")]
    payload: Option<Payload>,
    #[command(flatten)]
    guest: Guest,
    /// What the machine writes to its log, separated by commas: npf ghcb msr vc psc rmp svsm irq ap io io:PORT cpuid
    /// mmio exit all
    #[arg(long, value_name = "TOPICS", value_parser = topics)]
    trace: Option<String>,
    /// More options for the machine, for example `count` (exits by kind); on the native platform for the loader
    #[arg(long, value_name = "WORDS")]
    machine: Option<String>,
    /// QEMU's program; "newer" fetches the one of bookworm-backports
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
    /// Boot the native image in Bochs instead of QEMU: its processor has shadow stacks, which QEMU's TCG has not
    #[arg(long, conflicts_with_all = ["qemu", "plain", "trace"])]
    bochs: bool,
    /// Seconds after which a boot without terminal is ended
    #[arg(long, default_value = "300", value_name = "SECONDS", value_parser = seconds)]
    timeout: Duration,
    /// Put a debugger into the SVSM, which is then no release image, and have it at this port of 127.0.0.1. The boot waits a
    /// minute for gdb: `target remote :PORT`. `cargo xtask debug` does that by itself
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "1234", conflicts_with_all = ["bochs", "plain"])]
    gdb: Option<u16>,
    /// Boot the same kernel and RAM disk in QEMU without SVSM and SNP, for comparison
    #[arg(long)]
    plain: bool,
}

/// What Linux boots with.
#[derive(Args, Clone, Debug)]
pub struct Guest {
    /// A bzImage instead of Debian's cloud kernel
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// An initial RAM disk instead of the project's own
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// More words for Linux's command line
    #[arg(long, value_name = "WORDS")]
    append: Option<String>,
    /// End with a power-off instead of a shell, also on a terminal
    #[arg(long)]
    tour: bool,
}

/// `cargo xtask run`.
pub fn run(paths: &Paths, options: &RunOptions) -> Result<ExitCode> {
    if options.bochs {
        return run_bochs(paths, options);
    }
    let qemu = qemu::program(paths, options.qemu.as_deref())?;
    let shell = wants_shell(&options.guest);
    let payload = choose_payload(options);
    if options.plain {
        return run_plain(paths, options, qemu, shell);
    }
    let needs = match options.platform {
        Platform::Snp => Needs::Svm,
        Platform::Native => Needs::Nothing,
    };
    let accelerator = accelerator(options.accel, &qemu, needs)?;
    if options.platform == Platform::Native {
        return run_native(paths, options, qemu, payload, accelerator);
    }
    let (image, files) = {
        let _lock = paths.lock()?;
        prepare(paths, payload, &options.guest, shell, options.gdb.is_some())?
    };
    ui::note(format!(
        "{}: launch digest {}",
        paths.show(&image.path),
        image.digest
    ));
    let mut machine = Machine::new(
        qemu,
        qemu::Payload::Snp {
            machine: Program::Machine.path(paths),
            image: image.path.clone(),
            options: machine_options(options),
            files,
            programs: match payload {
                Payload::Linux => Program::LINUX,
                Payload::Probe => Program::PROBE,
            },
        },
        (options.size.cpus, options.size.memory),
    );
    machine.accelerator = accelerator;
    machine.debugger = options.gdb;
    let outcome = if shell && payload == Payload::Linux {
        machine.run_on_terminal(paths, "run")?
    } else {
        machine.run(paths, &watch(options))?
    };
    let whose = match (&options.guest.kernel, &options.guest.initrd) {
        (None, None) => report::Whose::Ours,
        _ => report::Whose::Others,
    };
    report::summarise(paths, payload, &machine, &image, &outcome, whose)
}

/// What executes the guest. Why it is not KVM, where that was to be found out, is said in a line.
fn accelerator(asked: Accel, qemu: &Path, needs: Needs) -> Result<Accelerator> {
    let (accelerator, reason) = asked.choose(qemu, needs)?;
    if let Some(reason) = reason {
        ui::note(format!("TCG, because KVM cannot be used here: {reason}"));
    }
    Ok(accelerator)
}

/// The same image on the native platform.
fn run_native(
    paths: &Paths,
    options: &RunOptions,
    qemu: PathBuf,
    payload: Payload,
    accelerator: Accelerator,
) -> Result<ExitCode> {
    ensure!(
        options.trace.is_none(),
        "--trace is of the software SNP machine, which a native boot does without"
    );
    let image = prepare_native(paths, payload, &options.guest, options.gdb.is_some())?;
    let words = options.machine.as_deref().unwrap_or_default();
    let size = (options.size.cpus, options.size.memory);
    let mut machine = native::machine(paths, qemu, &image.path, size, words)?;
    machine.accelerator = accelerator;
    machine.debugger = options.gdb;
    let outcome = machine.run(paths, &watch(options))?;
    let loader = match &machine.payload {
        qemu::Payload::Native { loader: None, .. } => "loaded by QEMU itself",
        _ => "loaded by native-loader",
    };
    let what = format!(
        "native, without confidential computing; {}, {loader}",
        machine.accelerator.name()
    );
    let problem = native::problem(&outcome, machine.cpus);
    report::summarise_native(paths, &what, &image, &outcome, problem)
}

fn prepare_native(paths: &Paths, payload: Payload, guest: &Guest, debugger: bool) -> Result<Image> {
    let _lock = paths.lock()?;
    compile::bare_metal(paths, &[Program::NativeLoader])?;
    let (image, _) = prepare(paths, payload, guest, false, debugger)?;
    Ok(image)
}

/// The same in Bochs.
fn run_bochs(paths: &Paths, options: &RunOptions) -> Result<ExitCode> {
    ensure!(
        options.platform == Platform::Native,
        "Bochs runs native images only: --platform native"
    );
    if let Some(reason) = bochs::no_terminal()? {
        bail!("{reason}");
    }
    bochs::require()?;
    let image = prepare_native(paths, choose_payload(options), &options.guest, false)?;
    let machine = bochs::Machine {
        loader: Program::NativeLoader.path(paths),
        image: image.path.clone(),
        options: options.machine.clone().unwrap_or_default(),
        cpus: options.size.cpus,
        memory: options.size.memory,
    };
    let outcome = machine.run(paths, &watch(options))?;
    let what = format!("native, in Bochs {}", bochs::version()?);
    let problem = bochs::problem(&outcome, machine.cpus);
    report::summarise_native(paths, &what, &image, &outcome, problem)
}

/// The machine's own command line.
fn machine_options(options: &RunOptions) -> String {
    let trace = options.trace.iter().map(|topics| format!("trace={topics}"));
    let words: Vec<String> = trace.chain(options.machine.clone()).collect();
    words.join(" ")
}

/// `cargo xtask image`.
pub fn image(paths: &Paths, options: &Guest) -> Result<()> {
    let _lock = paths.lock()?;
    let (image, files) = prepare(paths, Payload::Linux, options, wants_shell(options), false)?;
    for (name, path) in files {
        println!("{name:24} {}", paths.show(&path));
    }
    println!("{:24} {}", "IGVM image", paths.show(&image.path));
    println!("{:24} {}", "launch digest", image.digest);
    Ok(())
}

fn wants_shell(guest: &Guest) -> bool {
    !guest.tour && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// What is asked for; else Linux where there is one, and the probe with a word of advice where not. A native boot runs no
/// guest, so the image that is quicker to have will do.
fn choose_payload(options: &RunOptions) -> Payload {
    let default = match options.platform {
        Platform::Snp => Payload::Linux,
        Platform::Native => Payload::Probe,
    };
    let payload = options.payload.unwrap_or(default);
    if payload == Payload::Linux && options.guest.kernel.is_none() && !apt::available() {
        ui::note(
            "this machine has no apt to fetch a Linux kernel with, so the probe runs instead. \
             For Linux pass a bzImage of 6.11 or later: --kernel FILE [--initrd FILE]",
        );
        return Payload::Probe;
    }
    payload
}

type FwCfgFiles = Vec<(&'static str, PathBuf)>;

/// Builds what a run needs, and its image.
fn prepare(
    paths: &Paths,
    payload: Payload,
    guest: &Guest,
    shell: bool,
    debugger: bool,
) -> Result<(Image, FwCfgFiles)> {
    match payload {
        Payload::Probe if debugger => {
            compile::bare_metal(paths, Program::DEBUGGER)?;
            let image = build::image(paths, "probe-debugger", &Contents::ProbeDebugger)?;
            Ok((image, Vec::new()))
        }
        Payload::Linux if debugger => {
            let files = linux_files(paths, guest, shell)?;
            compile::bare_metal(paths, Program::DEBUGGER)?;
            let contents = Contents::LinuxDebugger(&files);
            let image = build::image(paths, "linux-debugger", &contents)?;
            Ok((image, fw_cfg_files(&files)))
        }
        Payload::Probe => {
            compile::bare_metal(paths, Program::PROBE)?;
            Ok((build::image(paths, "probe", &Contents::Probe)?, Vec::new()))
        }
        Payload::Linux => {
            let files = linux_files(paths, guest, shell)?;
            compile::bare_metal(paths, Program::LINUX)?;
            let image = build::image(paths, "linux", &Contents::Linux(&files))?;
            Ok((image, fw_cfg_files(&files)))
        }
    }
}

/// What the boot stub is given, under the names it looks for.
pub fn fw_cfg_files(files: &LinuxFiles) -> FwCfgFiles {
    vec![
        (boot_abi::fw_cfg::KERNEL, files.kernel.clone()),
        (boot_abi::fw_cfg::INITRD, files.initrd.clone()),
        (boot_abi::fw_cfg::CMDLINE, files.command_line.clone()),
    ]
}

fn linux_files(paths: &Paths, guest: &Guest, shell: bool) -> Result<LinuxFiles> {
    let exists = |path: &Path| {
        ensure!(path.is_file(), "{} is no file", path.display());
        Ok(path.to_path_buf())
    };
    let (kernel, initrd) = match (&guest.kernel, &guest.initrd) {
        (Some(kernel), Some(initrd)) => (exists(kernel)?, exists(initrd)?),
        (kernel, initrd) => {
            let ours = guest::obtain(paths)?;
            (
                kernel.as_deref().map_or(Ok(ours.kernel), exists)?,
                initrd.as_deref().map_or(Ok(ours.initrd), exists)?,
            )
        }
    };
    let command_line = paths.images().join("cmdline");
    fs::create_dir_all(paths.images())?;
    fs::write(&command_line, command_line_of(guest, shell))
        .with_context(|| format!("cannot write {}", command_line.display()))?;
    Ok(LinuxFiles {
        kernel,
        initrd,
        command_line,
    })
}

fn command_line_of(guest: &Guest, shell: bool) -> String {
    let mut text = guest::COMMAND_LINE.to_owned();
    if shell {
        text.push_str(" macadamia=shell");
    }
    if let Some(more) = &guest.append {
        text.push(' ');
        text.push_str(more);
    }
    text
}

fn run_plain(paths: &Paths, options: &RunOptions, qemu: PathBuf, shell: bool) -> Result<ExitCode> {
    let files = {
        let _lock = paths.lock()?;
        linux_files(paths, &options.guest, shell)?
    };
    let machine = Machine::new(
        qemu,
        qemu::Payload::Plain {
            kernel: files.kernel,
            initrd: files.initrd,
            command_line: command_line_of(&options.guest, shell),
            tpm: None,
        },
        (options.size.cpus, options.size.memory),
    );
    let outcome = if shell {
        machine.run_on_terminal(paths, "plain")?
    } else {
        machine.run(
            paths,
            &Watch {
                name: "plain".into(),
                ..watch(options)
            },
        )?
    };
    report::summarise_plain(paths, &outcome)
}

fn watch(options: &RunOptions) -> Watch {
    Watch {
        name: "run".into(),
        limit: options.timeout,
        silence: options.timeout.min(Duration::from_secs(90)),
        live: true,
        dump: None,
    }
}
