//! Linux with the vTPM of the SVSM: strangers' tests in a guest.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::apt;
use crate::build::{self, Image, LinuxFiles};
use crate::compile::{self, Program};
use crate::guest;
use crate::monitor::Dump;
use crate::packages;
use crate::paths::Paths;
use crate::qemu::{self, Machine};
use crate::run;
use crate::test::runner::{Step, Verdict};
use crate::test::secrets;
use crate::test::stage::Stage;
use crate::test::tpm::TpmOptions;
use crate::test::tpm_guest::{self, More, Server};
use crate::test::vtpm_flows::{self, Contents, Plan};
use crate::test::vtpm_selftests;
use crate::watch::Watch;

/// What Linux must claim of its vTPM besides what it claims of every TPM.
const CLAIMS: [&str; 7] = [
    "Linux's test_smoke.sh",
    "Linux's test_space.sh",
    "Linux's test_async.sh",
    "sealing with salted, encrypting session",
    "systemd-creds",
    "systemd-cryptenroll",
    "systemd-cryptenroll with PIN",
];

/// All of them.
pub fn steps<'a>(
    paths: &'a Paths,
    stage: &'a Stage,
    tpm: &'a TpmOptions,
    long: bool,
) -> Vec<Step<'a>> {
    let guest = VtpmGuest { paths, stage, tpm };
    let mut steps = vec![
        Step::new("vTPM guest, flows", move |_| guest.flows(long)),
        Step::new("vTPM guest, secrets", move |_| guest.secrets()),
        Step::new("vTPM guest, Linux", move |_| guest.linux()),
    ];
    if long {
        steps.push(Step::new("TPM guest, flows", move |_| guest.plain_flows()));
    }
    steps
}

#[derive(Clone, Copy)]
struct VtpmGuest<'a> {
    paths: &'a Paths,
    stage: &'a Stage,
    tpm: &'a TpmOptions,
}

