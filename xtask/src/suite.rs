//! Suites of a Debian archive by an apt configuration of their own: package lists, versions, downloads.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::apt::{MANIFEST, Unpacked, is_root};
use crate::packages::{Bundle, KEYRING, Version};
use crate::paths::Paths;
use crate::process;
use crate::ui::Progress;

/// One network step. apt has limits of its own per connection; this one is for all of it.
const LIMIT: Duration = Duration::from_secs(600);

/// One or more suites of one mirror, their package lists fetched.
pub struct Suite {
    options: Vec<String>,
}

impl Suite {
    /// Fetches the package lists of suites `names` at `mirror`.
    pub fn open(paths: &Paths, mirror: &str, names: &[&str]) -> Result<Suite> {
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
        transfer(
            suite
                .command("apt-get")
                .args(["-qq", "-o", "APT::Status-Fd=1", "update"]),
            &progress,
        )?;
        progress.quiet();
        Ok(suite)
    }

    /// An apt program with this configuration.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }

    /// The bundle's packages with their versions, its own first.
    pub fn resolve(&self, bundle: &Bundle) -> Result<Vec<(String, String)>> {
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
        let mut packages: Vec<(String, String)> = [bundle.package]
            .iter()
            .chain(bundle.with)
            .map(|name| ((*name).to_owned(), (*version).to_owned()))
            .collect();
        // In rounds: each start of apt-cache takes longer than what it is asked for.
        let mut next = 0;
        while next < packages.len() {
            let round = next..packages.len();
            next = round.end;
            for dependency in self.dependencies(&packages[round])? {
                let wanted = bundle
                    .follow
                    .iter()
                    .any(|prefix| dependency.0.starts_with(prefix));
                if wanted && !packages.iter().any(|known| known.0 == dependency.0) {
                    packages.push(dependency);
                }
            }
        }
        Ok(packages)
    }

    /// Dependencies with exact versions where the packages demand them, else the newest.
    fn dependencies(&self, packages: &[(String, String)]) -> Result<Vec<(String, String)>> {
        let records = process::output(
            self.command("apt-cache")
                .args(["show", "--no-all-versions"])
                .args(packages.iter().map(name_and_version)),
        )?;
        Ok(parse_dependencies(&records))
    }

    /// Fetches a bundle's packages and unpacks them in the cache.
    pub fn unpack(
        &self,
        paths: &Paths,
        bundle: &Bundle,
        packages: &[(String, String)],
    ) -> Result<Unpacked> {
        self.unpack_into(&paths.packages().join(bundle.name), packages)
    }

    /// Fetches packages, the first being what it is all for, and unpacks them below `folder`.
    pub fn unpack_into(&self, folder: &Path, packages: &[(String, String)]) -> Result<Unpacked> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        let root = folder.join("root");
        fs::create_dir_all(&root)?;
        let (name, version) = packages.first().context("nothing to fetch")?;
        let progress = Progress::start(format!("fetching {name} {version}"));
        transfer(
            self.command("apt-get")
                .args(["-qq", "-o", "APT::Status-Fd=1", "download"])
                .args(packages.iter().map(name_and_version))
                .current_dir(folder),
            &progress,
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

/// As apt's programs want it; without version it is the newest.
fn name_and_version((name, version): &(String, String)) -> String {
    if version.is_empty() {
        name.clone()
    } else {
        format!("{name}={version}")
    }
}

/// `Inst NAME [OLD] (NEW SUITE [ARCHITECTURE])`, as apt-get lists what it would install.
pub fn parse_plan(plan: &str) -> Vec<(String, String)> {
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
pub fn is_upstream(version: &str, wanted: &str) -> bool {
    version
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.starts_with(['+', '-', '~']))
}

/// `Depends:` and `Pre-Depends:` of package records: names, with the version where it is an exact one.
fn parse_dependencies(records: &str) -> Vec<(String, String)> {
    records
        .lines()
        .filter_map(|line| {
            line.strip_prefix("Pre-")
                .unwrap_or(line)
                .strip_prefix("Depends: ")
        })
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

/// Runs an apt command that fetches something, with progress; an error is what apt itself calls one.
fn transfer(command: &mut Command, progress: &Progress) -> Result<()> {
    let finished = process::run(command, LIMIT, |line| show_percent(progress, line))?;
    if finished.status.success() {
        return Ok(());
    }
    let errors: Vec<&str> = finished
        .all
        .lines()
        .filter_map(|line| line.strip_prefix("E: "))
        .collect();
    bail!("apt-get: {}", errors.join("; "))
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
        let record = "Package: a\nPre-Depends: x (>= 1)\nDepends: b (= 1.2-3), c (>= 4) | d, e:any, f\nSuggests: g (= 1)\n";
        let expected = [("x", ""), ("b", "1.2-3"), ("c", ""), ("e", ""), ("f", "")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()));
        assert_eq!(parse_dependencies(record), expected);
    }
}
