//! The tests inside the SVSM's kernel, on both platforms: each counts as one of the report. And the failures that it provokes:
//! each boot must end with the right report and a backtrace of the right functions.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use svsm_abi::termination::{self, Reason};

use crate::build::{self, Contents};
use crate::compile::Program;
use crate::native;
use crate::paths::Paths;
use crate::qemu::{self, Machine};
use crate::report;
use crate::symbols;
use crate::test::native::watch;
use crate::test::runner::{Many, Step, Verdict, passed};
use crate::test::stage::Stage;
use crate::test::{cpus, fatal};
use crate::watch::{End, Outcome};

/// The table of failures.
const FAILURES: &str = "svsm/kernel/cases/provoked.txt";
/// Processors of the suite's boots, and MiB of memory.
const SIZE: (u32, u64) = (4, 512);
/// Milliseconds until APs come that are too late: the SVSM waits for 2,000, the tests after it take some thousand.
const LATE_MS: u64 = 2_300;
/// Time for one boot; it takes a few seconds.
const LIMIT: Duration = Duration::from_secs(180);
/// Fewest tests that a boot must have run.
const LEAST: usize = 120;

/// Where an image is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Snp,
    Native,
}

impl On {
    const fn name(self) -> &'static str {
        match self {
            On::Snp => "SNP",
            On::Native => "native",
        }
    }
}

/// All of them.
pub fn steps<'a>(paths: &'a Paths, stage: &'a Stage) -> Vec<Step<'a>> {
    let boots = Boots { paths, stage };
    let mut steps: Vec<Step> = [On::Snp, On::Native]
        .into_iter()
        .map(|on| {
            let name = format!("SVSM tests, {}, {} vCPUs", on.name(), SIZE.0);
            Step::new(name, move |_| boots.suite(on)).alone()
        })
        .collect();
    let late = format!("SVSM tests, SNP, {} vCPUs too late", SIZE.0 - 1);
    steps.push(Step::new(late, move |_| boots.late()).alone());
    match failures(paths) {
        Ok(failures) => steps.extend(failures.into_iter().map(|failure| {
            let name = format!("SVSM failure: {}", failure.name);
            Step::new(name, move |_| boots.failure(&failure))
        })),
        Err(error) => steps.push(Step::new("SVSM failure: table", move |_| Err(error))),
    }
    steps
}

#[derive(Clone, Copy)]
struct Boots<'a> {
    paths: &'a Paths,
    stage: &'a Stage,
}

impl Boots<'_> {
    fn run(
        &self,
        on: On,
        image: &std::path::Path,
        size: (u32, u64),
        name: &str,
        options: &str,
    ) -> Result<Outcome> {
        let qemu = Stage::need(&self.stage.qemu)?.clone();
        let machine = match on {
            On::Native => native::machine(self.paths, qemu, image, size, options)?,
            On::Snp => {
                let payload = qemu::Payload::Snp {
                    machine: Program::Machine.path(self.paths),
                    image: image.to_path_buf(),
                    options: options.to_owned(),
                    files: Vec::new(),
                    programs: Program::TESTS,
                };
                Machine::new(qemu, payload, size)
            }
        };
        let mut watch = watch(&format!("{name}-{}", on.name()));
        watch.limit = LIMIT;
        let mut outcome = machine.run(self.paths, &watch)?;
        outcome.programs = Program::TESTS;
        Ok(outcome)
    }

    fn suite(&self, on: On) -> Result<Verdict> {
        let image = Stage::need(&self.stage.tests)?;
        let outcome = self.run(on, &image.path, SIZE, "svsm-tests", "")?;
        let lines: Vec<&str> = outcome.texts().collect();
        let many = match many(&lines) {
            Ok(many) => many,
            Err(problem) => {
                report::judge(self.paths, &outcome, Some(problem))?;
                Many::default()
            }
        };
        let problem = native::ready_problem(&outcome, SIZE.0)
            .or_else(|| console_problem(&lines, SIZE.0))
            .or_else(|| end_problem(on, &outcome, Reason::NoGuest))
            .or_else(|| {
                (many.passed < LEAST).then(|| format!("only {} tests passed", many.passed))
            });
        report::judge(self.paths, &outcome, problem)?;
        Ok(Verdict::Many(many))
    }

    /// All APs come after the SVSM has given them up, into its tests: they must touch nothing.
    fn late(&self) -> Result<Verdict> {
        let image = Stage::need(&self.stage.tests)?;
        let options = format!("ap-late={LATE_MS} trace=ap");
        let outcome = self.run(On::Snp, &image.path, SIZE, "svsm-tests-late", &options)?;
        let problem = late_problem(&outcome)
            .or_else(|| native::ready_problem(&outcome, 1))
            .or_else(|| end_problem(On::Snp, &outcome, Reason::NoGuest));
        report::judge(self.paths, &outcome, problem)?;
        Ok(passed())
    }

    fn failure(&self, failure: &Failure) -> Result<Verdict> {
        // Images are made one at a time, as they need the same tool.
        static MAKING: Mutex<()> = Mutex::new(());
        Stage::need(&self.stage.tests)?;
        let name = format!("svsm-fails-{}", failure.name);
        let image = {
            let _alone = MAKING.lock();
            build::image(self.paths, &name, &Contents::Failure(&failure.name))?
        };
        for on in [On::Native, On::Snp] {
            let outcome = self.run(on, &image.path, (2, 256), &name, "")?;
            let problem = failure
                .problem(self.paths, &outcome)
                .or_else(|| end_problem(on, &outcome, failure.reason))
                .map(|problem| format!("{}: {problem}", on.name()));
            report::judge(self.paths, &outcome, problem)?;
        }
        Ok(passed())
    }
}

