//! Boots in Bochs: shadow stacks at work.

use std::time::Duration;

use anyhow::Result;

use crate::bochs::{self, Machine};
use crate::compile::{self, Program};
use crate::native;
use crate::paths::Paths;
use crate::report;
use crate::test::runner::{Step, Verdict};
use crate::test::stage::Stage;
use crate::watch::Watch;

/// Time for a boot. Bochs interprets every instruction, and on a slow machine also firmware's take a while.
const LIMIT: Duration = Duration::from_secs(240);
/// Processors: the boot CPU and one that it starts, which gets shadow stacks of its own.
const CPUS: u32 = 2;
/// RAM in MiB.
const MEMORY: u64 = 128;
/// How the SVSM's line about protections ends where there are shadow stacks.
const SHADOW_STACKS_ON: &str = "shadow stacks on";

/// All of them.
pub fn steps<'a>(paths: &'a Paths, stage: &'a Stage) -> Vec<Step<'a>> {
    vec![Step::new("Bochs: boot with shadow stacks", move |_| {
        boot_with_shadow_stacks(paths, stage)
    })]
}

fn boot_with_shadow_stacks(paths: &Paths, stage: &Stage) -> Result<Verdict> {
    bochs::require()?;
    compile::bare_metal(paths, &[Program::NativeLoader])?;
    let machine = Machine {
        loader: Program::NativeLoader.path(paths),
        image: Stage::need(&stage.probe)?.path.clone(),
        options: String::new(),
        cpus: CPUS,
        memory: MEMORY,
    };
    let outcome = machine.run(paths, &watch("boot"))?;
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

fn watch(name: &str) -> Watch {
    Watch {
        name: format!("test-bochs-{name}"),
        limit: LIMIT,
        silence: LIMIT,
        live: false,
        dump: None,
    }
}
