//! Cargo builds: the bare-metal binaries, and the host tool that makes images of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use crate::process;
use crate::toolchain::{Library, TARGET};
use crate::ui::Progress;

const LIMIT: Duration = Duration::from_secs(1200);

/// What can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The software SNP machine.
    Machine,
    /// What starts the SVSM in an ordinary virtual machine.
    NativeLoader,
    /// The test payload that runs at VMPL0 in the SVSM's place.
    Conformance,
    /// The SVSM.
    Svsm,
    /// The same with a debugger in it.
    SvsmDebugger,
    /// The same with the tests that run inside it.
    SvsmTests,
    /// Its vTPM.
    Vtpm,
    /// A vTPM whose secrets everybody knows, for a test.
    VtpmKnownSeeds,
    /// A service that misbehaves on request.
    Broken,
    /// The boot stub that starts Linux.
    Shim,
    /// The test guest.
    Probe,
}

impl Program {
    /// All of them.
    pub const ALL: [Program; 9] = [
        Program::Machine,
        Program::NativeLoader,
        Program::Conformance,
        Program::Svsm,
        Program::Vtpm,
        Program::VtpmKnownSeeds,
        Program::Broken,
        Program::Shim,
        Program::Probe,
    ];

    /// What runs when Linux does.
    pub const LINUX: &'static [Program] = &[
        Program::Machine,
        Program::Svsm,
        Program::Vtpm,
        Program::Shim,
    ];
    /// What runs when the probe does.
    pub const PROBE: &'static [Program] = &[
        Program::Machine,
        Program::Svsm,
        Program::Vtpm,
        Program::Probe,
    ];
    /// What runs when the probe does, with the broken service in the vTPM's place.
    pub const BROKEN: &'static [Program] = &[
        Program::Machine,
        Program::Svsm,
        Program::Broken,
        Program::Probe,
    ];
    /// What runs when an image is booted without confidential computing.
    pub const NATIVE: &'static [Program] = &[Program::NativeLoader, Program::Svsm, Program::Vtpm];
    /// What runs when an image has no guest, on either platform.
    pub const SVSM: &'static [Program] = &[Program::Machine, Program::NativeLoader, Program::Svsm];
    /// What runs when an image has a debugger, on either platform. Not among [`Program::ALL`]: nothing of it is released.
    pub const DEBUGGER: &'static [Program] = &[
        Program::Machine,
        Program::NativeLoader,
        Program::SvsmDebugger,
        Program::Vtpm,
        Program::Shim,
        Program::Probe,
    ];
    /// What runs when the tests inside the SVSM do, on either platform. Not among [`Program::ALL`] either.
    pub const TESTS: &'static [Program] = &[
        Program::Machine,
        Program::NativeLoader,
        Program::SvsmTests,
        Program::Vtpm,
        Program::Broken,
    ];
    /// What runs when the conformance payload does.
    pub const CONFORMANCE: &'static [Program] = &[Program::Machine, Program::Conformance];

    /// Its package; the binary has the same name, but where a package has two.
    pub const fn package(self) -> &'static str {
        match self {
            Program::VtpmKnownSeeds => Program::Vtpm.name(),
            Program::SvsmDebugger | Program::SvsmTests => Program::Svsm.name(),
            other => other.name(),
        }
    }

    /// Its binary.
    pub const fn name(self) -> &'static str {
        match self {
            Program::Machine => "snp-machine",
            Program::NativeLoader => "native-loader",
            Program::Conformance => "snp-conformance",
            Program::Svsm => "svsm-kernel",
            Program::SvsmDebugger => "svsm-kernel-gdb",
            Program::SvsmTests => "svsm-kernel-tests",
            Program::Vtpm => "svsm-vtpm",
            Program::VtpmKnownSeeds => "svsm-vtpm-known-seeds",
            Program::Broken => "svsm-broken",
            Program::Shim => "guest-shim",
            Program::Probe => "guest-probe",
        }
    }

    /// The feature of its package that it is built with.
    const fn feature(self) -> Option<&'static str> {
        match self {
            Program::SvsmDebugger => Some("svsm-kernel/gdb"),
            Program::SvsmTests => Some("svsm-kernel/tests"),
            _ => None,
        }
    }

    /// Where the build puts it.
    pub fn path(self, paths: &Paths) -> PathBuf {
        paths.bare().join(TARGET).join("release").join(self.name())
    }
}

/// Name of the image tool's package and binary.
pub const IGVM_TOOL: &str = "macadamia-igvm";

/// Builds `programs` for bare metal.
pub fn bare_metal(paths: &Paths, programs: &[Program]) -> Result<()> {
    let mut cargo = bare_metal_command(paths, "build")?;
    cargo.arg("--keep-going");
    let (special, ordinary): (Vec<Program>, Vec<Program>) = programs
        .iter()
        .copied()
        .partition(|program| program.feature().is_some());
    for program in &ordinary {
        cargo.args(["--package", program.package()]);
    }
    if !ordinary.is_empty() {
        run_cargo(&mut cargo, "building for bare metal")?;
    }
    // One that has a feature is a build of its own, as features are of a whole build.
    for program in special {
        let mut cargo = special_command(paths, "build", program)?;
        run_cargo(&mut cargo, &format!("building {}", program.name()))?;
    }
    for program in programs {
        let path = program.path(paths);
        if !path.is_file() {
            bail!("{} has no binary {}", program.package(), program.name());
        }
    }
    Ok(())
}

