//! Kernel modules of our own, built for the very kernel that the guest boots: against the headers that were fetched
//! with it, without installing or mounting anything.
//!
//! Debian's kernel is of a newer suite than the machine may be. The programs among its headers then need a newer C
//! library: it is unpacked beside them, and they are started with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::apt::{self, Unpacked};
use crate::guest;
use crate::host;
use crate::packages;
use crate::paths::Paths;
use crate::process;
use crate::ui::Progress;

/// The bus and its drivers.
const SOURCE: &str = "guest/linux/svsm";

/// A handful of files; longer where processors are shared.
const LIMIT: Duration = Duration::from_secs(600);

/// Programs among the headers that are linked to a newer C library.
const PROGRAMS: [&str; 3] = ["modpost.real-lsb-64", "objtool.real-x86", "resolve_btfids"];

/// What the compiler of Debian 12 does not know, and what needs a program that is not in the packages. Neither changes
/// how a structure is laid out.
const OVERRIDES: [&str; 2] = [
    "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=",
    "CONFIG_DEBUG_INFO_BTF_MODULES=",
];

/// The folder with the modules of guest/linux/svsm, out of the cache or built.
pub fn obtain(paths: &Paths, linux: &Unpacked) -> Result<PathBuf> {
    let source = paths.root.join(SOURCE);
    let mut files = Vec::new();
    for entry in
        fs::read_dir(&source).with_context(|| format!("cannot read {}", source.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "Kbuild" || name.ends_with(".c") || name.ends_with(".h") {
            files.push((name.into_owned(), fs::read_to_string(&path)?));
        }
    }
    files.sort();
    build(paths, linux, "svsm", &files)
}

/// Builds the modules that `files` make, with a `Kbuild` among them. The folder is made anew where anything has changed.
pub fn build(
    paths: &Paths,
    linux: &Unpacked,
    name: &str,
    files: &[(String, String)],
) -> Result<PathBuf> {
    let folder = paths.cache.join("modules").join(name);
    let record = folder.join("made-of.txt");
    let mut made_of = linux.manifest.clone();
    for (file, text) in files {
        made_of.push_str(&format!("--- {file}\n{text}"));
    }
    if fs::read_to_string(&record).is_ok_and(|old| old == made_of) {
        return Ok(folder);
    }
    host::require(&packages::MODULE_TOOLS)?;
    let headers = headers(paths, linux)?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    for (file, text) in files {
        let path = folder.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    let progress = Progress::start(format!("building kernel modules {name}"));
    process::check(
        Command::new("make")
            .arg("-C")
            .arg(&headers)
            .arg(format!("M={}", folder.display()))
            .arg(format!("CC={}", packages::COMPILER.program))
            .args(OVERRIDES)
            .arg("modules"),
        LIMIT,
        |line| progress.detail(line),
    )
    .with_context(|| format!("cannot build {SOURCE}'s modules for {}", linux.version()))?;
    for module in built(&folder)? {
        // Debugging information has paths of this machine in it, and the build's number is a digest of it.
        process::output(
            Command::new("strip")
                .args(["--strip-debug", "--remove-section=.note.gnu.build-id"])
                .arg(module),
        )?;
    }
    fs::write(&record, made_of)?;
    progress.done(format!(
        "built kernel modules {name} for {}",
        linux.version()
    ));
    Ok(folder)
}

/// The modules in a folder, in the order of names.
pub fn built(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut modules: Vec<PathBuf> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ko"))
        .collect();
    modules.sort();
    Ok(modules)
}

/// The headers' folder, made to work where it was unpacked.
fn headers(paths: &Paths, linux: &Unpacked) -> Result<PathBuf> {
    let sources = linux.root.join("usr/src");
    let mut folders: Vec<PathBuf> = fs::read_dir(&sources)
        .with_context(|| format!("no headers in {}", sources.display()))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    let pick = |wanted: &dyn Fn(&Path) -> bool, what: &str| {
        folders
            .iter()
            .rfind(|path| wanted(path))
            .cloned()
            .with_context(|| format!("no {what} below {}", sources.display()))
    };
    let headers = pick(
        &|path| path.join("Module.symvers").is_file(),
        "Module.symvers",
    )?;
    let common = pick(
        &|path| path.to_string_lossy().ends_with("-common"),
        "common headers",
    )?;
    // As installed it has both folders' paths below /usr/src.
    fs::write(
        headers.join("Makefile"),
        format!(
            "KBUILD_OUTPUT={}\ninclude {}/Makefile\n",
            headers.display(),
            common.display()
        ),
    )?;
    // The kernel's build programs run with the machine's own library where that is new enough; wrapping them does no
    // harm there, and one way is easier to trust than two.
    let libraries = apt::obtain(paths, &packages::KBUILD_LIBRARIES)?.root;
    let kbuild = linux.root.join("usr/lib");
    for program in PROGRAMS {
        let path = guest::find(&kbuild, &|name| name == program)
            .with_context(|| format!("no {program} below {}", kbuild.display()))?;
        wrap(&path, &libraries)?;
    }
    Ok(headers)
}

/// Puts a script in a program's place, which starts it with the libraries of its own suite.
fn wrap(path: &Path, libraries: &Path) -> Result<()> {
    let mut moved = path.as_os_str().to_owned();
    moved.push(".bin");
    let moved = PathBuf::from(moved);
    if !moved.exists() {
        fs::rename(path, &moved)?;
    }
    let folder = libraries.join("usr/lib/x86_64-linux-gnu");
    let loader = folder.join("ld-linux-x86-64.so.2");
    ensure!(loader.is_file(), "no {}", loader.display());
    let script = format!(
        "#!/bin/sh\nexec '{}' --library-path '{}' '{}' \"$@\"\n",
        loader.display(),
        folder.display(),
        moved.display()
    );
    if !fs::read_to_string(path).is_ok_and(|old| old == script) {
        fs::write(path, script)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
