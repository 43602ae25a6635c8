//! `debug`: an SVSM with a debugger in it, and gdb with its symbols at the other end of its second serial port.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::build::{self, Contents, Image};
use crate::cli::{Platform, Size};
use crate::compile::{self, Program};
use crate::paths::Paths;
use crate::qemu::{self, Machine};
use crate::toolchain::Library;
use crate::{host, native, packages, ui};

/// Options of `debug`.
#[derive(Args, Clone, Debug)]
pub struct DebugOptions {
    #[command(flatten)]
    size: Size,
    /// What the image is booted on
    #[arg(long, default_value = "snp", value_name = "WHICH")]
    platform: Platform,
    /// QEMU's program; "newer" fetches the one of bookworm-backports
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
    /// Arguments for gdb, behind `--`
    #[arg(last = true, value_name = "ARGUMENTS")]
    gdb: Vec<String>,
}

/// `cargo xtask debug`.
pub fn debug(paths: &Paths, options: &DebugOptions) -> Result<ExitCode> {
    host::require(&[packages::GDB])?;
    let qemu = qemu::program(paths, options.qemu.as_deref())?;
    let image = {
        let _lock = paths.lock()?;
        compile::bare_metal(paths, Program::DEBUGGER)?;
        build::image(paths, "probe-debugger", &Contents::ProbeDebugger)?
    };
    let size = (options.size.cpus, options.size.memory);
    let machine = machine(paths, qemu, &image, options.platform, size)?;
    let running = machine.start(paths, "debug")?;
    ui::note(format!(
        "the SVSM's console: {}",
        paths.show(&running.logs.serial)
    ));
    let status = gdb(paths, &machine)?
        .args(&options.gdb)
        .status()
        .context("cannot start gdb")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A machine for an image with a debugger, which is at a port that is free.
pub fn machine(
    paths: &Paths,
    qemu: PathBuf,
    image: &Image,
    platform: Platform,
    size: (u32, u64),
) -> Result<Machine> {
    let mut machine = match platform {
        Platform::Native => native::machine(paths, qemu, &image.path, size, "")?,
        Platform::Snp => {
            let payload = qemu::Payload::Snp {
                machine: Program::Machine.path(paths),
                image: image.path.clone(),
                options: String::new(),
                files: Vec::new(),
                programs: Program::DEBUGGER,
            };
            Machine::new(qemu, payload, size)
        }
    };
    machine.debugger = Some(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
    Ok(machine)
}

/// gdb with the kernel's symbols and sources, connected to the machine's debugger. The build has named no place of this
/// machine, so where the sources are is said here.
pub fn gdb(paths: &Paths, machine: &Machine) -> Result<Command> {
    let mut gdb = Command::new(packages::GDB.program);
    let mut run = |command: String| {
        gdb.args(["-ex", &command]);
    };
    run(format!("directory {}", paths.root.display()));
    if let Library::Source(folder) = Library::find(paths)? {
        run(format!("set substitute-path library {}", folder.display()));
    }
    run("set tcp connect-timeout 30".to_owned());
    let port = machine.debugger.context("a machine without a debugger")?;
    run(format!("target remote 127.0.0.1:{port}"));
    gdb.arg("-q")
        .current_dir(&paths.root)
        .arg(Program::SvsmDebugger.path(paths));
    Ok(gdb)
}
