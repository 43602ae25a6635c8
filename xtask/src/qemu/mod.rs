//! QEMU: a machine to be started, and what comes of it. Its command line is in [`flags`].

mod accel;
#[cfg(test)]
pub mod fake;
mod flags;
mod program;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::compile::Program;
use crate::monitor::Monitor;
use crate::paths::Paths;
use crate::watch::{End, Follower, Line, Logs, Outcome, Watch, end_of};

pub use accel::{Accel, Accelerator, Needs, probe};
pub use program::{NEWER, loads_igvm, program, version};

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
    /// An IGVM image without confidential computing: the SVSM on the bare (virtual) machine.
    Native {
        /// The program that loads the image. Without one QEMU does.
        loader: Option<PathBuf>,
        /// The image.
        image: PathBuf,
        /// The loader's options.
        options: String,
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
    /// What executes it.
    pub accelerator: Accelerator,
    /// Features that its processors lack, by QEMU's names.
    pub without: Vec<String>,
    /// Where its second serial port, the debugger's, is reached: a port of this machine's own address.
    pub debugger: Option<u16>,
}

/// A machine that was started and is ended at the latest when this is dropped.
pub struct Running {
    child: Child,
    /// Its logs.
    pub logs: Logs,
}

impl Running {
    /// Waits for its end for so long.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<End>> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status.code().map_or(End::Signal, End::Status)));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(None)
    }

    /// What it has said on its console so far.
    pub fn console(&self) -> String {
        let text = fs::read(&self.logs.serial).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Machine {
    /// One of this many processors and MiB, by TCG.
    pub const fn new(qemu: PathBuf, payload: Payload, (cpus, memory): (u32, u64)) -> Machine {
        Machine {
            qemu,
            payload,
            cpus,
            memory,
            accelerator: Accelerator::Tcg,
            without: Vec::new(),
            debugger: None,
        }
    }

    /// Starts it and waits for its end.
    pub fn run(&self, paths: &Paths, watch: &Watch) -> Result<Outcome> {
        let logs = Logs::new(paths, &watch.name)?;
        let mut command = self.command(&logs.machine);
        let monitor = Monitor::new();
        command
            .args(["-serial", "stdio"])
            .args(self.debugger_port())
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

    /// Starts it with its console in a log, and does not wait.
    pub fn start(&self, paths: &Paths, name: &str) -> Result<Running> {
        let logs = Logs::new(paths, name)?;
        let mut command = self.command(&logs.machine);
        command
            .args(["-serial", &format!("file:{}", flags::comma(&logs.serial))])
            .args(self.debugger_port())
            .args(["-monitor", "none"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&logs.errors)?);
        let child = self.spawn(&mut command)?;
        Ok(Running { child, logs })
    }

    /// Starts it with this terminal as its console. Ctrl-A X ends it.
    pub fn run_on_terminal(&self, paths: &Paths, name: &str) -> Result<Outcome> {
        let logs = Logs::new(paths, name)?;
        let mut command = self.command(&logs.machine);
        command
            .arg("-chardev")
            .arg(format!(
                "stdio,id=console,mux=on,signal=off,logfile={}",
                flags::comma(&logs.serial)
            ))
            .args(["-serial", "chardev:console"])
            .args(self.debugger_port())
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
                _ if self.debugger.is_some() => Program::DEBUGGER,
                Payload::Snp { programs, .. } => programs,
                Payload::Native { .. } => Program::NATIVE,
                Payload::Plain { .. } => &[],
            },
        }
    }

    fn spawn(&self, command: &mut Command) -> Result<Child> {
        command
            .spawn()
            .with_context(|| format!("cannot start {}", self.qemu.display()))
    }
}
