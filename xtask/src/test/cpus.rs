//! The SVSM's processors: what it makes of a host that lies about them, and of processors that start in any order.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use svsm_abi::termination::Reason;

use super::boots::Boots;
use crate::compile::Program;
use crate::native;
use crate::paths::Paths;
use crate::qemu::{Machine, Payload};
use crate::report;
use crate::test::runner::{Step, Verdict};
use crate::test::stage::Stage;
use crate::ui::Progress;
use crate::watch::{End, Outcome};

/// What a boot with a lie may take, from the SVSM's first line to the one that tells how it ends.
const PATIENCE: Duration = Duration::from_secs(5);
/// Processors of a machine that lies.
const LIARS: u32 = 4;
/// Processors of a machine that shuffles.
const SHUFFLED: u32 = 8;
/// Boots with shuffled starts.
const SHUFFLES: [u64; 2] = [20, 1000];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    Snp,
    Native,
}

/// How a boot has to end.
enum Fate {
    /// With so many processors up, and a line that has this text.
    Ready(u32, &'static str),
    /// With the reason.
    Stop(&'static str),
}
use Fate::{Ready, Stop};

/// The option `madt` (`image/madt/src/lies.rs`), and what must come of it with four processors.
const LIES: [(&str, Fate); 21] = [
    ("x2apic", Ready(4, "")),
    ("absent:3", Ready(4, "vCPU with APIC ID 6")),
    (
        "surplus:3",
        Stop("7 enabled processors, but the host announced 4 vCPUs"),
    ),
    ("withheld", Ready(3, "")),
    ("disabled:2", Ready(2, "")),
    ("online-capable", Ready(3, "")),
    (
        "dead:2",
        Ready(
            2,
            "vCPU with APIC ID 3 did not come up; going on without it",
        ),
    ),
    ("duplicate", Stop("APIC ID 3 is listed twice")),
    (
        "no-boot",
        Stop("the boot processor (APIC ID 0) is not among its 3 enabled processors"),
    ),
    ("none", Stop("no enabled processor")),
    ("many", Stop("more than 512 processors")),
    (
        "many:512",
        Stop("512 enabled processors, but the host announced 4 vCPUs"),
    ),
    ("loop", Stop("has length 0")),
    ("long", Stop("has length 255")),
    ("short", Stop("has length 4; 8 bytes are needed")),
    ("garbage:1", Stop("")),
    ("truncated", Stop("bytes are needed and")),
    ("overlong", Stop("length is 16777216; it must be")),
    ("headless", Stop("length is 43; it must be")),
    ("signature", Stop("signature is")),
    (
        "checksum",
        Ready(4, "MADT: the checksum does not hold; going on"),
    ),
];

/// The steps.
pub fn steps<'a>(paths: &'a Paths, stage: &'a Stage, long: bool) -> Vec<Step<'a>> {
    let cpus = Cpus {
        boots: Boots { paths, stage },
    };
    let shuffles = SHUFFLES[usize::from(long)];
    vec![
        Step::new("lying MADT, SNP machine", move |progress| {
            cpus.lies(Platform::Snp, progress)
        }),
        Step::new("lying MADT, native", move |progress| {
            cpus.lies(Platform::Native, progress)
        }),
        Step::new(
            format!("shuffled CPU starts, {SHUFFLED} vCPUs, {shuffles} boots"),
            move |progress| cpus.shuffle(shuffles, progress),
        ),
    ]
}

#[derive(Clone, Copy)]
struct Cpus<'a> {
    boots: Boots<'a>,
}

impl Cpus<'_> {
    fn machine(&self, platform: Platform, text: String, cpus: u32) -> Result<Machine> {
        let stage = self.boots.stage;
        let image = Stage::need(&stage.svsm)?;
        let size = (cpus, 256);
        if platform == Platform::Native {
            let qemu = Stage::need(&stage.qemu)?.clone();
            return native::machine(self.boots.paths, qemu, &image.path, size, &text);
        }
        let mut machine = self
            .boots
            .machine(Program::SVSM, &image.path, Vec::new(), size)?;
        if let Payload::Snp { options, .. } = &mut machine.payload {
            *options = text;
        }
        Ok(machine)
    }