/// Why this is not a boot whose APs were given up, came then, and did no harm to the tests.
fn late_problem(outcome: &Outcome) -> Option<String> {
    let lines: Vec<&str> = outcome.texts().collect();
    let aps = SIZE.0 as usize - 1;
    let given_up = lines
        .iter()
        .filter(|line| line.contains("did not come up; going on without it"))
        .count();
    // Who is given up was not there before; the boot CPU is in the trace as well.
    let came = cpus::order(&outcome.machine_text()).len().saturating_sub(1);
    if (given_up, came) != (aps, aps) {
        return Some(format!(
            "{given_up} given up, {came} came during the tests, not {aps}"
        ));
    }
    let failed = match many(&lines) {
        Ok(many) => many.failed.into_iter().map(|(name, _)| name),
        Err(problem) => return Some(problem),
    };
    // This one is about what the host did here.
    let failed: Vec<String> = failed.collect();
    (failed != ["host::all_vcpus_are_online"]).then(|| format!("failed: {failed:?}"))
}

/// Why the SVSM did not end for this reason, if it did not.
fn end_problem(on: On, outcome: &Outcome, reason: Reason) -> Option<String> {
    let wanted = match on {
        On::Native => native::status(reason),
        On::Snp => report::TERMINATED,
    };
    let code = format!("termination, reason {}:{} ", termination::SET, reason as u8);
    if outcome.end != End::Status(wanted) {
        Some(format!("{:?}, not status {wanted}", outcome.end))
    } else if on == On::Snp && outcome.line(&code).is_none() {
        Some(format!("the machine did not say {code:?}"))
    } else {
        None
    }
}

/// The tests in a console's lines, or what is wrong with the whole.
pub fn many(lines: &[&str]) -> Result<Many, String> {
    let mut many = Many::default();
    let mut closing = None;
    for line in lines {
        if let Some(test) = line.strip_prefix("svsm: test: ") {
            let (name, what) = test.split_once(' ').unwrap_or((test, ""));
            match what.split_once(": ") {
                None if what == "ok" => many.passed += 1,
                Some(("FAILED", why)) => many.failed.push((name.to_owned(), why.to_owned())),
                Some(("skipped", why)) => many.skipped.push((name.to_owned(), why.to_owned())),
                _ => return Err(format!("not the line of a test: {line:?}")),
            }
        } else if let Some(text) = line.strip_prefix("svsm: tests: ") {
            closing = Some(text.to_owned());
        }
    }
    let counted = format!(
        "{} passed, {} failed, {} skipped",
        many.passed,
        many.failed.len(),
        many.skipped.len()
    );
    match closing {
        Some(closing) if closing == counted => Ok(many),
        Some(closing) => Err(format!(
            "the SVSM counts {closing}; its lines are {counted}"
        )),
        None => Err(format!("the tests did not come to their end: {counted}")),
    }
}