/// The cargo command for a program that has a feature.
pub fn special_command(paths: &Paths, verb: &str, program: Program) -> Result<Command> {
    let mut cargo = bare_metal_command(paths, verb)?;
    cargo.args(["--package", program.package(), "--bin", program.name()]);
    cargo.args(["--features", program.feature().unwrap_or_default()]);
    Ok(cargo)
}

/// A cargo command with all that bare-metal builds need; `clippy` wants the same.
pub fn bare_metal_command(paths: &Paths, verb: &str) -> Result<Command> {
    let library = Library::find(paths)?;
    let mut cargo = cargo(paths, verb);
    library.apply(&mut cargo);
    cargo
        .args(["--release", "--target", TARGET])
        .env("CARGO_TARGET_DIR", paths.bare())
        .env("RUSTFLAGS", flags(paths, &library))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(cargo)
}

/// Builds the image tool, and says where it is.
pub fn igvm_tool(paths: &Paths) -> Result<PathBuf> {
    host_program(paths, IGVM_TOOL, "building the image tool")
}

/// Builds a program for the host, and says where it is. It shares xtask's own target directory and profile, and with
/// them most of what it depends on.
pub fn host_program(paths: &Paths, name: &str, what: &str) -> Result<PathBuf> {
    host_binary(paths, name, name, what)
}

/// The same for one of a package's binaries.
pub fn host_binary(paths: &Paths, package: &str, name: &str, what: &str) -> Result<PathBuf> {
    let mut cargo = cargo(paths, "build");
    cargo
        .args(["--package", package, "--bin", name])
        .env("CARGO_TARGET_DIR", &paths.target);
    run_cargo(&mut cargo, what)?;
    let path = paths.target.join("debug").join(name);
    if !path.is_file() {
        bail!("the package {package} has no binary of its own name");
    }
    Ok(path)
}

/// The host, for builds with flags that are not for build scripts and procedural macros.
pub const HOST: &str = "x86_64-unknown-linux-gnu";

/// Builds a program for a guest of another distribution: with the C library in it. Says where it is.
pub fn static_program(paths: &Paths, name: &str, what: &str) -> Result<PathBuf> {
    let folder = paths.cache.join("static");
    let mut cargo = cargo(paths, "build");
    cargo
        .args(["--package", name, "--target", HOST])
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static -Cstrip=symbols")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    run_cargo(&mut cargo, what)?;
    Ok(folder.join(HOST).join("debug").join(name))
}

/// Cargo, as this xtask was started by.
pub fn cargo(paths: &Paths, verb: &str) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.arg(verb).current_dir(&paths.root);
    command
}

/// Runs a cargo command with progress; says a word only when it had something to do.
pub fn run_cargo(cargo: &mut Command, what: &str) -> Result<()> {
    let progress = Progress::start(what);
    let mut compiled = 0;
    let finished = process::run(cargo, LIMIT, |line| {
        let line = line.trim();
        if line.starts_with("Compiling") || line.starts_with("Checking") {
            compiled += 1;
        }
        progress.detail(line);
    })
    .context(what.to_owned())?;
    if !finished.status.success() {
        drop(progress);
        bail!("{what} failed:\n{}", errors_of(&finished.all));
    }
    if compiled > 0 {
        progress.done(format!("{what}: {compiled} crates"));
    } else {
        progress.quiet();
    }
    Ok(())
}

/// Flags for bare metal. Paths of this machine are mapped away, so that the same sources measure the same everywhere.
fn flags(paths: &Paths, library: &Library) -> String {
    let mut flags = String::from("-Crelocation-model=static -Cforce-frame-pointers=yes");
    let mut remap = |from: &Path, to: &str| {
        // The variable separates flags by spaces, so a path that has one cannot be mapped.
        let from = from.to_string_lossy();
        if !from.contains(char::is_whitespace) {
            flags.push_str(&format!(" --remap-path-prefix={from}={to}"));
        }
    };
    remap(&paths.root, ".");
    if let Library::Source(folder) = library {
        remap(folder, "library");
    }
    if let Some(home) = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
    {
        remap(&home.join("registry/src"), "registry");
    }
    flags
}

/// Cargo's output without the lines of what went well.
pub fn errors_of(output: &str) -> String {
    const WELL: [&str; 5] = [
        "Compiling",
        "Checking",
        "Downloaded",
        "Downloading",
        "Fresh",
    ];
    let kept: Vec<&str> = output
        .lines()
        .filter(|line| {
            let line = line.trim_start();
            !WELL.iter().any(|word| line.starts_with(word))
        })
        .collect();
    process::last_lines(&kept.join("\n"), 120)
}
