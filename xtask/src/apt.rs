//! Packages of any Debian suite without touching the machine's own package state: an apt configuration of our own,
//! made from the mirror that the machine's sources name, verified with Debian's keyring, unpacked into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::packages::{Bundle, KEYRING, Upgrade, Version};
use crate::paths::Paths;
use crate::process;
use crate::ui::Progress;

/// One network step. apt has limits of its own per connection; this one is for all of it.
const LIMIT: Duration = Duration::from_secs(600);

/// Name of the file that marks a bundle as complete and lists what is in it.
const MANIFEST: &str = "manifest.txt";

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
pub fn cached(paths: &Paths, bundle: &Bundle) -> Option<Unpacked> {
    let folder = paths.packages().join(bundle.name);
    let manifest = fs::read_to_string(folder.join(MANIFEST)).ok()?;
    let unpacked = Unpacked {
        root: folder.join("root"),
        manifest,
    };
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

/// One or more suites of one mirror, their package lists fetched.
struct Suite {
    options: Vec<String>,
}

impl Suite {
    fn open(paths: &Paths, mirror: &str, names: &[&str]) -> Result<Suite> {
        let name = names.join("+");
        let folder = paths.cache.join("apt").join(&name);
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let sources = folder.join("sources.list");
        let list: String = names
            .iter()
            .map(|name| format!("deb [signed-by={KEYRING}] {mirror} {name} main\n"))
            .collect();
        fs::write(&sources, list)?;
        let folder = folder.display();
        let mut options = vec![
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=/dev/null".into(),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            // What is installed has no say in what is fetched.
            "Dir::State::status=/dev/null".into(),
            "APT::Architecture=amd64".into(),
            "APT::Architectures::=amd64".into(),
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "APT::Get::List-Cleanup=false".into(),
            // Without network the answer is wanted soon, and as an error.
            "APT::Update::Error-Mode=any".into(),
            "Acquire::Retries=1".into(),
            "Acquire::http::Timeout=20".into(),
            "Acquire::https::Timeout=20".into(),
        ];
        if is_root() {
            // Root's cache need not be readable by apt's download user.
            options.push("APT::Sandbox::User=root".into());
        }
        let suite = Suite { options };
        let progress = Progress::start(format!("reading the package lists of {name}"));
        process::check(
            suite
                .command("apt-get")
                .args(["-qq", "-o", "APT::Status-Fd=1", "update"]),
            LIMIT,
            |line| show_percent(&progress, line),
        )?;
        progress.quiet();
        Ok(suite)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }

    /// The bundle's packages with their versions, its own first.
    fn resolve(&self, bundle: &Bundle) -> Result<Vec<(String, String)>> {
        let listing = process::output(self.command("apt-cache").args(["madison", bundle.package]))?;
        let offered: Vec<&str> = listing
            .lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(str::trim)
            .collect();
        // apt lists the newest first.
        let version = offered
            .iter()
            .find(|version| match bundle.version {
                Version::Newest => true,
                Version::Upstream(wanted) => is_upstream(version, wanted),
            })
            .with_context(|| match bundle.version {
                Version::Newest => "not there".to_owned(),
                Version::Upstream(wanted) => {
                    format!("wanted version {wanted}, offered [{}]", offered.join(", "))
                }
            })?;
        let mut packages = vec![(bundle.package.to_owned(), (*version).to_owned())];
        let mut next = 0;
        while next < packages.len() {
            for dependency in self.dependencies(&packages[next])? {
                let wanted = bundle
                    .follow
                    .iter()
                    .any(|prefix| dependency.0.starts_with(prefix));
                if wanted && !packages.iter().any(|known| known.0 == dependency.0) {
                    packages.push(dependency);
                }
            }
            next += 1;
        }
        Ok(packages)
    }

    /// Dependencies with exact versions where the package demands them, else the newest.
    fn dependencies(&self, package: &(String, String)) -> Result<Vec<(String, String)>> {
        let record = process::output(
            self.command("apt-cache")
                .args(["show", &format!("{}={}", package.0, package.1)]),
        )?;
        Ok(parse_dependencies(&record))
    }

    fn unpack(
        &self,
        paths: &Paths,
        bundle: &Bundle,
        packages: &[(String, String)],
    ) -> Result<Unpacked> {
        self.unpack_into(&paths.packages().join(bundle.name), packages)
    }

    /// Fetches packages, the first being what it is all for, and unpacks them below `folder`.
    fn unpack_into(&self, folder: &Path, packages: &[(String, String)]) -> Result<Unpacked> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let root = folder.join("root");
        fs::create_dir_all(&root)?;
        let (name, version) = packages.first().context("nothing to fetch")?;
        let progress = Progress::start(format!("fetching {name} {version}"));
        let wanted = packages.iter().map(|(name, version)| {
            if version.is_empty() {
                name.clone()
            } else {
                format!("{name}={version}")
            }
        });
        process::check(
            self.command("apt-get")
                .args(["-qq", "-o", "APT::Status-Fd=1", "download"])
                .args(wanted)
                .current_dir(folder),
            LIMIT,
            |line| show_percent(&progress, line),
        )?;
        let mut bytes = 0;
        for entry in fs::read_dir(folder)? {
            let deb = entry?.path();
            if deb.extension().is_some_and(|extension| extension == "deb") {
                bytes += deb.metadata()?.len();
                process::check(
                    Command::new("dpkg").arg("-x").arg(&deb).arg(&root),
                    LIMIT,
                    |_| {},
                )?;
                fs::remove_file(&deb)?;
            }
        }
        let manifest: String = packages
            .iter()
            .map(|(name, version)| format!("{name} {version}\n"))
            .collect();
        // Last, because its presence says that all is there.
        fs::write(folder.join(MANIFEST), &manifest)?;
        progress.done(format!(
            "fetched {name} {version}, {:.1} MB",
            bytes as f64 / 1e6
        ));
        Ok(Unpacked { root, manifest })
    }
}

