//! The machine xtask runs on: programs from packages, installed where xtask may, named where it may not.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::apt;
use crate::packages::Tool;
use crate::process;
use crate::ui::{self, Progress};

const LIMIT: Duration = Duration::from_secs(900);

/// Makes sure that the tools are there: as root on Debian by installing what is missing, else by an error with the
/// one command to run.
pub fn require(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools
        .iter()
        .filter(|tool| !process::exists(tool.program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    if !process::exists("apt-get") {
        let programs: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
        bail!(
            "missing: {}. Install it with your system's package manager (Debian calls the package {})",
            programs.join(", "),
            packages.join(", ")
        );
    }
    if !apt::is_root() {
        bail!(
            "missing: {0}. Run this once, then try again:\n\n    \
             sudo apt-get install --no-install-recommends {0}\n",
            packages.join(" ")
        );
    }
    let progress = Progress::start(format!("installing {}", packages.join(", ")));
    // The lists may be absent (a fresh machine) or stale; an update is tried only when the first try fails.
    if install(&packages, &progress).is_err() {
        let update = process::run(
            Command::new("apt-get").args(["-qq", "update"]),
            LIMIT,
            |_| {},
        )?;
        if !update.status.success() {
            ui::note("apt-get update reported errors; trying to install nevertheless");
        }
        install(&packages, &progress)?;
    }
    progress.done(format!("installed {}", packages.join(", ")));
    Ok(())
}

fn install(packages: &[&str], progress: &Progress) -> Result<()> {
    process::check(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-y", "install", "--no-install-recommends"])
            .args(packages),
        LIMIT,
        |line| progress.detail(line),
    )?;
    Ok(())
}
