//! Boots of the image on the native platform: by TCG, by KVM where that can, on a newer QEMU, and by QEMU's own loader of IGVM
//! files where it has one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::apt;
use crate::native;
use crate::paths::Paths;
use crate::qemu::{self, Accelerator, Machine, Needs};
use crate::report;
use crate::test::runner::{Step, Verdict};
use crate::test::stage::Stage;
use crate::watch::{Outcome, Watch};

/// Processors of the boots by TCG.
const CPUS: [u32; 3] = [1, 4, 16];

/// All of them.
pub fn steps<'a>(paths: &'a Paths, stage: &'a Stage, long: bool) -> Vec<Step<'a>> {
    let boots = Native { paths, stage };
    let mut steps: Vec<Step> = CPUS
        .into_iter()
        .map(|cpus| {
            let plural = if cpus == 1 { "" } else { "s" };
            Step::new(format!("native, {cpus} vCPU{plural}"), move |_| {
                boots.boot(boots.qemu()?, Accelerator::Tcg, cpus)
            })
        })
        .collect();
    steps.push(Step::new("native, 4 vCPUs, KVM", move |_| boots.kvm()));
    steps.push(Step::new(
        "native, 4 vCPUs, IGVM file loaded by QEMU",
        move |_| boots.loaded_by_qemu(),
    ));
    if long {
        steps.push(Step::new("native, 4 vCPUs, newer QEMU", move |_| {
            boots.newer()
        }));
    }
    steps
}

/// What every boot needs at hand.
#[derive(Clone, Copy)]
pub struct Native<'a> {
    /// Where things are.
    pub paths: &'a Paths,
    /// What the boots share.
    pub stage: &'a Stage,
}

impl Native<'_> {
    fn qemu(&self) -> Result<PathBuf> {
        Ok(Stage::need(&self.stage.qemu)?.clone())
    }

    /// A machine with the probe's image.
    pub fn machine(&self, qemu: PathBuf, cpus: u32, options: &str) -> Result<Machine> {
        let image = Stage::need(&self.stage.probe)?;
        native::machine(self.paths, qemu, &image.path, (cpus, 256), options)
    }

    /// Boots a machine and takes an end other than the good one for an error.
    pub fn run(&self, machine: &Machine, name: &str) -> Result<Outcome> {
        let outcome = machine.run(self.paths, &watch(name))?;
        report::judge(
            self.paths,
            &outcome,
            native::problem(&outcome, machine.cpus),
        )?;
        Ok(outcome)
    }

    fn boot(&self, qemu: PathBuf, accelerator: Accelerator, cpus: u32) -> Result<Verdict> {
        let version = qemu::version(&qemu)?;
        let mut machine = self.machine(qemu, cpus, "")?;
        machine.accelerator = accelerator;
        let name = format!("native-{cpus}-{}-{version}", accelerator.name());
        let outcome = self.run(&machine, &name)?;
        let ready = outcome.line(native::READY).context("no ready line")?;
        Ok(Verdict::Passed(format!(
            "ready after {:.2} s",
            ready.at.as_secs_f64()
        )))
    }

    fn kvm(&self) -> Result<Verdict> {
        let qemu = self.qemu()?;
        match qemu::probe(&qemu)?.problem(Needs::Nothing) {
            Some(reason) => Ok(Verdict::Skipped(format!(
                "KVM cannot be used here: {reason}"
            ))),
            None => self.boot(qemu, Accelerator::Kvm, 4),
        }
    }

    fn loaded_by_qemu(&self) -> Result<Verdict> {
        let qemu = self.qemu()?;
        if qemu::loads_igvm(&qemu)? {
            // The boots above were that already.
            return self.boot(qemu, Accelerator::Tcg, 4);
        }
        Ok(Verdict::Skipped(format!(
            "QEMU {} is built without -object igvm-cfg, so native-loader loads the image",
            qemu::version(&qemu)?
        )))
    }

    fn newer(&self) -> Result<Verdict> {
        if !apt::available() {
            return Ok(Verdict::Skipped(
                "it comes by apt, which is not here".into(),
            ));
        }
        let newer = qemu::program(self.paths, Some(Path::new(qemu::NEWER)))?;
        self.boot(newer, Accelerator::Tcg, 4)
    }
}

/// How the short boots of these tests are watched.
pub fn watch(name: &str) -> Watch {
    Watch {
        name: format!("test-{name}"),
        limit: Duration::from_secs(60),
        silence: Duration::from_secs(60),
        live: false,
        dump: None,
    }
}
