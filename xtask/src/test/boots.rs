//! Checks that start machines: bad images, the conformance payload, the probe, and Linux.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::apt;
use crate::build::{self, Image};
use crate::compile::{self, Program};
use crate::paths::Paths;
use crate::qemu::{self, Machine};
use crate::report;
use crate::run;
use crate::segments;
use crate::test::bad_images::{self, BadImage};
use crate::test::fatal;
use crate::test::isolation::{self, Group};
use crate::test::runner::{Step, Verdict, passed};
use crate::test::stage::Stage;
use crate::tour::Tour;
use crate::ui::Progress;
use crate::watch::{End, Outcome, Watch};

/// What Linux must say of itself; the rest of the tour is checked by value.
const LINUX_SAYS: [&str; 3] = [
    "Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP",
    "SEV: Status: SEV SEV-ES SEV-SNP",
    "SEV: SNP running at VMPL2.",
];

/// Boots in the step that repeats one.
const REPEATS: u32 = 20;

/// What the machine says when the SVSM's constant memory is as it was, and none of it is open to the guest.
const CANARY: &str = "watched memory is unchanged";

/// All boots.
pub fn steps<'a>(paths: &'a Paths, stage: &'a Stage, long: bool) -> Vec<Step<'a>> {
    let boots = Boots { paths, stage };
    let mut steps = Vec::new();
    for case in bad_images::ALL {
        steps.push(Step::new(format!("bad image: {}", case.name), move |_| {
            boots.bad_image(case)
        }));
    }
    steps.push(Step::new("conformance", move |_| boots.conformance()));
    steps.extend(boots.fatal_cases(fatal::CONFORMANCE));
    steps.push(Step::new("probe, 1 vCPU", move |_| boots.probe(1)));
    steps.extend(boots.fatal_cases(fatal::PROBE));
    steps.push(Step::new("probe, 4 vCPUs", move |_| boots.probe(4)).alone());
    steps.push(Step::new("probe, races, 8 vCPUs", move |_| boots.races()).alone());
    steps.push(Step::new("probe, gaps", move |_| boots.gaps()).alone());
    steps.extend(isolation::groups().into_iter().map(|group| {
        let name = group.name.clone();
        Step::new(name, move |progress| boots.isolation(&group, progress))
    }));
    for part in [Part::Kernel, Part::Initrd, Part::CommandLine] {
        steps.push(Step::new(
            format!("flipped byte: {}", part.name()),
            move |_| boots.flipped(part),
        ));
    }
    let mut sizes = vec![(1, 1024), (4, 1024)];
    if long {
        sizes.extend([(2, 512), (2, 4096), (8, 1024)]);
    }
    for (cpus, memory) in sizes {
        let plural = if cpus == 1 { "" } else { "s" };
        let name = format!("Linux, {cpus} vCPU{plural}, {memory} MiB");
        steps.push(Step::new(name, move |_| boots.linux(None, cpus, memory)).alone());
    }
    if long {
        let name = format!("Linux, 2 vCPUs, 1024 MiB, {REPEATS} boots");
        steps.push(Step::new(name, move |progress| boots.repeated(progress)).alone());
        let name = "Linux, 2 vCPUs, 512 MiB, newer QEMU";
        steps.push(Step::new(name, move |_| boots.on_newer_qemu()).alone());
    }
    steps
}

/// Whether the machine lacks a word on the watched memory.
fn canary_problem(outcome: &Outcome) -> Option<String> {
    (!outcome.machine_text().contains(CANARY))
        .then(|| format!("the machine did not say {CANARY:?}"))
}

/// What every boot needs at hand.
#[derive(Clone, Copy)]
pub(super) struct Boots<'a> {
    pub(super) paths: &'a Paths,
    pub(super) stage: &'a Stage,
}