    /// Every lie, a boot each.
    fn lies(&self, platform: Platform, progress: &Progress) -> Result<Verdict> {
        let mut slowest = (Duration::ZERO, "");
        let mut count = 0;
        for (lie, fate) in &LIES {
            // A native machine's processors are not the loader's to keep from starting.
            if platform == Platform::Native && lie.starts_with("dead") {
                continue;
            }
            progress.detail(lie);
            let machine = self.machine(platform, format!("madt={lie}"), LIARS)?;
            let outcome = self.boots.boot(&machine, "lying-madt", 30)?;
            let (took, problem) = match fate.time(platform, &outcome) {
                Ok(took) if took <= PATIENCE => (took, None),
                Ok(took) => (took, Some(format!("{:.1} s", took.as_secs_f64()))),
                Err(problem) => (Duration::ZERO, Some(problem)),
            };
            let problem = problem.map(|problem| format!("madt={lie}: {problem}"));
            report::judge(self.boots.paths, &outcome, problem)?;
            count += 1;
            slowest = slowest.max((took, lie));
        }
        Ok(Verdict::Passed(format!(
            "{count} boots, the slowest {:.1} s ({})",
            slowest.0.as_secs_f64(),
            slowest.1
        )))
    }

    /// Boots in which each processor starts late, by another time each.
    fn shuffle(&self, boots: u64, progress: &Progress) -> Result<Verdict> {
        let mut orders = BTreeSet::new();
        let mut took = Duration::ZERO;
        for seed in 0..boots {
            progress.detail(&format!("{seed} of {boots}"));
            let text = format!("ap-delay={seed} trace=ap");
            let machine = self.machine(Platform::Snp, text, SHUFFLED)?;
            let outcome = self.boots.boot(&machine, "shuffled-starts", 30)?;
            let problem = Ready(SHUFFLED, "").time(Platform::Snp, &outcome).err();
            let missed = outcome.line("did not come up").map(|l| l.text.clone());
            report::judge(self.boots.paths, &outcome, problem.or(missed))
                .with_context(|| format!("ap-delay={seed}"))?;
            orders.insert(order(&outcome.machine_text()));
            took += outcome.took;
        }
        Ok(Verdict::Passed(format!(
            "all processors in all boots, {} different orders, {:.2} s each",
            orders.len(),
            took.as_secs_f64() / boots as f64
        )))
    }
}

impl Fate {
    /// How long it took until it was clear; or why it did not come so.
    fn time(&self, platform: Platform, outcome: &Outcome) -> Result<Duration, String> {
        let (line, reason) = match self {
            Ready(cpus, text) => {
                let ready = outcome.line(native::READY).ok_or("no ready line")?;
                if native::online(&ready.text) != Some(*cpus) {
                    return Err(format!("not {cpus} processors: {:?}", ready.text));
                }
                if outcome.line(text).is_none() {
                    return Err(format!("no line has {text:?}"));
                }
                (ready, Reason::NoGuest)
            }
            Stop(text) => {
                let fatal = outcome.line("svsm: fatal: MADT: ");
                let fatal = fatal.filter(|line| line.text.contains(text));
                let fatal = fatal.ok_or_else(|| format!("it did not stop with {text:?}"))?;
                (fatal, Reason::Madt)
            }
        };
        let status = match platform {
            Platform::Snp => report::TERMINATED,
            Platform::Native => native::status(reason),
        };
        if outcome.end != End::Status(status) {
            return Err(format!("{:?}, not status {status}", outcome.end));
        }
        let first = outcome.line("svsm: ").ok_or("the SVSM said nothing")?;
        Ok(line.at.saturating_sub(first.at))
    }
}

/// The order in which processors began to run the SVSM, from the machine's trace:
/// `machine: [3 VMPL9 0] Ap: VMPL0 Runnable vmsa …`.
pub fn order(log: &str) -> Vec<String> {
    log.lines()
        .filter(|line| line.contains("Ap: VMPL0 Runnable"))
        .filter_map(|line| {
            let (_, rest) = line.split_once('[')?;
            Some(rest.split_once(' ')?.0.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_in_the_trace() {
        let log = "machine: [0 VMPL9 0] Ap: VMPL0 Runnable vmsa Some(1000)\n\
                   machine: [0 VMPL0 0] Ap: AP creation Create APIC ID 1\n\
                   machine: [2 VMPL9 0] Ap: VMPL0 Runnable vmsa Some(3000)\n\
                   machine: [1 VMPL9 0] Ap: VMPL0 Runnable vmsa Some(2000)\n";
        assert_eq!(order(log), ["0", "2", "1"]);
    }

    #[test]
    fn every_lie_is_one() {
        for (lie, _) in &LIES {
            acpi_madt::Lies::parse(lie).unwrap();
        }
    }
}
