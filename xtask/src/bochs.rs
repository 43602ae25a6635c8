//! Bochs: the machine for what QEMU's TCG cannot execute, shadow stacks above all. It boots a native image from a disc
//! with GRUB, without QEMU and without KVM.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::compile::Program;
use crate::packages;
use crate::paths::Paths;
use crate::watch::{End, Line, Logs, Outcome, Watch, line};
use crate::{host, native, process};

/// The processor: the one model of Bochs 2.7 that has CET.
const MODEL: &str = "tigerlake";
/// Instructions that make a second of the machine's time. Firmware waits by time, so fewer of them boot sooner.
const INSTRUCTIONS_PER_SECOND: u32 = 50_000_000;
/// How often its console is looked at.
const POLL: Duration = Duration::from_millis(50);
/// The bit of CR4 that turns CET on.
const CR4_CET: u64 = 1 << 23;
/// What its log says when the guest asked for the end, by writing this word's letters to port 0x8900.
const SHUTDOWN: &str = "Shutdown port: shutdown requested";

/// A machine to be started.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The program that loads the image.
    pub loader: PathBuf,
    /// The image.
    pub image: PathBuf,
    /// The loader's options.
    pub options: String,
    /// Processors. Bochs executes them in turns, and those that halt cost as much as others.
    pub cpus: u32,
    /// RAM in MiB.
    pub memory: u64,
}

/// Makes sure that Bochs and what makes its disc are there.
pub fn require() -> Result<()> {
    host::require(&packages::BOCHS)
}

/// Why Bochs's display cannot have the pseudo-terminal that it needs, if it cannot: a chroot may be without.
pub fn no_terminal() -> Result<Option<String>> {
    let tried = process::run(
        Command::new("script").args(["-qc", "true", "/dev/null"]),
        Duration::from_secs(20),
        |_| {},
    )?;
    Ok((!tried.status.success()).then(|| {
        let reason = tried.all.lines().last().unwrap_or("no reason given");
        format!("Bochs cannot be used here: {reason}")
    }))
}

/// Its version, for example 2.7.
pub fn version() -> Result<String> {
    let text = process::run(
        Command::new("bochs").arg("--help"),
        Duration::from_secs(20),
        |_| {},
    )?
    .all;
    text.split("Bochs x86 Emulator ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
        .context("bochs --help names no version")
}

impl Machine {
    /// Starts it and waits for its end. [`End::Status`] 0 is an end that the guest asked for; with [`End::Signal`], Bochs
    /// stopped by itself and `errors` say why, for example for a triple fault.
    pub fn run(&self, paths: &Paths, watch: &Watch) -> Result<Outcome> {
        let logs = Logs::new(paths, &watch.name)?;
        let folder = paths.cache.join("bochs").join(&watch.name);
        self.prepare(&folder)?;
        let console = folder.join("serial");
        let started = Instant::now();
        // The display for terminals insists on one, which `script` makes. `-rc` has the debugger continue, since Debian
        // builds Bochs with it.
        let mut child = Command::new("script")
            .args(["-qc", "bochs -q -f bochsrc -rc commands", "/dev/null"])
            .current_dir(&folder)
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(File::create(&logs.errors)?)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start script")?;
        let followed = follow(&mut child, &console, watch, started);
        process::kill_tree(child.id());
        let _ = child.wait();
        let (mut end, lines) = followed?;
        let took = started.elapsed();
        copy(&console, &logs.serial)?;
        copy(&folder.join("log"), &logs.machine)?;
        let mut errors = String::new();
        if end == End::Status(0) {
            errors = panic_of(&logs.machine);
            if !errors.contains(SHUTDOWN) {
                end = End::Signal;
            }
        }
        Ok(Outcome {
            end,
            took,
            lines,
            errors,
            serial_log: logs.serial,
            machine_log: logs.machine,
            registers: String::new(),
            programs: Program::NATIVE,
        })
    }

    /// Writes the disc and the configuration. Names are relative to the folder, whose own may have any letters.
    fn prepare(&self, folder: &Path) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "=:,.-_ ".contains(c);
        ensure!(
            self.options.chars().all(plain),
            "GRUB would change the options {:?}",
            self.options
        );
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let boot = folder.join("disc/boot");
        fs::create_dir_all(boot.join("grub"))?;
        for (file, name) in [(&self.loader, "loader"), (&self.image, "image.igvm")] {
            fs::copy(file, boot.join(name))
                .with_context(|| format!("cannot copy {}", file.display()))?;
        }
        let grub = format!(
            "set timeout=0\nmenuentry svsm {{\n  multiboot2 /boot/loader {}\n  module2 /boot/image.igvm\n}}\n",
            self.options
        );
        fs::write(boot.join("grub/grub.cfg"), grub)?;
        process::check(
            Command::new("grub-mkrescue")
                .args(["--output=boot.iso", "disc"])
                .current_dir(folder),
            Duration::from_secs(60),
            |_| {},
        )?;
        fs::write(folder.join("bochsrc"), self.configuration())?;
        fs::write(folder.join("commands"), "c\n")?;
        Ok(())
    }

    fn configuration(&self) -> String {
        let Machine { cpus, memory, .. } = self;
        // A triple fault ends Bochs, which then writes the processors' registers to its log.
        format!(
            "display_library: term\n\
             romimage: file=/usr/share/bochs/BIOS-bochs-latest\n\
             vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest\n\
             cpu: model={MODEL}, count={cpus}, ips={INSTRUCTIONS_PER_SECOND}, reset_on_triple_fault=0\n\
             memory: guest={memory}, host={memory}\n\
             ata0-master: type=cdrom, path=\"boot.iso\", status=inserted\n\
             boot: cdrom\n\
             com1: enabled=1, mode=file, dev=serial\n\
             clock: sync=none\n\
             log: log\n\
             panic: action=fatal\n\
             error: action=report\n\
             info: action=report\n\
             debug: action=ignore\n"
        )
    }
}

