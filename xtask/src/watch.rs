//! The run of a machine: console live, all logs kept, time limits.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::compile::Program;
use crate::monitor::{Dump, Monitor};
use crate::paths::Paths;

/// How a run is watched.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Stem of the log files' names.
    pub name: String,
    /// Time for all of it.
    pub limit: Duration,
    /// Time without any output.
    pub silence: Duration,
    /// Whether standard output gets the console as it comes.
    pub live: bool,
    /// A look at the memory, which ends the run.
    pub dump: Option<Dump>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// QEMU ended with this status. 0 is a power-off or a reset; an odd one is the machine's own
    /// (value × 2 + 1, by the isa-debug-exit device).
    Status(i32),
    /// A signal ended QEMU.
    Signal,
    /// The time limit.
    TimedOut,
    /// Too long without output.
    Silent,
}

/// A line of the console with the time since QEMU's start.
#[derive(Clone, Debug)]
pub struct Line {
    /// When it was complete.
    pub at: Duration,
    /// Its text, without line end.
    pub text: String,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Wall time.
    pub took: Duration,
    /// The console.
    pub lines: Vec<Line>,
    /// What QEMU itself said.
    pub errors: String,
    /// The console's log.
    pub serial_log: PathBuf,
    /// The machine's log.
    pub machine_log: PathBuf,
    /// QEMU's registers when the time was up; empty otherwise.
    pub registers: String,
    /// What ran, for names of addresses.
    pub programs: &'static [Program],
}

impl Outcome {
    /// The first line with `text` in it.
    pub fn line(&self, text: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.text.contains(text))
    }

    /// The console's lines.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| line.text.as_str())
    }

    /// The machine's own log.
    pub fn machine_text(&self) -> String {
        fs::read(&self.machine_log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

/// The files of one run, old ones of the same name removed.
pub struct Logs {
    /// The console.
    pub serial: PathBuf,
    /// The machine's messages.
    pub machine: PathBuf,
    /// QEMU's own.
    pub errors: PathBuf,
    /// Registers, if time was up.
    pub registers: PathBuf,
}

impl Logs {
    /// Names for a run's files, in an existing folder.
    pub fn new(paths: &Paths, name: &str) -> Result<Logs> {
        fs::create_dir_all(paths.logs())?;
        let file = |kind: &str| paths.logs().join(format!("{name}.{kind}.log"));
        let logs = Logs {
            serial: file("serial"),
            machine: file("machine"),
            errors: file("qemu"),
            registers: file("registers"),
        };
        for log in [&logs.serial, &logs.machine, &logs.errors, &logs.registers] {
            match fs::remove_file(log) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", log.display()));
                }
                _ => {}
            }
        }
        Ok(logs)
    }
}

/// One run under way.
pub struct Follower<'a> {
    /// QEMU.
    pub child: &'a mut Child,
    /// Its monitor.
    pub monitor: &'a Monitor,
    /// Limits.
    pub watch: &'a Watch,
    /// When it was started.
    pub started: Instant,
    /// Registers, once time is up.
    pub registers: String,
}

impl Follower<'_> {
    /// Reads the console until QEMU ends or time is up.
    pub fn follow(
        mut self,
        mut output: impl Read + Send + 'static,
        log: &Path,
    ) -> Result<(End, Vec<Line>, String)> {
        let mut log =
            File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let (sender, chunks) = mpsc::channel::<Vec<u8>>();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = output.read(&mut buffer) {
                if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let deadline = self.started + self.watch.limit;
        let mut lines = Vec::new();
        let mut partial = Vec::new();
        let end = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match chunks.recv_timeout(left.min(self.watch.silence)) {
                Ok(chunk) => {
                    log.write_all(&chunk)?;
                    if self.watch.live {
                        let mut terminal = io::stdout().lock();
                        terminal.write_all(&chunk)?;
                        terminal.flush()?;
                    }
                    for byte in chunk {
                        if byte == b'\n' {
                            lines.push(line(self.started, &mut partial));
                            self.dump_after(lines.last())?;
                        } else {
                            partial.push(byte);
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break end_of(self.child)?,
                Err(RecvTimeoutError::Timeout) => break self.give_up(deadline)?,
            }
        };
        if !partial.is_empty() {
            lines.push(line(self.started, &mut partial));
        }
        if reader.join().is_err() {
            bail!("the console's reader failed");
        }
        Ok((end, lines, self.registers))
    }

    fn dump_after(&self, line: Option<&Line>) -> Result<()> {
        match (&self.watch.dump, line) {
            (Some(dump), Some(line)) if line.text == dump.after => {
                self.monitor.dump(dump).context("cannot see the memory")
            }
            _ => Ok(()),
        }
    }

    fn give_up(&mut self, deadline: Instant) -> Result<End> {
        let end = if Instant::now() >= deadline {
            End::TimedOut
        } else {
            End::Silent
        };
        self.registers = self.monitor.registers();
        self.child.kill()?;
        self.child.wait()?;
        Ok(end)
    }
}

/// The line that is complete now.
pub fn line(started: Instant, bytes: &mut Vec<u8>) -> Line {
    let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
    bytes.clear();
    Line {
        at: started.elapsed(),
        text,
    }
}

/// Waits for QEMU's end.
pub fn end_of(child: &mut Child) -> Result<End> {
    Ok(child.wait()?.code().map_or(End::Signal, End::Status))
}
