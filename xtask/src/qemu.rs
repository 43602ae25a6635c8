//! QEMU: which one, and the one place that knows its command line.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::compile::Program;
use crate::monitor::Monitor;
use crate::paths::Paths;
use crate::watch::{End, Follower, Line, Logs, Outcome, Watch, end_of};
use crate::{apt, host, packages};

/// What is started.
#[derive(Clone, Debug)]
pub enum Payload {
    /// The software SNP machine with an IGVM image.
    Snp {
        /// The machine's ELF.
        machine: PathBuf,
        /// The image.
        image: PathBuf,
        /// The machine's options, for example its trace filters.
        options: String,
        /// fw_cfg files: name and content.
        files: Vec<(&'static str, PathBuf)>,
        /// What is in the image, to find names for addresses.
        programs: &'static [Program],
    },
    /// Linux without SVSM and SNP, as the measure of what those cost.
    Plain {
        /// The bzImage.
        kernel: PathBuf,
        /// The initial RAM disk.
        initrd: PathBuf,
        /// Linux's command line.
        command_line: String,
        /// A TPM, if there is to be one.
        tpm: Option<Tpm>,
    },
}

/// A TPM whose commands another program executes.
#[derive(Clone, Debug)]
pub struct Tpm {
    /// That program's control channel, as swtpm has it: a socket.
    pub control: PathBuf,
    /// The interface: QEMU's name of the device.
    pub device: &'static str,
}

/// A machine to be started.
#[derive(Clone, Debug)]
pub struct Machine {
    /// QEMU's program.
    pub qemu: PathBuf,
    /// What it starts.
    pub payload: Payload,
    /// Virtual processors.
    pub cpus: u32,
    /// RAM in MiB.
    pub memory: u64,
}

/// The word for [`newer`] in place of a path.
pub const NEWER: &str = "newer";

/// QEMU's program: the one asked for, else the installed one, installed where it is missing.
pub fn program(paths: &Paths, asked: Option<&Path>) -> Result<PathBuf> {
    match asked {
        Some(word) if word == Path::new(NEWER) => newer(paths),
        Some(path) => Ok(path.to_path_buf()),
        None => {
            host::require(&[packages::QEMU])?;
            Ok(packages::QEMU.program.into())
        }
    }
}

/// A QEMU newer than Debian 12's own, unpacked beside it; a script that gives it its libraries and firmware.
fn newer(paths: &Paths) -> Result<PathBuf> {
    let _lock = paths.lock()?;
    let unpacked = apt::obtain_upgrade(paths, &packages::NEWER_QEMU)?;
    let script = paths
        .packages()
        .join(packages::NEWER_QEMU.name)
        .join("qemu");
    let root = unpacked.root.display();
    let text = format!(
        "#!/bin/sh\n\
         LD_LIBRARY_PATH='{root}/usr/lib/x86_64-linux-gnu' exec '{root}/usr/bin/{}' \\\n    \
         -L '{root}/usr/share/qemu' -L '{root}/usr/share/seabios' \"$@\"\n",
        packages::QEMU.program
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// QEMU's version, for example 7.2.22.
pub fn version(qemu: &Path) -> Result<String> {
    let text = crate::process::output(Command::new(qemu).arg("--version"))?;
    text.split("version ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
        .with_context(|| format!("{} is no QEMU: it says {text:?}", qemu.display()))
}

impl Machine {
    /// Starts it and waits for its end.
    pub fn run(&self, paths: &Paths, watch: &Watch) -> Result<Outcome> {
        let logs = Logs::new(paths, &watch.name)?;
        let mut command = self.command(&logs);
        let monitor = Monitor::new();
        command
            .args(["-serial", "stdio"])
            .args(["-monitor", &monitor.option()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&logs.errors)?);
        let started = Instant::now();
        let mut child = self.spawn(&mut command)?;
        let output = child.stdout.take().context("no standard output")?;
        let follower = Follower {
            child: &mut child,
            monitor: &monitor,
            watch,
            started,
            registers: String::new(),
        };
        let (end, lines, registers) = follower.follow(output, &logs.serial)?;
        if !registers.is_empty() {
            fs::write(&logs.registers, &registers)?;
        }
        Ok(Outcome {
            registers,
            ..self.outcome(logs, end, started, lines)
        })
    }

    /// Starts it with this terminal as its console. Ctrl-A X ends it.
    pub fn run_on_terminal(&self, paths: &Paths, name: &str) -> Result<Outcome> {
        let logs = Logs::new(paths, name)?;
        let mut command = self.command(&logs);
        command
            .arg("-chardev")
            .arg(format!(
                "stdio,id=console,mux=on,signal=off,logfile={}",
                comma(&logs.serial)
            ))
            .args(["-serial", "chardev:console"])
            .args(["-monitor", "none"]);
        let started = Instant::now();
        let mut child = self.spawn(&mut command)?;
        let end = end_of(&mut child)?;
        let text = fs::read(&logs.serial).unwrap_or_default();
        let lines = String::from_utf8_lossy(&text)
            .lines()
            .map(|text| Line {
                at: Duration::ZERO,
                text: text.trim_end().to_owned(),
            })
            .collect();
        Ok(self.outcome(logs, end, started, lines))
    }

    fn outcome(&self, logs: Logs, end: End, started: Instant, lines: Vec<Line>) -> Outcome {
        Outcome {
            end,
            took: started.elapsed(),
            lines,
            errors: fs::read_to_string(&logs.errors).unwrap_or_default(),
            serial_log: logs.serial,
            machine_log: logs.machine,
            registers: String::new(),
            programs: match self.payload {
                Payload::Snp { programs, .. } => programs,
                Payload::Plain { .. } => &[],
            },
        }
    }

    fn spawn(&self, command: &mut Command) -> Result<Child> {
        command
            .spawn()
            .with_context(|| format!("cannot start {}", self.qemu.display()))
    }

    /// All flags but the console.
    fn command(&self, logs: &Logs) -> Command {
        let mut command = Command::new(&self.qemu);
        command
            .args(["-M", "q35"])
            .args(["-smp", &self.cpus.to_string()])
            .args(["-m", &format!("{}M", self.memory)])
            .args(["-nodefaults", "-display", "none"])
            .arg("-no-reboot");
        match &self.payload {
            Payload::Snp {
                machine,
                image,
                options,
                files,
                programs: _,
            } => {
                command
                    // One thread for all processors. With a thread each, QEMU (7.2 to 11.1) races with itself: FXRSTOR
                    // on any processor rewrites the first one's hflags2 (cpu_clear_ignne), where that one keeps whether
                    // it is in a guest, and under nested paging. About one 4-vCPU run in four died of it.
                    .args(["-accel", "tcg,thread=single"])
                    // 48 bits, because the C-bit is bit 47 of a nested page walk's address.
                    .args(["-cpu", "max,+svm,+npt,phys-bits=48"])
                    .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
                    .arg("-debugcon")
                    .arg(format!("file:{}", logs.machine.display()))
                    .arg("-kernel")
                    .arg(machine)
                    .arg("-initrd")
                    .arg(image)
                    .args(["-append", options]);
                for (name, path) in files {
                    command
                        .arg("-fw_cfg")
                        .arg(format!("name={name},file={}", comma(path)));
                }
            }
            Payload::Plain {
                kernel,
                initrd,
                command_line,
                tpm,
            } => {
                command
                    // As QEMU does it by itself: a thread each.
                    .args(["-accel", "tcg,thread=multi"])
                    .args(["-cpu", "max,phys-bits=48"])
                    .arg("-kernel")
                    .arg(kernel)
                    .arg("-initrd")
                    .arg(initrd)
                    .args(["-append", command_line]);
                if let Some(tpm) = tpm {
                    command
                        .arg("-chardev")
                        .arg(format!(
                            "socket,id=tpm-control,path={}",
                            comma(&tpm.control)
                        ))
                        .args(["-tpmdev", "emulator,id=tpm,chardev=tpm-control"])
                        .args(["-device", &format!("{},tpmdev=tpm", tpm.device)]);
                }
            }
        }
        command
    }
}

/// A path inside a comma-separated option: QEMU wants commas doubled.
fn comma(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