impl VtpmGuest<'_> {
    /// The flows without an SVSM: what fails here is not the vTPM's fault.
    fn plain_flows(&self) -> Result<Verdict> {
        let plan = Plan::new(self.paths, true)?;
        let (kernel, initrd) = {
            let _lock = self.paths.lock()?;
            let linux = apt::obtain(self.paths, &packages::KERNEL)?.root;
            let second = self.second()?;
            let initrd =
                plan.contents(self.paths)
                    .initrd(self.paths, "plain-flows", Some(&second), &[])?;
            (guest::kernel(&linux)?, initrd)
        };
        let server = Server::new(&self.tpm.program(self.paths)?)?;
        let running = server.start()?;
        let machine = Machine::new(
            Stage::need(&self.stage.qemu)?.clone(),
            qemu::Payload::Plain {
                kernel,
                initrd,
                command_line: guest::COMMAND_LINE.to_owned(),
                tpm: Some(qemu::Tpm {
                    control: running.control.clone(),
                    device: "tpm-crb",
                }),
            },
            (2, 1024),
        );
        let outcome = machine.run(self.paths, &watch("plain-flows", 900))?;
        Ok(Verdict::Passed(plan.check(self.paths, &outcome)?))
    }

    /// The flows on the vTPM.
    fn flows(&self, long: bool) -> Result<Verdict> {
        let plan = Plan::new(self.paths, long)?;
        compile::bare_metal(self.paths, Program::LINUX)?;
        let (kernel, initrd) = {
            let _lock = self.paths.lock()?;
            let linux = apt::obtain(self.paths, &packages::KERNEL)?;
            let modules = guest::vtpm_modules(self.paths, &linux)?;
            let second = self.second()?;
            let initrd = plan.contents(self.paths).initrd(
                self.paths,
                "vtpm-flows",
                Some(&second),
                &modules,
            )?;
            (guest::kernel(&linux.root)?, initrd)
        };
        let (machine, _) = self.machine("vtpm-flows", kernel, initrd, "", false)?;
        let outcome = machine.run(self.paths, &watch("vtpm-flows", 1800))?;
        let remark = plan.check(self.paths, &outcome)?;
        Ok(Verdict::Passed(remark))
    }

    /// Linux's own tests, trusted keys, and what systemd does with a TPM.
    fn linux(&self) -> Result<Verdict> {
        compile::bare_metal(self.paths, Program::LINUX)?;
        let (kernel, initrd) = {
            let _lock = self.paths.lock()?;
            let linux = apt::obtain(self.paths, &packages::KERNEL)?;
            let python = apt::obtain(self.paths, &packages::PYTHON)?.root;
            let mut more = More {
                programs: vec!["python3.11"],
                modules: guest::vtpm_modules(self.paths, &linux)?,
                files: vtpm_selftests::files(self.paths, &python)?,
                roots: vec![python],
            };
            more.add_trusted(self.paths, &linux)?;
            let initrd = tpm_guest::initrd(self.paths, "vtpm-linux", &linux.root, &more)?;
            (guest::kernel(&linux.root)?, initrd)
        };
        let words = " tpm-guest=vtpm tpm-driver=tpm_svsm_bus";
        let (machine, _) = self.machine("vtpm-linux", kernel, initrd, words, false)?;
        let outcome = machine.run(self.paths, &watch("vtpm-linux", 900))?;
        let expected: Vec<&str> = tpm_guest::ALWAYS
            .iter()
            .chain(&tpm_guest::TRUSTED_MODULE)
            .chain(&CLAIMS)
            .copied()
            .chain([tpm_guest::FIRST])
            .collect();
        tpm_guest::check(self.paths, &outcome, &expected)?;
        Ok(Verdict::Passed(format!("{} claims", expected.len())))
    }

    /// A vTPM of known seeds is used, and its secrets are looked for in all memory.
    fn secrets(&self) -> Result<Verdict> {
        compile::bare_metal(self.paths, Program::LINUX)?;
        compile::bare_metal(self.paths, &[Program::VtpmKnownSeeds])?;
        let wanted = secrets::wanted(self.paths)?;
        let (kernel, initrd) = {
            let _lock = self.paths.lock()?;
            let linux = apt::obtain(self.paths, &packages::KERNEL)?;
            let modules = guest::vtpm_modules(self.paths, &linux)?;
            let contents = Contents {
                plan: "leave secrets\n".to_owned(),
                scripts: vec![self.paths.root.join(secrets::SCRIPT)],
            };
            let initrd = contents.initrd(self.paths, "vtpm-secrets", None, &modules)?;
            (guest::kernel(&linux.root)?, initrd)
        };
        let (machine, _) = self.machine("vtpm-secrets", kernel, initrd, "", true)?;
        let dump = Dump {
            after: "vtpm-flows: left",
            file: self.paths.images().join("vtpm-secrets.memory"),
            bytes: machine.memory << 20,
        };
        let _ = fs::remove_file(&dump.file);
        let outcome = machine.run(
            self.paths,
            &Watch {
                dump: Some(dump.clone()),
                ..watch("vtpm-secrets", 600)
            },
        )?;
        vtpm_flows::passed(self.paths, &outcome)?;
        let verdict = secrets::check(self.paths, &outcome, &dump.file, &wanted);
        let _ = fs::remove_file(&dump.file);
        verdict.map(Verdict::Passed)
    }

    /// The software SNP machine with an image for these files.
    fn machine(
        &self,
        name: &str,
        kernel: PathBuf,
        initrd: PathBuf,
        words: &str,
        known_seeds: bool,
    ) -> Result<(Machine, Image)> {
        let command_line = self.paths.images().join(format!("{name}-cmdline"));
        fs::write(&command_line, format!("{}{words}", guest::COMMAND_LINE))?;
        let files = LinuxFiles {
            kernel,
            initrd,
            command_line,
        };
        let contents = if known_seeds {
            build::Contents::LinuxKnownSeeds(&files)
        } else {
            build::Contents::Linux(&files)
        };
        let image = build::image(self.paths, name, &contents)?;
        let machine = Machine::new(
            Stage::need(&self.stage.qemu)?.clone(),
            qemu::Payload::Snp {
                machine: Program::Machine.path(self.paths),
                image: image.path.clone(),
                options: "memory".to_owned(),
                files: run::fw_cfg_files(&files),
                programs: Program::LINUX,
            },
            (2, 1024),
        );
        Ok((machine, image))
    }

    /// Another TPM, which runs in the guest.
    fn second(&self) -> Result<PathBuf> {
        compile::static_program(
            self.paths,
            "macadamia-tpm-server",
            "building the TPM server for guests",
        )
    }
}

fn watch(name: &str, limit: u64) -> Watch {
    Watch {
        name: format!("test-{name}"),
        limit: Duration::from_secs(limit),
        // A flow that hangs is ended by the guest.
        silence: Duration::from_secs(200),
        live: false,
        dump: None,
    }
}
