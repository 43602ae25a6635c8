//! The flows of `tests/tpm/flows`, unchanged, in a Linux guest, through the kernel's resource manager. All of them in one
//! boot: here is which of them cannot run there and why; tests/vtpm/init runs them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::apt;
use crate::cpio::Archive;
use crate::guest;
use crate::packages;
use crate::paths::Paths;
use crate::report;
use crate::test::tpm::{self, Flow};
use crate::userland::Userland;
use crate::watch::{End, Outcome};

/// What tpm2-tools open by themselves: the guest's TPM, and a second one beside it.
const OPENED: [&str; 2] = ["libtss2-tcti-device.so.0", "libtss2-tcti-mssim.so.0"];

/// Counts the random numbers that are asked for; libtss2's way to a device asks for one when it opens it, to see whether
/// responses can be read in parts.
const COUNTS_RANDOM: &str = "commandaudit";

/// Flows that are left to the long test: those that start more than 62 programs. One takes a quarter of a second of a processor
/// in two levels of emulation, most of it in the dynamic linker; making RSA keys is little beside it.
const LONG: [&str; 19] = [
    "contexts",
    "create",
    "credential",
    "duplicate",
    "encryptdecrypt",
    "nv-ordinary",
    "nv-pin",
    "nv-policy",
    "policy-authorize",
    "policy-nv",
    "policy-or",
    "policy-pcr",
    "policy-signed",
    "policy-ticket",
    "rsa-encrypt",
    "seeds",
    "sessions",
    "sign-ecc",
    "sign-rsa",
];

