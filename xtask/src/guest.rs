//! The Linux guest: Debian's kernel out of its package, and an initial RAM disk of busybox, our init and the kernel's
//! modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::{self, Unpacked};
use crate::cpio::Archive;
use crate::host;
use crate::modules;
use crate::packages;
use crate::paths::Paths;
use crate::process;
use crate::userland::Userland;

/// What tpm2-tools open by themselves.
const OPENED: [&str; 1] = ["libtss2-tcti-device.so.0"];

/// Modules of the kernel's package for the guest; those of guest/linux/svsm come to them.
const MODULES: [&str; 3] = ["configfs", "tsm_report", "sev-guest"];

/// What every boot gets on its command line: the console, and an end instead of a hang after a panic.
pub const COMMAND_LINE: &str = "console=ttyS0 panic=-1";

/// What a guest boots.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The bzImage.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: PathBuf,
}

/// Debian's kernel with our initial RAM disk, fetched and made where the cache has not got them.
pub fn obtain(paths: &Paths) -> Result<Guest> {
    let linux = apt::obtain(paths, &packages::KERNEL)?;
    let kernel = kernel(&linux.root)?;
    let initrd = paths.images().join("initrd.cpio");
    let bytes = archive(paths, &linux)?;
    // Written only when it changes, so that what is made of it is not made again.
    if !fs::read(&initrd).is_ok_and(|old| old == bytes) {
        fs::create_dir_all(paths.images())?;
        fs::write(&initrd, bytes)?;
    }
    Ok(Guest { kernel, initrd })
}

/// The bzImage among the kernel's files.
pub fn kernel(linux: &Path) -> Result<PathBuf> {
    find(linux, &|name| name.starts_with("vmlinuz"))
        .with_context(|| format!("no vmlinuz in {}", packages::KERNEL.package))
}

/// The archive, uncompressed: what the guest saves by hashing less of it, it needs to inflate it.
fn archive(paths: &Paths, linux: &Unpacked) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["dev", "proc", "root", "sys", "tmp"]
        .iter()
        .chain(&Userland::FOLDERS)
        .chain(&["lib/modules"])
    {
        archive.directory(folder);
    }
    archive.character_device("dev/console", 5, 1);
    let init = paths.root.join("guest/linux/init");
    let init = fs::read(&init).with_context(|| format!("cannot read {}", init.display()))?;
    archive.file("init", 0o755, &init);
    let mut userland = Userland::new(tpm_tools(paths)?);
    for program in ["busybox", "tpm2"] {
        userland.program(&mut archive, program)?;
    }
    for library in OPENED {
        userland.library(library);
    }
    userland.finish(&mut archive)?;
    for name in MODULES {
        let module = module(&linux.root, name)?;
        archive.file(&format!("lib/modules/{name}.ko"), 0o644, &module);
    }
    for path in modules::built(&modules::obtain(paths, linux)?)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("lib/modules/{name}"), 0o644, &fs::read(&path)?);
    }
    Ok(archive.finish())
}

/// Folders of packages that have busybox, and tpm2-tools with what they need.
pub fn tpm_tools(paths: &Paths) -> Result<Vec<PathBuf>> {
    Ok(vec![
        no_curl(paths)?,
        apt::obtain(paths, &packages::TPM2)?.root,
        apt::obtain(paths, &packages::BUSYBOX)?.root,
    ])
}

/// What makes the vTPM a device of the kernel's, in the order it is loaded: names, and modules.
pub fn vtpm_modules(paths: &Paths, linux: &Unpacked) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = modules::obtain(paths, linux)?;
    let read = |name: &str| {
        let path = folder.join(format!("{name}.ko"));
        let bytes = fs::read(&path).with_context(|| format!("no {}", path.display()))?;
        Ok((name.to_owned(), bytes))
    };
    ["svsm", "tpm_svsm_bus"].into_iter().map(read).collect()
}

/// A folder with a library in libcurl's place, as packages have it.
fn no_curl(paths: &Paths) -> Result<PathBuf> {
    let source = paths.root.join("guest/linux/no-curl");
    let root = paths.cache.join("no-curl");
    let library = root.join("usr/lib/x86_64-linux-gnu/libcurl-gnutls.so.4");
    let time = |path: &Path| path.metadata()?.modified();
    let made = time(&library);
    let fresh =
        |file: &str| matches!((&made, time(&source.join(file))), (Ok(made), Ok(of)) if of <= *made);
    if fresh("curl.c") && fresh("curl.map") {
        return Ok(root);
    }
    host::require(&[packages::COMPILER])?;
    fs::create_dir_all(library.parent().unwrap_or(&root))?;
    process::output(
        Command::new(packages::COMPILER.program)
            .current_dir(&source)
            .args(["-shared", "-fPIC", "-Os", "-nostdlib", "-s"])
            .args(["-Wl,-soname,libcurl-gnutls.so.4", "-Wl,--build-id=none"])
            .args(["-Wl,--version-script=curl.map", "curl.c", "-o"])
            .arg(&library),
    )?;
    Ok(root)
}

/// A module's bytes; Debian has compressed them.
pub fn module(linux: &Path, name: &str) -> Result<Vec<u8>> {
    let plain = format!("{name}.ko");
    let compressed = format!("{name}.ko.xz");
    let path = find(linux, &|file| file == plain || file == compressed)
        .with_context(|| format!("no module {name} in {}", packages::KERNEL.package))?;
    if path.extension().is_some_and(|extension| extension == "ko") {
        return Ok(fs::read(path)?);
    }
    host::require(&[packages::XZ])?;
    let output = Command::new(packages::XZ.program)
        .arg("-dc")
        .arg(&path)
        .output()?;
    ensure!(
        output.status.success(),
        "xz cannot unpack {}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// The first file below `folder`, in the order of names, whose name `wanted` accepts.
pub fn find(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    entries.iter().find_map(|path| {
        if path.is_symlink() {
            None
        } else if path.is_dir() {
            find(path, wanted)
        } else {
            let name = path.file_name()?.to_str()?;
            wanted(name).then(|| path.clone())
        }
    })
}
