//! Which QEMU: the installed one, one that is named, or one newer than Debian 12's; and what it knows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::{apt, host, packages, process};

/// The word for [`newer`] in place of a path.
pub const NEWER: &str = "newer";

/// Time for a QEMU that only says what it knows.
const LIMIT: Duration = Duration::from_secs(30);

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
    let text = process::output(Command::new(qemu).arg("--version"))?;
    text.split("version ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
        .with_context(|| format!("{} is no QEMU: it says {text:?}", qemu.display()))
}

/// Whether QEMU loads IGVM files by itself, which is a choice at its build (from 10.1 on).
pub fn loads_igvm(qemu: &Path) -> Result<bool> {
    let text = process::check(Command::new(qemu).args(["-object", "help"]), LIMIT, |_| {})?;
    Ok(knows_igvm(&text.stdout))
}

/// Reads the answer to `-object help`: a name a line.
fn knows_igvm(objects: &str) -> bool {
    objects
        .lines()
        .any(|line| line.trim() == super::flags::IGVM_OBJECT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qemu_that_knows_igvm_files_lists_their_object() {
        let old = "List of user creatable objects:\n  authz-list\n  can-bus\n  iothread\n";
        assert!(!knows_igvm(old));
        assert!(knows_igvm(&format!("{old}  igvm-cfg\n  rng-random\n")));
        assert!(!knows_igvm(&format!("{old}  igvm-cfg-other\n")));
    }
}
