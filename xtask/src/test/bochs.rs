//! Boots in Bochs: shadow stacks at work.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::bochs::{self, Machine};
use crate::build::{self, Contents};
use crate::compile::{self, Program};
use crate::native;
use crate::paths::Paths;
use crate::report;
use crate::test::in_svsm;
use crate::test::runner::{Step, Verdict};
use crate::test::stage::Stage;
use crate::watch::Watch;

/// Time for a boot. Bochs interprets every instruction, and on a slow machine also firmware's take a while.
const LIMIT: Duration = Duration::from_secs(240);
/// Time for the tests inside the SVSM.
const SUITE_LIMIT: Duration = Duration::from_secs(1200);
/// Processors: the boot CPU and one that it starts, which gets shadow stacks of its own.
const CPUS: u32 = 2;
/// RAM in MiB.
const MEMORY: u64 = 128;
/// How the SVSM's line about protections ends where there are shadow stacks.
const SHADOW_STACKS_ON: &str = "shadow stacks on";

/// What it says when the return from a function whose return address was overwritten is stopped.
const CAUGHT: [&str; 2] = [
    "svsm: fatal: exception 21 (control protection), error 0x1",
    "on the shadow stack: one of them was overwritten",
];

/// All of them.
pub fn steps<'a>(paths: &'a Paths, stage: &'a Stage, long: bool) -> Vec<Step<'a>> {
    let mut steps = vec![
        Step::new("Bochs: boot with shadow stacks", move |_| {
            in_bochs(|| boot_with_shadow_stacks(paths, stage))
        }),
        Step::new("SVSM failure, Bochs: smashed-return", move |_| {
            in_bochs(|| smashed_return(paths, stage))
        }),
    ];
    if long {
        let name = format!("SVSM tests, Bochs, {CPUS} vCPUs");
        steps.push(Step::new(name, move |_| in_bochs(|| suite(paths, stage))).alone());
    }
    steps
}

/// Does what needs Bochs, where it can be had.
fn in_bochs(work: impl FnOnce() -> Result<Verdict>) -> Result<Verdict> {
    if let Some(reason) = bochs::no_terminal()? {
        return Ok(Verdict::Skipped(reason));
    }
    bochs::require()?;
    work()
}

fn boot_with_shadow_stacks(paths: &Paths, stage: &Stage) -> Result<Verdict> {
    compile::bare_metal(paths, &[Program::NativeLoader])?;
    let image = Stage::need(&stage.probe)?.path.clone();
    let outcome = machine(paths, image, CPUS).run(paths, &watch("boot", LIMIT))?;
    let at = |text: &str| {
        let line = outcome.line(text);
        line.map_or(0.0, |line| line.at.as_secs_f64())
    };
    let policy = outcome.line(native::POLICY);
    let problem = bochs::problem(&outcome, CPUS)
        .or_else(|| {
            let on = policy.is_some_and(|line| line.text.ends_with(SHADOW_STACKS_ON));
            (!on).then(|| format!("the SVSM does not say {SHADOW_STACKS_ON:?}"))
        })
        .or_else(|| {
            let on = bochs::cet_was_on(&outcome, CPUS);
            (!on).then(|| "Bochs's registers say that CR4.CET is off in a processor".to_owned())
        });
    report::judge(paths, &outcome, problem)?;
    Ok(Verdict::Passed(format!(
        "Bochs {}, loader after {:.1} s, ready after {:.1} s",
        bochs::version()?,
        at("loader: "),
        at(native::READY)
    )))
}

/// The boot's end is the failure that the image is told to provoke: a function overwrites its return address.
fn smashed_return(paths: &Paths, stage: &Stage) -> Result<Verdict> {
    const CASE: &str = "smashed-return";
    Stage::need(&stage.tests)?;
    let image = build::image(paths, CASE, &Contents::Failure(CASE))?;
    let mut outcome = machine(paths, image.path, 1).run(paths, &watch(CASE, LIMIT))?;
    outcome.programs = Program::TESTS;
    let problem = CAUGHT
        .iter()
        .find(|text| outcome.line(text).is_none())
        .map(|text| format!("the SVSM does not say {text:?}"));
    report::judge(paths, &outcome, problem)?;
    let caught = outcome.line(CAUGHT[1]).map_or("", |line| &line.text);
    Ok(Verdict::Passed(caught.to_owned()))
}

/// The tests inside the SVSM, with shadow stacks.
fn suite(paths: &Paths, stage: &Stage) -> Result<Verdict> {
    let image = Stage::need(&stage.tests)?.path.clone();
    let mut outcome = machine(paths, image, CPUS).run(paths, &watch("tests", SUITE_LIMIT))?;
    outcome.programs = Program::TESTS;
    let lines: Vec<&str> = outcome.lines.iter().map(|line| &*line.text).collect();
    let many = in_svsm::many(&lines);
    let problem = many.as_ref().err().cloned();
    report::judge(
        paths,
        &outcome,
        problem.or_else(|| bochs::problem(&outcome, CPUS)),
    )?;
    Ok(Verdict::Many(many.unwrap_or_default()))
}

fn machine(paths: &Paths, image: PathBuf, cpus: u32) -> Machine {
    Machine {
        loader: Program::NativeLoader.path(paths),
        image,
        options: String::new(),
        cpus,
        memory: MEMORY,
    }
}

fn watch(name: &str, limit: Duration) -> Watch {
    Watch {
        name: format!("test-bochs-{name}"),
        limit,
        silence: limit,
        live: false,
        dump: None,
    }
}
