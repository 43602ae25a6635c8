//! The Linux guest: Debian's kernel out of its package, and an initial RAM disk of busybox, our init and the kernel's
//! modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt;
use crate::cpio::Archive;
use crate::host;
use crate::packages;
use crate::paths::Paths;

/// Modules for the guest, in the order they are loaded.
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
    let busybox = apt::obtain(paths, &packages::BUSYBOX)?;
    let initrd = paths.images().join("initrd.cpio");
    let bytes = archive(paths, &linux.root, &busybox.root)?;
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

/// The archive, uncompressed: two megabytes cost the guest less time to hash than one costs to inflate.
fn archive(paths: &Paths, linux: &Path, busybox: &Path) -> Result<Vec<u8>> {
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let program = find(busybox, &|name| name == "busybox")
        .with_context(|| format!("no busybox in {}", packages::BUSYBOX.package))?;
    let mut archive = Archive::default();
    for folder in [
        "bin",
        "dev",
        "lib",
        "lib/modules",
        "proc",
        "root",
        "sys",
        "tmp",
    ] {
        archive.directory(folder);
    }
    archive.character_device("dev/console", 5, 1);
    archive.file("bin/busybox", 0o755, &read(&program)?);
    archive.file("init", 0o755, &read(&paths.root.join("guest/linux/init"))?);
    for name in MODULES {
        let module = module(linux, name)?;
        archive.file(&format!("lib/modules/{name}.ko"), 0o644, &module);
    }
    Ok(archive.finish())
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