/// What is to become of a flow in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Runs on this device.
    Run(&'static str),
    /// Does not, for this reason.
    Skip(&'static str),
}

/// The exceptions, each with its reason.
fn fate(flow: &Flow, long: bool) -> Fate {
    if flow.needs("reset") {
        Fate::Skip("it cycles the TPM's power, and this one's is the machine's")
    } else if flow.name == COUNTS_RANDOM {
        Fate::Skip("it audits GetRandom, which libtss2 sends to every device that it opens")
    } else if !long && LONG.contains(&flow.name.as_str()) {
        Fate::Skip("it takes long in two levels of emulation; `--long` has it")
    } else if flow.needs("raw") {
        // What a resource manager hides is what the flow is about.
        Fate::Run("/dev/tpm0")
    } else {
        Fate::Run("/dev/tpmrm0")
    }
}

/// What comes of all flows, in the order they are run.
pub struct Plan {
    fates: Vec<(Flow, Fate)>,
}

impl Plan {
    /// For the flows of the checkout.
    pub fn new(paths: &Paths, long: bool) -> Result<Plan> {
        let mut fates: Vec<(Flow, Fate)> = tpm::flows(&paths.root.join(tpm::FLOWS))?
            .into_iter()
            .map(|flow| {
                let fate = fate(&flow, long);
                (flow, fate)
            })
            .collect();
        // What leaves the TPM unusable for others comes last; what it finds there does not matter to any.
        fates.sort_by_key(|(flow, _)| flow.needs("fresh"));
        Ok(Plan { fates })
    }

    /// As the guest reads it.
    fn text(&self) -> String {
        self.fates
            .iter()
            .map(|(flow, fate)| match fate {
                Fate::Run(device) => format!("run {} {device}\n", flow.name),
                Fate::Skip(reason) => format!("skip {} {reason}\n", flow.name),
            })
            .collect()
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.fates
            .iter()
            .filter(|(_, fate)| matches!(fate, Fate::Run(_)))
            .count()
    }

    /// What a guest runs.
    pub fn contents(&self, paths: &Paths) -> Contents {
        let scripts = self
            .fates
            .iter()
            .filter(|(_, fate)| matches!(fate, Fate::Run(_)))
            .map(|(flow, _)| flow.script.clone());
        Contents {
            plan: self.text(),
            scripts: scripts
                .chain([paths.root.join(tpm::FLOWS).join("lib.sh")])
                .collect(),
        }
    }

    /// Every flow must have had its fate. What is said of the run.
    pub fn check(&self, paths: &Paths, outcome: &Outcome) -> Result<String> {
        passed(paths, outcome)?;
        let log = paths.show(&outcome.serial_log);
        let said = |text: &str| outcome.lines.iter().any(|line| line.text.starts_with(text));
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for (flow, fate) in &self.fates {
            let line = match fate {
                Fate::Run(_) => format!("vtpm-flows: ok {} (", flow.name),
                Fate::Skip(reason) => {
                    match reasons.iter_mut().find(|(known, _)| known == reason) {
                        Some((_, count)) => *count += 1,
                        None => reasons.push((reason, 1)),
                    }
                    format!("vtpm-flows: skip {}: {reason}", flow.name)
                }
            };
            ensure!(said(&line), "the guest does not say {line:?} ({log})");
        }
        ensure!(
            said("vtpm-flows: ok long-keys ("),
            "the guest has made no RSA-3072 keys ({log})"
        );
        let mut remark = format!("{} flows", self.running());
        for (reason, count) in reasons {
            remark.push_str(&format!("; {count} not run: {reason}"));
        }
        Ok(remark)
    }
}

/// The guest must have come to an end, and nothing have failed.
pub fn passed(paths: &Paths, outcome: &Outcome) -> Result<()> {
    let log = paths.show(&outcome.serial_log);
    let texts: Vec<&str> = outcome.texts().collect();
    if outcome.end != End::Status(0) {
        let last = texts.iter().rfind(|text| text.starts_with("vtpm-flows:"));
        bail!(
            "the guest ended as {:?} after {last:?}; {}",
            outcome.end,
            report::explanation(paths, outcome, "it did not power off")
        );
    }
    let failed: Vec<String> = texts
        .iter()
        .enumerate()
        .filter(|(_, text)| text.starts_with("vtpm-flows: FAIL"))
        .map(|(at, _)| texts[at..texts.len().min(at + 19)].join("\n"))
        .collect();
    if !failed.is_empty() {
        bail!("{} failed ({log})\n{}", failed.len(), failed.join("\n"));
    }
    Ok(())
}

/// What tests/vtpm/init runs.
pub struct Contents {
    /// In which order, and how.
    pub plan: String,
    /// All that is named there.
    pub scripts: Vec<PathBuf>,
}

impl Contents {
    /// The initial RAM disk: busybox, tpm2-tools, openssl, a program that is another TPM, and modules in the order in which
    /// they are loaded.
    pub fn initrd(
        &self,
        paths: &Paths,
        name: &str,
        server: Option<&Path>,
        modules: &[(String, Vec<u8>)],
    ) -> Result<PathBuf> {
        let tools = guest::tpm_tools(paths)?;
        let openssl = apt::obtain(paths, &packages::OPENSSL)?.root;
        let mut archive = Archive::default();
        let folders = [
            "dev",
            "flows",
            "proc",
            "sys",
            "tmp",
            "usr",
            "usr/lib",
            "usr/lib/ssl",
        ];
        for folder in folders.iter().chain(&Userland::FOLDERS) {
            archive.directory(folder);
        }
        archive.directory("lib/modules");
        archive.character_device("dev/console", 5, 1);
        archive.file(
            "init",
            0o755,
            &fs::read(paths.root.join("tests/vtpm/init"))?,
        );
        archive.file("flows/plan", 0o644, self.plan.as_bytes());
        for script in &self.scripts {
            let name = script.file_name().unwrap_or_default().to_string_lossy();
            archive.file(&format!("flows/{name}"), 0o644, &fs::read(script)?);
        }
        let configuration = fs::read(openssl.join("etc/ssl/openssl.cnf"))?;
        archive.file("usr/lib/ssl/openssl.cnf", 0o644, &configuration);
        for tool in tpm2_tools(&tools)? {
            archive.link(&format!("bin/{tool}"), "tpm2");
        }
        let mut order = String::new();
        for (module, bytes) in modules {
            order.push_str(&format!("{module}\n"));
            archive.file(&format!("lib/modules/{module}.ko"), 0o644, bytes);
        }
        archive.file("lib/modules/order", 0o644, order.as_bytes());
        let mut roots = tools;
        roots.push(openssl);
        let mut userland = Userland::new(roots);
        for program in ["busybox", "tpm2", "openssl"] {
            userland.program(&mut archive, program)?;
        }
        if let Some(server) = server {
            userland.own_program(&mut archive, server)?;
        }
        for library in OPENED {
            userland.library(library);
        }
        userland.finish(&mut archive)?;
        let initrd = paths.images().join(format!("{name}.cpio"));
        fs::create_dir_all(paths.images())?;
        fs::write(&initrd, archive.finish())?;
        Ok(initrd)
    }
}

/// The names that the one program of tpm2-tools has.
fn tpm2_tools(roots: &[PathBuf]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for root in roots {
        let Ok(entries) = fs::read_dir(root.join("usr/bin")) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if fs::read_link(&path).is_ok_and(|target| target == Path::new("tpm2")) {
                names.extend(
                    path.file_name()
                        .map(|name| name.to_string_lossy().into_owned()),
                );
            }
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "no links to tpm2 in its package");
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the project promises of the flows in a guest.
    #[test]
    fn at_least_forty_run_in_the_short_test() {
        let paths = Paths::find().unwrap();
        assert!(Plan::new(&paths, false).unwrap().running() >= 40);
    }
}
