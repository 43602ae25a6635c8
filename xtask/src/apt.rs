//! Packages of any Debian suite without touching the machine's own package state: an apt configuration of our own,
//! made from the mirror that the machine's sources name, verified with Debian's keyring, unpacked into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::packages::{Bundle, KEYRING, Upgrade, Version};
use crate::paths::Paths;
use crate::process;
use crate::suite::{Suite, is_upstream, parse_plan};

/// Name of the file that marks a bundle as complete and lists what is in it.
pub const MANIFEST: &str = "manifest.txt";

/// A bundle in the cache.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// Where its files are, as below `/`.
    pub root: PathBuf,
    /// Packages and versions, one a line.
    pub manifest: String,
}

impl Unpacked {
    /// The version of the bundle's own package, the first in its manifest.
    pub fn version(&self) -> &str {
        self.manifest
            .lines()
            .next()
            .and_then(|line| line.split_whitespace().nth(1))
            .unwrap_or("unknown")
    }
}

/// The bundle out of the cache, or fetched into it.
pub fn obtain(paths: &Paths, bundle: &Bundle) -> Result<Unpacked> {
    if let Some(unpacked) = cached(paths, bundle) {
        return Ok(unpacked);
    }
    fetch(paths, bundle).with_context(|| format!("cannot fetch {}", bundle.package))
}

/// The bundle, if a complete one is in the cache.
fn cached(paths: &Paths, bundle: &Bundle) -> Option<Unpacked> {
    let folder = paths.packages().join(bundle.name);
    let manifest = fs::read_to_string(folder.join(MANIFEST)).ok()?;
    let unpacked = Unpacked {
        root: folder.join("root"),
        manifest,
    };
    let has = |package: &&str| {
        let mut names = unpacked.manifest.lines().map(|line| line.split(' ').next());
        names.any(|name| name == Some(*package))
    };
    if !bundle.with.iter().all(has) {
        return None;
    }
    match bundle.version {
        Version::Upstream(wanted) if !is_upstream(unpacked.version(), wanted) => None,
        _ => Some(unpacked),
    }
}

/// Whether this machine has what is needed to fetch packages.
pub fn available() -> bool {
    process::exists("apt-get") && process::exists("dpkg") && Path::new(KEYRING).is_file()
}

/// The package with all that it needs and this machine has not, out of the cache or fetched into it.
pub fn obtain_upgrade(paths: &Paths, upgrade: &Upgrade) -> Result<Unpacked> {
    let folder = paths.packages().join(upgrade.name);
    if let Ok(manifest) = fs::read_to_string(folder.join(MANIFEST)) {
        return Ok(Unpacked {
            root: folder.join("root"),
            manifest,
        });
    }
    ensure!(
        available(),
        "this needs apt-get, dpkg and Debian's keyring ({KEYRING})"
    );
    let mirror = mirrors()?.swap_remove(0);
    let suite = Suite::open(paths, &mirror, upgrade.suites)?;
    let preferred = upgrade.suites.last().context("no suite is named")?;
    let plan = process::output(
        suite
            .command("apt-get")
            // Here what is installed does count: it is what the package will run with.
            .args(["-o", "Dir::State::status=/var/lib/dpkg/status"])
            .args(["--simulate", "install", "--no-install-recommends", "-t"])
            .args([preferred, upgrade.package]),
    )?;
    let mut packages = parse_plan(&plan);
    packages.sort_by_key(|(name, _)| name != upgrade.package);
    ensure!(
        packages
            .first()
            .is_some_and(|(name, _)| name == upgrade.package),
        "{preferred} has no {} newer than the installed one",
        upgrade.package
    );
    suite.unpack_into(&folder, &packages)
}

fn fetch(paths: &Paths, bundle: &Bundle) -> Result<Unpacked> {
    ensure!(
        available(),
        "this needs apt-get, dpkg and Debian's keyring ({KEYRING})"
    );
    let mut reasons = Vec::new();
    for mirror in mirrors()? {
        for suite in bundle.suites {
            match Suite::open(paths, &mirror, &[suite]).and_then(|suite| {
                let packages = suite.resolve(bundle)?;
                suite.unpack(paths, bundle, &packages)
            }) {
                Ok(unpacked) => return Ok(unpacked),
                Err(error) => reasons.push(format!("  {suite}: {error:#}")),
            }
        }
    }
    bail!("no suite has it:\n{}", reasons.join("\n"))
}

/// What the machine's own sources name: base address and suite of each. apt reads the sources for us, in whichever
/// format they are; it needs neither root nor package lists for that.
fn sources() -> Result<Vec<(String, String)>> {
    let listing = process::output(Command::new("apt-get").args(["--print-uris", "update"]))?;
    Ok(listing
        .lines()
        .filter_map(|line| line.strip_prefix('\'')?.split_once('\''))
        .filter_map(|(uri, _)| uri.strip_suffix("/InRelease")?.split_once("/dists/"))
        .map(|(base, suite)| (base.to_owned(), suite.to_owned()))
        .collect())
}

/// Base addresses of Debian's archive in the machine's own sources, or all there are if none is plainly it.
fn mirrors() -> Result<Vec<String>> {
    let sources = sources()?;
    // Debian's main archive has SUITE and SUITE-updates side by side; a vendor's repository has not.
    let is_main = |base: &str| {
        sources
            .iter()
            .any(|(other, suite)| other == base && suite.ends_with("-updates"))
    };
    let any_main = sources.iter().any(|(base, _)| is_main(base));
    let mut bases: Vec<String> = Vec::new();
    for (base, _) in &sources {
        if is_main(base) == any_main && !bases.contains(base) {
            bases.push(base.clone());
        }
    }
    ensure!(
        !bases.is_empty(),
        "the machine's apt sources name no archive"
    );
    Ok(bases)
}

/// Names of the hosts that the machine's own sources name; none where there is no apt.
pub fn hosts() -> Vec<String> {
    let mut hosts: Vec<String> = sources()
        .unwrap_or_default()
        .iter()
        .filter_map(|(base, _)| base.split("://").nth(1)?.split(['/', ':']).next())
        .filter(|host| host.contains('.'))
        .map(str::to_owned)
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// Whether packages can be installed.
pub fn is_root() -> bool {
    process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
