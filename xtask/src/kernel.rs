//! A kernel of our own making, from Debian's source: no kernel of Debian's has trusted keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::apt;
use crate::guest;
use crate::host;
use crate::packages;
use crate::paths::Paths;
use crate::process;
use crate::ui::Progress;

/// What is in it.
const CONFIG: &str = "tests/tpm/guest/kernel.config";

/// Five minutes of two processors; more where they are shared.
const LIMIT: Duration = Duration::from_secs(3600);

/// Source that nothing here is made of, and that is most of it. What its build asks of it is only its Kconfig files.
const LEFT_OUT: [&str; 3] = ["drivers/gpu", "drivers/net", "drivers/media"];

/// The bzImage of tests/tpm/guest/kernel.config, out of the cache or made.
pub fn obtain(paths: &Paths) -> Result<PathBuf> {
    let source = apt::obtain(paths, &packages::LINUX_SOURCE)?;
    let config = paths.root.join(CONFIG);
    let wanted = fs::read_to_string(&config)?;
    let kernel = paths.images().join("vmlinuz-tpm");
    let record = paths.images().join("vmlinuz-tpm.txt");
    let made_of = format!("{}\n{wanted}", source.version());
    if kernel.is_file() && fs::read_to_string(&record).is_ok_and(|old| old == made_of) {
        return Ok(kernel);
    }
    host::require(&packages::KERNEL_TOOLS)?;
    let folder = paths.cache.join("linux-build");
    let progress = Progress::start(format!("building Linux {}", source.version()));
    unpack(&source.root, &folder)?;
    let make = |what: &str| {
        process::check(
            Command::new("make")
                .arg("-C")
                .arg(&folder)
                .arg(format!("-j{}", std::thread::available_parallelism()?))
                .arg(format!("KCONFIG_ALLCONFIG={}", config.display()))
                .arg(what),
            LIMIT,
            |line| progress.detail(line),
        )
    };
    make("allnoconfig")?;
    // Kconfig drops without a word what depends on something that is not there.
    let all = fs::read_to_string(folder.join(".config"))?;
    let has = |line: &str| all.lines().any(|other| other == line);
    for line in wanted.lines().filter(|line| line.starts_with("CONFIG_")) {
        ensure!(has(line), "{CONFIG}: this kernel cannot have {line}");
    }
    make("bzImage")?;
    fs::create_dir_all(paths.images())?;
    fs::copy(folder.join("arch/x86/boot/bzImage"), &kernel)?;
    fs::write(&record, made_of)?;
    fs::remove_dir_all(&folder)?;
    progress.done(format!("built Linux {}", source.version()));
    Ok(kernel)
}

/// Debian packs the source as an archive in the package.
fn unpack(root: &Path, folder: &Path) -> Result<()> {
    let archive = guest::find(root, &|name| {
        name.starts_with("linux-source") && name.ends_with(".tar.xz")
    })
    .with_context(|| format!("no archive in {}", packages::LINUX_SOURCE.package))?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "--strip-components=1", "-C"])
        .arg(folder)
        .arg("-f")
        .arg(archive);
    for part in LEFT_OUT {
        tar.arg(format!("--exclude=*/{part}/*/*.[ch]"));
    }
    process::check(&mut tar, LIMIT, |_| {})?;
    Ok(())
}
