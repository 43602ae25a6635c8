//! Trusted keys for Debian's kernel, which has none: Linux's own code for them, unmodified, from the source of the same
//! version, as a module. Everything that it uses is exported, but for an encoder of ASN.1, which comes along.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::apt::{self, Unpacked};
use crate::guest;
use crate::host;
use crate::modules;
use crate::packages;
use crate::paths::Paths;
use crate::process;
use crate::ui::Progress;

/// An archive of 150 MB is read.
const LIMIT: Duration = Duration::from_secs(600);

/// What the module is made of, by its path in the source.
const FILES: [&str; 5] = [
    "security/keys/trusted-keys/trusted_core.c",
    "security/keys/trusted-keys/trusted_tpm1.c",
    "security/keys/trusted-keys/trusted_tpm2.c",
    "security/keys/trusted-keys/tpm2key.asn1",
    "lib/asn1_encoder.c",
];

/// What makes C of ASN.1 on the host, and a header of it.
const COMPILER: [&str; 2] = [
    "scripts/asn1_compiler.c",
    "include/linux/asn1_ber_bytecode.h",
];
/// Needed by the header.
const COMPILER_HEADER: &str = "include/linux/asn1.h";

/// As Linux's own configuration would have it.
const KBUILD: &str = "obj-m := trusted.o
trusted-y := trusted_core.o trusted_tpm1.o trusted_tpm2.o tpm2key.asn1.o asn1_encoder.o
ccflags-y := -DCONFIG_TRUSTED_KEYS_MODULE=1 -DCONFIG_TRUSTED_KEYS_TPM=1
";

/// `trusted.ko` for this kernel, out of the cache or built.
pub fn obtain(paths: &Paths, linux: &Unpacked) -> Result<PathBuf> {
    let source = source(paths, linux)?;
    let mut files = vec![("Kbuild".to_owned(), KBUILD.to_owned())];
    for entry in fs::read_dir(&source)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".c") || name.ends_with(".h") {
            files.push((name.into_owned(), fs::read_to_string(&path)?));
        }
    }
    files.sort();
    Ok(modules::build(paths, linux, "trusted", &files)?.join("trusted.ko"))
}

/// A folder with the source, and with what is generated of it.
fn source(paths: &Paths, linux: &Unpacked) -> Result<PathBuf> {
    let folder = paths.cache.join("modules/trusted-source");
    let record = folder.join("version.txt");
    if fs::read_to_string(&record).is_ok_and(|version| version == linux.version()) {
        return Ok(folder);
    }
    host::require(&[packages::XZ, packages::COMPILER])?;
    let package = apt::obtain(paths, &packages::LINUX_SOURCE)?;
    ensure!(
        package.version() == linux.version(),
        "the kernel is {}, its source {}: remove {} and try again",
        linux.version(),
        package.version(),
        paths.show(&paths.packages())
    );
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let tree = folder.join("tree");
    unpack(&package.root, &tree)?;
    let run = |command: &mut Command| process::check(command, LIMIT, |_| {}).map(|_| ());
    let compiler = folder.join("asn1_compiler");
    run(Command::new(packages::COMPILER.program)
        .args(["-O1", "-I", "include", COMPILER[0], "-o"])
        .arg(&compiler)
        .current_dir(&tree))?;
    run(Command::new(&compiler)
        .arg(FILES[3])
        .args([folder.join("tpm2key.asn1.c"), folder.join("tpm2key.asn1.h")])
        .current_dir(&tree))?;
    for file in FILES.iter().filter(|file| file.ends_with(".c")) {
        let name = Path::new(file).file_name().context("a path has a name")?;
        fs::copy(tree.join(file), folder.join(name))?;
    }
    fs::remove_dir_all(&tree)?;
    fs::write(&record, linux.version())?;
    Ok(folder)
}

/// Unpacks those files of Debian's archive.
fn unpack(root: &Path, tree: &Path) -> Result<()> {
    let archive = guest::find(root, &|name| {
        name.starts_with("linux-source") && name.ends_with(".tar.xz")
    })
    .with_context(|| format!("no archive in {}", packages::LINUX_SOURCE.package))?;
    fs::create_dir_all(tree)?;
    let progress = Progress::start("unpacking Linux's code for trusted keys");
    let members = FILES.iter().chain(&COMPILER).chain([&COMPILER_HEADER]);
    process::check(
        Command::new("tar")
            .args(["-x", "--strip-components=1", "--wildcards", "-C"])
            .arg(tree)
            .arg("-f")
            .arg(archive)
            .args(members.map(|member| format!("linux-source-*/{member}"))),
        LIMIT,
        |_| {},
    )?;
    progress.quiet();
    Ok(())
}