/// What is wrong with the lines that are there to be looked at: a long one is cut, those of several processors stay whole.
fn console_problem(lines: &[&str], cpus: u32) -> Option<String> {
    const PRINTED: u32 = 20;
    const LONGEST: usize = 238;
    let long = lines
        .iter()
        .find(|line| line.starts_with("svsm: console: long xxx"));
    match long {
        Some(line) if line.len() == LONGEST && !line.contains("END") => {}
        other => {
            return Some(format!(
                "the long line is {:?} bytes",
                other.map(|line| line.len())
            ));
        }
    }
    if !lines.contains(&"svsm: console: after it") {
        return Some("no line behind the long one".to_owned());
    }
    for cpu in 0..cpus {
        for number in 0..PRINTED {
            let line =
                format!("svsm: console: vCPU {cpu} line {number} abcdefghijklmnopqrstuvwxyz end");
            if lines.iter().filter(|found| **found == line).count() != 1 {
                return Some(format!("not once and whole: {line:?}"));
            }
        }
    }
    None
}

/// One line of the table.
#[derive(Clone, Debug)]
struct Failure {
    name: String,
    reason: Reason,
    texts: Vec<String>,
    functions: Vec<String>,
}

impl Failure {
    fn problem(&self, paths: &Paths, outcome: &Outcome) -> Option<String> {
        let begin = format!("svsm: test case: {}", self.name);
        if !outcome.texts().any(|line| line == begin) {
            return Some("the case did not begin".to_owned());
        }
        if let Some(line) = outcome
            .texts()
            .find(|line| line.contains("did not end the SVSM"))
        {
            return Some(line.to_owned());
        }
        // Each text in the same line as the one before, or in a later one.
        let all: Vec<&str> = outcome.texts().collect();
        let console = all.join("\n");
        let mut rest = console.as_str();
        for text in &self.texts {
            if let Some(text) = text.strip_prefix('!') {
                if rest.contains(text) {
                    return Some(format!("{text:?} comes after the rest"));
                }
                continue;
            }
            match rest.split_once(text.as_str()) {
                Some((_, behind)) => rest = behind,
                None => return Some(format!("no {text:?}, where it was to be, in the report")),
            }
        }
        let report: Vec<&str> = all
            .iter()
            .copied()
            .filter(|line| !line.starts_with("machine: "))
            .collect();
        let names = symbols::annotate(paths, outcome.programs, &report.join("\n"));
        let mut names = names.lines();
        for function in &self.functions {
            let wanted = format!("tests::{}", function.trim_start_matches("tests::"));
            let is_it = |line: &str| {
                line.contains(&format!("{wanted} (")) || line.contains(&format!("::{function} ("))
            };
            if !names.any(is_it) {
                return Some(format!(
                    "no {function}, where it was to be, in the backtrace"
                ));
            }
        }
        None
    }
}

fn failures(paths: &Paths) -> Result<Vec<Failure>> {
    let columns = "NAME | REASON | TEXTS | FUNCTIONS";
    fatal::rows(paths, FAILURES, columns, parse)
}

fn parse(line: &str) -> Option<Failure> {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    let [name, reason, texts, functions] = columns[..] else {
        return None;
    };
    let list = |text: &str, separator| {
        let words = text
            .split(separator)
            .map(|word: &str| word.trim().to_owned());
        words.filter(|word| !word.is_empty()).collect()
    };
    Some(Failure {
        name: name.to_owned(),
        reason: match reason {
            "panic" => Reason::Panic,
            "exception" => Reason::Exception,
            _ => return None,
        },
        texts: list(texts, ';'),
        functions: list(functions, ','),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_by_their_lines() {
        let lines = [
            "svsm: test: a::b ok",
            "svsm: test: a::c FAILED: line 3: x: 1, not 2",
            "svsm: test: a::d skipped: no such processor",
            "svsm: tests: 1 passed, 1 failed, 1 skipped",
        ];
        let many_ = many(&lines).unwrap();
        assert_eq!(many_.passed, 1);
        assert_eq!(
            many_.failed,
            [("a::c".to_owned(), "line 3: x: 1, not 2".to_owned())]
        );
        assert_eq!(
            many_.skipped,
            [("a::d".to_owned(), "no such processor".to_owned())]
        );
        assert!(
            many(&lines[..3])
                .unwrap_err()
                .contains("did not come to their end")
        );
        assert!(many(&lines[1..]).unwrap_err().contains("the SVSM counts"));
        assert!(many(&["svsm: test: a::b o"]).is_err());
    }

    #[test]
    fn a_failure_has_four_columns() {
        let failure = parse("x | panic | a; b | f, g").unwrap();
        assert_eq!((failure.texts.len(), failure.functions.len()), (2, 2));
        assert!(parse("x | panic | a | ").unwrap().functions.is_empty());
        assert!(parse("x | why | a | ").is_none());
        assert!(parse("x | panic | a").is_none());
    }
}