/// `Inst NAME [OLD] (NEW SUITE [ARCHITECTURE])`, as apt-get lists what it would install.
fn parse_plan(plan: &str) -> Vec<(String, String)> {
    plan.lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("Inst ")?;
            let name = rest.split_whitespace().next()?;
            let version = rest.split_once('(')?.1.split_whitespace().next()?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// Whether Debian's `version` packages the upstream release `wanted`.
fn is_upstream(version: &str, wanted: &str) -> bool {
    version
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.starts_with(['+', '-', '~']))
}

/// `Depends:` of a package record: names, with the version where it is an exact one.
fn parse_dependencies(record: &str) -> Vec<(String, String)> {
    record
        .lines()
        .filter_map(|line| line.strip_prefix("Depends: "))
        .flat_map(|line| line.split(", "))
        .filter_map(|item| {
            let first = item.split('|').next()?.trim();
            let name = first.split([' ', ':']).next()?;
            let version = first
                .split_once("(= ")
                .and_then(|(_, rest)| rest.strip_suffix(')'))
                .unwrap_or_default();
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// `dlstatus:FILE:PERCENT:TEXT`, as apt reports on its status descriptor.
fn show_percent(progress: &Progress, line: &str) {
    let percent = line
        .strip_prefix("dlstatus:")
        .and_then(|rest| rest.split(':').nth(1))
        .and_then(|percent| percent.parse().ok());
    if let Some(percent) = percent {
        progress.percent(percent);
    }
}

/// Whether packages can be installed.
pub fn is_root() -> bool {
    process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debian_version_is_matched_by_its_upstream_part() {
        assert!(is_upstream("1.95.0+dfsg1-2~bpo13+1", "1.95.0"));
        assert!(is_upstream("1.95.0-1", "1.95.0"));
        assert!(!is_upstream("1.95.01-1", "1.95.0"));
        assert!(!is_upstream("1.96.1+dfsg1-2", "1.95.0"));
    }

    #[test]
    fn a_plan_names_what_would_be_installed() {
        let plan = "Reading state...\nInst a [1.0] (2.0-1 Debian:12 [amd64]) []\nInst b (3 X [all])\nConf a (2.0-1)\n";
        let expected = [("a", "2.0-1"), ("b", "3")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()));
        assert_eq!(parse_plan(plan), expected);
    }

    #[test]
    fn dependencies_keep_exact_versions_only() {
        let record =
            "Package: a\nDepends: b (= 1.2-3), c (>= 4) | d, e:any, f\nSuggests: g (= 1)\n";
        let expected = [("b", "1.2-3"), ("c", ""), ("e", ""), ("f", "")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()));
        assert_eq!(parse_dependencies(record), expected);
    }
}