impl<'a> Boots<'a> {
    /// A step for every line of a table of fatal cases.
    fn fatal_cases(self, table: &'static str) -> Vec<Step<'a>> {
        let payload = if table == fatal::PROBE {
            "probe"
        } else {
            "conformance"
        };
        match fatal::read(self.paths, table) {
            Ok(cases) => cases
                .into_iter()
                .map(|case| {
                    let name = format!("{payload}: {}", case.name);
                    Step::new(name, move |_| self.fatal(&case, table))
                })
                .collect(),
            Err(error) => {
                vec![Step::new(format!("{payload}: table"), move |_| Err(error))]
            }
        }
    }

    pub(super) fn machine(
        &self,
        programs: &'static [Program],
        image: &Path,
        files: Vec<(&'static str, PathBuf)>,
        (cpus, memory): (u32, u64),
    ) -> Result<Machine> {
        Ok(Machine::new(
            Stage::need(&self.stage.qemu)?.clone(),
            qemu::Payload::Snp {
                machine: Program::Machine.path(self.paths),
                image: image.to_path_buf(),
                options: String::new(),
                files,
                programs,
            },
            (cpus, memory),
        ))
    }

    pub(super) fn boot(&self, machine: &Machine, name: &str, seconds: u64) -> Result<Outcome> {
        machine.run(
            self.paths,
            &Watch {
                name: format!("test-{name}"),
                limit: Duration::from_secs(seconds),
                // The probe's races run for a minute without a word.
                silence: Duration::from_secs(seconds.min(180)),
                live: false,
                dump: None,
            },
        )
    }

    /// An error with everything one needs to find the cause, unless `problem` is none.
    fn judge(&self, outcome: &Outcome, problem: Option<String>) -> Result<()> {
        report::judge(self.paths, outcome, problem)
    }

    /// A machine newer than Debian 12's, where the machine the tests use is not one itself.
    fn on_newer_qemu(&self) -> Result<Verdict> {
        let present = qemu::version(Stage::need(&self.stage.qemu)?)?;
        let major = |version: &str| version.split('.').next().and_then(|part| part.parse().ok());
        if major(&present).is_some_and(|major: u32| major >= 10) {
            return Ok(Verdict::Skipped(format!(
                "all boots run on {present} already"
            )));
        }
        if !apt::available() {
            return Ok(Verdict::Skipped(
                "it comes by apt, which is not here".into(),
            ));
        }
        let newer = qemu::program(self.paths, Some(Path::new(qemu::NEWER)))?;
        let version = qemu::version(&newer)?;
        self.linux(Some(newer), 2, 512)?;
        Ok(Verdict::Passed(format!("QEMU {version}")))
    }

    /// The same boot many times: what goes wrong only sometimes is mostly an interrupt at the wrong moment.
    fn repeated(&self, progress: &Progress) -> Result<Verdict> {
        for boot in 1..=REPEATS {
            progress.detail(&format!("{boot} of {REPEATS}"));
            self.linux(None, 2, 1024)
                .with_context(|| format!("boot {boot} of {REPEATS}"))?;
        }
        Ok(passed())
    }

    fn linux(&self, qemu: Option<PathBuf>, cpus: u32, memory: u64) -> Result<Verdict> {
        let (files, image) = Stage::need(&self.stage.linux)?;
        let mut machine = self.machine(
            Program::LINUX,
            &image.path,
            run::fw_cfg_files(files),
            (cpus, memory),
        )?;
        let mut name = format!("linux-{cpus}-{memory}");
        if let Some(qemu) = qemu {
            machine.qemu = qemu;
            name.push_str("-newer");
        }
        let outcome = self.boot(&machine, &name, 300)?;
        let tour = Tour::of(&outcome);
        let problem = report::linux_problem(&outcome)
            .or_else(|| tour.tpm_problem())
            .or_else(|| report::digest_problem(&outcome, image))
            .or_else(|| {
                LINUX_SAYS
                    .iter()
                    .find(|text| outcome.line(text).is_none())
                    .map(|text| format!("Linux did not say {text:?}"))
            })
            .or_else(|| (tour.vmpl != Some(2)).then(|| format!("VMPL {:?}, not 2", tour.vmpl)))
            .or_else(|| {
                (tour.cpus != Some(cpus))
                    .then(|| format!("{:?} processors online, not {cpus}", tour.cpus))
            })
            .or_else(|| {
                // The kernel, its tables and the shared bounce buffer take up to 100 MiB; less than half would be a wrong map.
                let enough = memory * 1024 / 2;
                (tour.memory.unwrap_or(0) < enough)
                    .then(|| format!("{:?} KiB of memory, not {enough}", tour.memory))
            });
        self.judge(&outcome, problem)?;
        Ok(Verdict::Passed(format!(
            "init after {} s of guest time",
            tour.init.unwrap_or_default()
        )))
    }

    /// The probe, with a canary over what of the SVSM's memory must not change: the machine takes its digest before the
    /// guest exists and compares when the guest powers off.
    fn probe(&self, cpus: u32) -> Result<Verdict> {
        let image = Stage::need(&self.stage.probe)?;
        let mut machine = self.machine(Program::PROBE, &image.path, Vec::new(), (cpus, 512))?;
        if let qemu::Payload::Snp { options, .. } = &mut machine.payload {
            *options = segments::watch_option(self.paths)?;
        }
        let outcome = self.boot(&machine, &format!("probe-{cpus}"), 300)?;
        let problem = report::probe_problem(&outcome)
            .or_else(|| report::digest_problem(&outcome, image))
            .or_else(|| canary_problem(&outcome));
        self.judge(&outcome, problem)?;
        Ok(Verdict::Passed(report::cases(&outcome)))
    }

    /// Eight vCPUs that fight for pages and vCPUs.
    fn races(&self) -> Result<Verdict> {
        let image = Stage::need(&self.stage.probe)?;
        let outcome = self.chosen(Program::PROBE, image, "concurrent", 8, 300)?;
        self.judge(&outcome, report::probe_problem(&outcome))?;
        Ok(Verdict::Passed(report::cases(&outcome)))
    }

    /// How long other vCPUs stand still while one has keys made.
    fn gaps(&self) -> Result<Verdict> {
        let image = Stage::need(&self.stage.probe)?;
        let outcome = self.chosen(Program::PROBE, image, "vtpm-gap", 2, 300)?;
        self.judge(&outcome, report::probe_problem(&outcome))?;
        let figures = outcome.lines.iter().rev();
        let mut figures = figures.filter(|line| line.text.contains("largest gap on another vCPU"));
        let figures = figures.next().context("the probe told no figures")?;
        Ok(Verdict::Passed(figures.text.trim().to_owned()))
    }

    /// The broken service: each boot ends well, with the service's end told once, or not at all where it survives.
    fn isolation(&self, group: &Group, progress: &Progress) -> Result<Verdict> {
        let image = Stage::need(&self.stage.broken)?;
        let mut boots: Vec<Option<usize>> = group.cases.iter().copied().map(Some).collect();
        if boots.is_empty() {
            boots.push(None);
        }
        for (done, number) in boots.iter().enumerate() {
            progress.detail(&format!("{} of {}", done + 1, boots.len()));
            let choice = isolation::choice(*number);
            let outcome = self.chosen(Program::BROKEN, image, &choice, 1, 90)?;
            let problem = report::probe_problem(&outcome)
                .or_else(|| isolation::problem(*number, &outcome))
                .or_else(|| canary_problem(&outcome))
                .map(|problem| format!("{choice}: {problem}"));
            self.judge(&outcome, problem)?;
        }
        Ok(Verdict::Passed(match boots.len() {
            1 => "1 boot".to_owned(),
            count => format!("{count} boots"),
        }))
    }

    /// The probe with a group or case chosen, and the canary.
    fn chosen(
        &self,
        programs: &'static [Program],
        image: &Image,
        choice: &str,
        cpus: u32,
        seconds: u64,
    ) -> Result<Outcome> {
        let name = format!("choice-{}", choice.replace(' ', "-"));
        let file = self.paths.images().join(&name);
        fs::write(&file, choice)?;
        let files = vec![(boot_abi::fw_cfg::TEST_CASE, file)];
        let mut machine = self.machine(programs, &image.path, files, (cpus, 256))?;
        if let qemu::Payload::Snp { options, .. } = &mut machine.payload {
            *options = segments::watch_option(self.paths)?;
        }
        self.boot(&machine, &name, seconds)
    }

    fn conformance(&self) -> Result<Verdict> {
        let image = Stage::need(&self.stage.conformance)?;
        let machine = self.machine(Program::CONFORMANCE, &image.path, Vec::new(), (2, 256))?;
        let outcome = self.boot(&machine, "conformance", 120)?;
        let problem =
            report::probe_problem(&outcome).or_else(|| report::digest_problem(&outcome, image));
        self.judge(&outcome, problem)?;
        Ok(Verdict::Passed(report::cases(&outcome)))
    }

    fn fatal(&self, case: &fatal::Case, table: &str) -> Result<Verdict> {
        let (programs, image) = if table == fatal::PROBE {
            (Program::PROBE, Stage::need(&self.stage.probe)?)
        } else {
            (Program::CONFORMANCE, Stage::need(&self.stage.conformance)?)
        };
        let name = format!("case-{}", case.name);
        let choice = self.paths.images().join(&name);
        fs::write(&choice, &case.name)?;
        let files = vec![(boot_abi::fw_cfg::TEST_CASE, choice)];
        let machine = self.machine(programs, &image.path, files, (case.cpus, 256))?;
        let outcome = self.boot(&machine, &name, 30)?;
        self.judge(&outcome, case.problem(&outcome))?;
        Ok(passed())
    }

    fn flipped(&self, part: Part) -> Result<Verdict> {
        let (files, image) = Stage::need(&self.stage.linux)?;
        let mut files = files.clone();
        let file = match part {
            Part::Kernel => &mut files.kernel,
            Part::Initrd => &mut files.initrd,
            Part::CommandLine => &mut files.command_line,
        };
        let mut bytes = fs::read(&*file)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let label = part.name().replace(' ', "-");
        *file = self.paths.images().join(format!("flipped-{label}"));
        fs::write(&*file, bytes)?;
        let machine = self.machine(
            Program::LINUX,
            &image.path,
            run::fw_cfg_files(&files),
            (1, 512),
        )?;
        let outcome = self.boot(&machine, &format!("flipped-{label}"), 120)?;
        let refusal = format!("the {} (", part.name());
        let refused = outcome
            .lines
            .iter()
            .any(|line| line.text.contains(&refusal) && line.text.contains("not the measured one"));
        let problem = if outcome.line("Linux version").is_some() {
            Some(format!("Linux started with a changed {}", part.name()))
        } else if !refused {
            Some(format!(
                "the boot stub did not say that it refuses the {}",
                part.name()
            ))
        } else if outcome.end == End::Status(0) {
            Some("the run ended with status 0".to_owned())
        } else {
            None
        };
        self.judge(&outcome, problem)?;
        Ok(passed())
    }

    fn bad_image(&self, case: &BadImage) -> Result<Verdict> {
        let image = Stage::need(&self.stage.conformance)?;
        let label = case.name.replace([' ', ','], "-");
        let path = self.paths.images().join(format!("bad-{label}.igvm"));
        let good = fs::read(&image.path)?;
        fs::write(&path, (case.spoil)(good))?;
        let machine = self.machine(Program::CONFORMANCE, &path, Vec::new(), (1, 256))?;
        let outcome = self.boot(&machine, &format!("bad-{label}"), 60)?;
        let said = outcome
            .lines
            .iter()
            .filter(|line| line.text.starts_with("machine: "))
            .count();
        let problem = if outcome.end != End::Status(report::BAD_IMAGE) {
            Some(format!("not refused as a bad image, but {:?}", outcome.end))
        } else if said != 1 {
            Some(format!("{said} lines from the machine, not one"))
        } else {
            None
        };
        self.judge(&outcome, problem)?;
        let tool = compile::igvm_tool(self.paths)?;
        ensure!(
            build::measure(&tool, &path).is_err(),
            "the image tool measures {}",
            self.paths.show(&path)
        );
        Ok(passed())
    }
}

/// One of the files that a boot stub checks.
#[derive(Clone, Copy)]
enum Part {
    Kernel,
    Initrd,
    CommandLine,
}

impl Part {
    /// As the boot stub calls it.
    const fn name(self) -> &'static str {
        match self {
            Part::Kernel => "kernel",
            Part::Initrd => "initrd",
            Part::CommandLine => "command line",
        }
    }
}