/// Why a boot is no success, if it is none.
pub fn problem(outcome: &Outcome, cpus: u32) -> Option<String> {
    if outcome.end == End::Signal {
        return Some(format!("Bochs stopped: {}", outcome.errors));
    }
    native::problem_with_end(outcome, cpus, End::Status(0))
}

/// Whether CET was on in all processors at the end: Bochs writes their registers to the log then.
pub fn cet_was_on(outcome: &Outcome, cpus: u32) -> bool {
    let text = outcome.machine_text();
    (0..cpus).all(|cpu| {
        let name = format!("[CPU{cpu} ");
        let mut registers = text.lines().rev().filter(|line| line.contains(&name));
        let cr4 = registers.find_map(|line| {
            let (_, value) = line.split_once("CR4=0x")?;
            let value = value.split_whitespace().next()?;
            u64::from_str_radix(value, 16).ok()
        });
        cr4.is_some_and(|cr4| cr4 & CR4_CET != 0)
    })
}

/// Reads the console until Bochs ends or time is up.
fn follow(
    child: &mut Child,
    console: &Path,
    watch: &Watch,
    started: Instant,
) -> Result<(End, Vec<Line>)> {
    let mut file = None;
    let mut lines = Vec::new();
    let mut partial = Vec::new();
    let mut last_word = started;
    loop {
        // Looked at before the console, so that nothing of what was written before the end is missed.
        let ended = child.try_wait()?.is_some();
        if file.is_none() {
            file = File::open(console).ok();
        }
        let mut chunk = Vec::new();
        if let Some(file) = &mut file {
            file.read_to_end(&mut chunk)?;
        }
        if !chunk.is_empty() {
            last_word = Instant::now();
            if watch.live {
                let mut terminal = io::stdout().lock();
                terminal.write_all(&chunk)?;
                terminal.flush()?;
            }
        }
        for byte in chunk {
            if byte == b'\n' {
                lines.push(line(started, &mut partial));
            } else {
                partial.push(byte);
            }
        }
        let end = if ended {
            Some(End::Status(0))
        } else if started.elapsed() > watch.limit {
            Some(End::TimedOut)
        } else if last_word.elapsed() > watch.silence {
            Some(End::Silent)
        } else {
            None
        };
        if let Some(end) = end {
            if !partial.is_empty() {
                lines.push(line(started, &mut partial));
            }
            return Ok((end, lines));
        }
        thread::sleep(POLL);
    }
}

/// Why Bochs stopped, from its log.
fn panic_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut reasons = text
        .lines()
        .filter_map(|line| Some(line.split_once(">>PANIC<<")?.1.trim()));
    reasons.next().unwrap_or("it gave no reason").to_owned()
}

/// Copies a file that may be absent.
fn copy(from: &Path, to: &Path) -> Result<()> {
    match fs::copy(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result
            .map(|_| ())
            .with_context(|| format!("cannot copy {}", from.display())),
    }
}
