//! `core` and `alloc` for the bare-metal target: rustup's, where it has them or can fetch them, else built from the
//! standard library's source.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::apt;
use crate::packages;
use crate::paths::Paths;
use crate::process;
use crate::ui::{self, Progress};

/// The target of everything that runs without an operating system.
pub const TARGET: &str = "x86_64-unknown-none";

/// Names an unpacked `library` folder of the compiler's version: the last resort, for machines that reach neither
/// rustup's server nor a Debian mirror that has it.
pub const SOURCE_VARIABLE: &str = "MACADAMIA_RUST_SRC";

/// How the bare-metal crates get their standard library.
#[derive(Clone, Debug)]
pub enum Library {
    /// Installed for the target.
    Installed,
    /// To be built from this `library` folder.
    Source(PathBuf),
}

impl Library {
    /// Finds it, fetching what is missing.
    pub fn find(paths: &Paths) -> Result<Library> {
        let version = compiler_version()?;
        if is_installed()? || add_with_rustup(paths, &version)? {
            return Ok(Library::Installed);
        }
        let reason = match from_package(paths, &version) {
            Ok(folder) => return Ok(Library::Source(folder)),
            Err(reason) => reason,
        };
        let Some(folder) = env::var_os(SOURCE_VARIABLE).map(PathBuf::from) else {
            bail!(
                "no `core` for {TARGET}. Any one of these helps:\n\
                 - rustup target add {TARGET}\n\
                 - the package rust-src {version} from a Debian mirror ({reason:#})\n\
                 - {SOURCE_VARIABLE}=FOLDER, the unpacked `library` folder of rust-src {version}"
            );
        };
        check_source(&folder)
            .with_context(|| format!("{SOURCE_VARIABLE} names {}", folder.display()))?;
        ui::note(format!(
            "building core from {SOURCE_VARIABLE}, because no mirror has it: {reason:#}"
        ));
        Ok(Library::Source(folder))
    }

    /// Adds to a cargo command what this library needs.
    pub fn apply(&self, cargo: &mut Command) {
        if let Library::Source(folder) = self {
            // Building the standard library is unstable, so a stable compiler needs to be told; no crate of ours uses
            // anything unstable.
            cargo
                .env("RUSTC_BOOTSTRAP", "1")
                .env("__CARGO_TESTS_ONLY_SRC_ROOT", folder)
                .arg("-Zbuild-std=core,alloc");
        }
    }
}

/// The compiler's release, for example 1.95.0.
pub fn compiler_version() -> Result<String> {
    let text = process::output(Command::new("rustc").arg("--version"))?;
    text.split_whitespace()
        .nth(1)
        .map(str::to_owned)
        .with_context(|| format!("cannot read rustc's version from {text:?}"))
}

fn is_installed() -> Result<bool> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib")
        .is_dir())
}

/// Tries rustup once, unless RUSTUP_AUTO_INSTALL=0 forbids it. A failure is remembered until `cargo xtask clean`, so
/// that it costs its seconds only once.
fn add_with_rustup(paths: &Paths, version: &str) -> Result<bool> {
    let memory = paths.cache.join("rustup-has-no-target");
    // Whoever set this wants no toolchain changed behind their back; the source does as well.
    let forbidden = env::var_os("RUSTUP_AUTO_INSTALL").is_some_and(|value| value == "0");
    let failed_before = fs::read_to_string(&memory).is_ok_and(|known| known == version);
    if forbidden || failed_before || !process::exists("rustup") {
        return Ok(false);
    }
    let progress = Progress::start(format!("rustup target add {TARGET}"));
    let result = process::check(
        Command::new("rustup").args(["target", "add", TARGET]),
        Duration::from_secs(120),
        |line| progress.detail(line),
    );
    progress.quiet();
    if result.is_ok() && is_installed()? {
        return Ok(true);
    }
    fs::create_dir_all(&paths.cache)?;
    fs::write(&memory, version)?;
    Ok(false)
}

fn from_package(paths: &Paths, version: &str) -> Result<PathBuf> {
    let unpacked = apt::obtain(paths, &packages::rust_source(version))?;
    let folder = unpacked
        .root
        .join(packages::RUST_LIBRARY)
        .join(format!("rustc-{version}/library"));
    check_source(&folder)?;
    Ok(folder)
}

fn check_source(folder: &Path) -> Result<()> {
    ensure!(
        folder.join("core/src/lib.rs").is_file() && folder.join("Cargo.lock").is_file(),
        "{} is no `library` folder of Rust's source (wanted core/src/lib.rs and Cargo.lock in it)",
        folder.display()
    );
    Ok(())
}
