//! The table in `docs/src/policy.md`, cell by cell: which of the processor's protections are on, and what happens on each
//! platform when one is missing.

use anyhow::Result;

use crate::compile::Program;
use crate::native;
use crate::paths::Paths;
use crate::qemu::{self, Machine};
use crate::report;
use crate::test::native::{Native, watch};
use crate::test::runner::{Step, Verdict, passed};
use crate::test::stage::Stage;
use crate::watch::{End, Outcome};
use svsm_abi::termination::{self, Reason};

/// A protection: its name in the SVSM's lines, and how a processor without it is made on the SNP machine.
struct Feature {
    name: &'static str,
    /// By QEMU's name, without the machine knowing.
    qemu: &'static str,
    /// By the machine's option, where the machine itself cannot do without.
    machine: &'static str,
}

const FEATURES: [Feature; 4] = [
    Feature {
        name: "SMEP",
        qemu: "smep",
        machine: "",
    },
    Feature {
        name: "SMAP",
        qemu: "smap",
        machine: "",
    },
    Feature {
        name: "UMIP",
        qemu: "umip",
        machine: "",
    },
    Feature {
        name: "NX",
        qemu: "nx",
        machine: "without=nx",
    },
];

/// All cells. QEMU's TCG has no shadow stacks, so every boot here shows the cell without; the one with them is Bochs's.
pub fn steps<'a>(paths: &'a Paths, stage: &'a Stage) -> Vec<Step<'a>> {
    let cells = Cells { paths, stage };
    let mut steps = vec![
        Step::new("policy: SNP, all present", move |_| cells.snp_whole()),
        Step::new("policy: native, all present", move |_| cells.native(None)),
    ];
    for feature in &FEATURES {
        let name = feature.name;
        steps.push(Step::new(format!("policy: SNP, no {name}"), move |_| {
            cells.snp_without(feature)
        }));
        steps.push(Step::new(format!("policy: native, no {name}"), move |_| {
            cells.native(Some(feature))
        }));
    }
    steps
}

#[derive(Clone, Copy)]
struct Cells<'a> {
    paths: &'a Paths,
    stage: &'a Stage,
}

impl Cells<'_> {
    fn judge(&self, outcome: &Outcome, problem: Option<String>) -> Result<Verdict> {
        report::judge(self.paths, outcome, problem)?;
        Ok(passed())
    }

    /// The SVSM boots, and tells what is on.
    fn native(&self, without: Option<&Feature>) -> Result<Verdict> {
        let native = Native {
            paths: self.paths,
            stage: self.stage,
        };
        // Two processors: the second one's registers are set by other code.
        let mut machine = native.machine(Stage::need(&self.stage.qemu)?.clone(), 2, "")?;
        machine
            .without
            .extend(without.map(|feature| feature.qemu.to_owned()));
        let name = without.map_or("none", |feature| feature.name);
        let outcome = native.run(&machine, &format!("policy-native-no-{name}"))?;
        self.judge(&outcome, line_problem(&outcome, without))
    }

    fn snp(&self, name: &str, options: &str) -> Result<Machine> {
        let image = Stage::need(&self.stage.probe)?;
        // What the probe does where it is reached: it ends at once.
        let file = self.paths.images().join(format!("policy-{name}"));
        std::fs::write(&file, "terminate")?;
        let payload = qemu::Payload::Snp {
            machine: Program::Machine.path(self.paths),
            image: image.path.clone(),
            options: options.to_owned(),
            files: vec![(boot_abi::fw_cfg::TEST_CASE, file)],
            programs: Program::PROBE,
        };
        Ok(Machine::new(
            Stage::need(&self.stage.qemu)?.clone(),
            payload,
            (2, 256),
        ))
    }

    fn snp_whole(&self) -> Result<Verdict> {
        let machine = self.snp("none", "")?;
        let outcome = machine.run(self.paths, &watch("policy-snp-no-none"))?;
        let problem = line_problem(&outcome, None).or_else(|| {
            outcome
                .line(native::READY)
                .is_none()
                .then(|| "the SVSM did not say that it is ready".to_owned())
        });
        self.judge(&outcome, problem)
    }

    /// The boot stops with the reason, on the console and in the termination's code.
    fn snp_without(&self, feature: &Feature) -> Result<Verdict> {
        let mut machine = self.snp(feature.name, feature.machine)?;
        if feature.machine.is_empty() {
            machine.without.push(feature.qemu.to_owned());
        }
        let name = feature.name;
        let outcome = machine.run(self.paths, &watch(&format!("policy-snp-no-{name}")))?;
        let reason = format!(
            "svsm: fatal: policy: {name} is required on SEV-SNP and the processor lacks it"
        );
        let code = format!(
            "termination, reason {}:{} ",
            termination::SET,
            Reason::Feature as u8
        );
        let said = |start: &str, text: &str| {
            outcome
                .texts()
                .any(|line| line.starts_with(start) && line.contains(text))
        };
        let problem = line_problem(&outcome, Some(feature))
            .or_else(|| (!said("svsm: ", &reason)).then(|| format!("it did not say {reason:?}")))
            .or_else(|| (!said("machine: ", &code)).then(|| format!("no {code:?}")))
            .or_else(|| {
                (outcome.end != End::Status(report::TERMINATED))
                    .then(|| format!("{:?}", outcome.end))
            })
            .or_else(|| {
                outcome
                    .line(native::READY)
                    .map(|line| format!("it went on: {}", line.text))
            });
        self.judge(&outcome, problem)
    }
}

/// What is wrong with the SVSM's line about its protections on a processor that lacks one, or none.
fn line_problem(outcome: &Outcome, without: Option<&Feature>) -> Option<String> {
    let wanted = line(without);
    (!outcome.lines.iter().any(|line| line.text == wanted))
        .then(|| format!("the SVSM did not say {wanted:?}"))
}

fn line(without: Option<&Feature>) -> String {
    let state = |name: &str| match without {
        Some(feature) if feature.name == name => "absent",
        _ => "on",
    };
    format!(
        "{}SMEP {}, SMAP {}, UMIP {}, NX {}, WP on, shadow stacks absent",
        native::POLICY,
        state("SMEP"),
        state("SMAP"),
        state("UMIP"),
        state("NX")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_what_is_missing() {
        assert_eq!(
            line(Some(&FEATURES[1])),
            "svsm: policy: SMEP on, SMAP absent, UMIP on, NX on, WP on, shadow stacks absent"
        );
    }
}
