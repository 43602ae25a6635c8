//! Gives the same actions to two TPMs and compares.
//!
//! A run consists of segments, each on two new TPMs and from a seed of its own: a difference is found again from its
//! seed and segment alone, and a TPM that has gone another way does not spoil more than its segment.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use crate::backend::{Backend, Engine};
use crate::commands::{COMMANDS, command, name};
use crate::exceptions::excuse;
use crate::scenario::Generator;
use crate::shape;
use crate::side::{Exchange, Side};
use crate::step::Action;
use crate::swtpm::Swtpm;

/// Actions of a segment.
const SEGMENT: usize = 400;

/// What is compared with swtpm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The engine.
    Engine,
    /// Another swtpm: shows that the runner itself is right.
    Swtpm,
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What is compared with swtpm.
    pub subject: Subject,
    /// At least so many commands.
    pub commands: usize,
    /// The seed.
    pub seed: u64,
    /// Only this segment.
    pub segment: Option<u64>,
    /// So many differences are enough.
    pub enough: usize,
    /// Print everything that is exchanged.
    pub verbose: bool,
    /// Only commands that are meant to be valid.
    pub valid: bool,
}

/// A difference.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The segment.
    pub segment: u64,
    /// The action's number in it.
    pub step: usize,
    /// What was mutated.
    pub label: String,
    /// What differs.
    pub what: String,
    /// The subject's exchange.
    pub subject: Exchange,
    /// swtpm's exchange.
    pub reference: Exchange,
}

impl Difference {
    /// Differences of one key have one cause, probably.
    pub fn key(&self) -> (u32, u32, u32, String) {
        (
            code(&self.reference),
            self.subject.rc(),
            self.reference.rc(),
            if self.subject.rc() == self.reference.rc() {
                self.what.clone()
            } else {
                String::new()
            },
        )
    }
}

/// How often a command was sent, and how often it succeeded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Sent.
    pub sent: usize,
    /// Answered with success.
    pub succeeded: usize,
    /// Different answers seen.
    pub answers: usize,
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Report {
    /// Commands sent to each TPM.
    pub commands: usize,
    /// By command code.
    pub counts: BTreeMap<u32, Count>,
    /// Differences, the first of each key, and how many have the key.
    pub differences: BTreeMap<(u32, u32, u32, String), (Difference, usize)>,
    /// Permitted differences, by reason.
    pub excused: BTreeMap<&'static str, usize>,
    /// Faults that both TPMs share: mistakes of the runner.
    pub faults: BTreeMap<String, usize>,
    /// Commands of the profile that the subject does not have: they are not sent to swtpm.
    pub missing: BTreeMap<String, usize>,
    /// Segments begun.
    pub segments: u64,
    /// Segments not finished because the TPMs went different ways.
    pub abandoned: usize,
    answers: BTreeMap<(u32, u32), usize>,
    refused: BTreeMap<(u32, u32), usize>,
    parted: bool,
}

impl Report {
    /// Whether everything agreed.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.faults.is_empty() && self.missing.is_empty()
    }

    fn note(&mut self, action: &Action, exchange: &Exchange) {
        self.commands += 1;
        if exchange.rc() != 0
            && let Action::Command(step) = action
            && step.label.is_empty()
            && step.code != 0x165
        {
            *self
                .refused
                .entry((code(exchange), exchange.rc()))
                .or_default() += 1;
        }
        let count = self.counts.entry(code(exchange)).or_default();
        count.sent += 1;
        count.succeeded += usize::from(exchange.rc() == 0);
        let answer = self
            .answers
            .entry((code(exchange), exchange.rc()))
            .or_default();
        *answer += 1;
        count.answers += usize::from(*answer == 1);
    }

    /// One line.
    pub fn summary(&self) -> String {
        let commands = COMMANDS.iter().filter(|it| {
            self.counts
                .get(&it.code)
                .is_some_and(|count| count.succeeded > 0)
        });
        format!(
            "{} commands in {} segments, {} of {} commands of the profile succeeded at least once: {} differences ({} kinds), {} excused by {} exceptions",
            self.commands,
            self.segments,
            commands.count(),
            COMMANDS.len(),
            self.differences
                .values()
                .map(|(_, count)| count)
                .sum::<usize>(),
            self.differences.len(),
            self.excused.values().sum::<usize>(),
            self.excused.len(),
        )
    }

    /// The table by command.
    pub fn coverage(&self) -> String {
        let mut text = String::new();
        for command in COMMANDS {
            let count = self.counts.get(&command.code).copied().unwrap_or_default();
            let _ = writeln!(
                text,
                "{:#05x} {:28} {:6} sent {:6} succeeded {:4} different answers",
                command.code, command.name, count.sent, count.succeeded, count.answers
            );
        }
        text.push_str("commands that were not mutated and yet refused:\n");
        for ((code, rc), count) in &self.refused {
            let _ = writeln!(text, "{count:6} {:28} {rc:#05x}", name(*code));
        }
        text
    }
}

/// The command code of an exchange.
pub fn code(exchange: &Exchange) -> u32 {
    exchange.command.get(6..10).map_or(0, |code| {
        u32::from_be_bytes([code[0], code[1], code[2], code[3]])
    })
}

fn sides(config: &Config, segment: u64) -> Result<[Side; 2]> {
    let subject: Box<dyn Backend> = match config.subject {
        Subject::Engine => Box::new(Engine::after_one_cycle(config.seed ^ segment)),
        Subject::Swtpm => Box::new(Swtpm::start()?),
    };
    Ok([Side::new(subject), Side::new(Box::new(Swtpm::start()?))])
}

/// Runs.
///
/// # Errors
/// swtpm cannot be started, or does not answer.
pub fn run(config: &Config) -> Result<Report> {
    let mut report = Report::default();
    let mut segment = config.segment.unwrap_or(0);
    loop {
        run_segment(config, segment, &mut report)?;
        report.segments += 1;
        segment += 1;
        let enough =
            report.commands >= config.commands || report.differences.len() >= config.enough;
        if config.segment.is_some() || enough {
            return Ok(report);
        }
    }
}

fn run_segment(config: &Config, segment: u64, report: &mut Report) -> Result<()> {
    let [mut subject, mut reference] = sides(config, segment)?;
    let actions = Generator::new(config.seed, segment, !config.valid).actions(SEGMENT);
    for (step, action) in actions.iter().enumerate() {
        let left = subject.act(action)?;
        if let (Action::Command(_), Some(last)) = (action, left.last())
            && last.rc() == COMMAND_CODE
            && command(code(last)).is_some()
            && code(last) != POLICY_DUPLICATION_SELECT
        {
            *report.missing.entry(name(code(last))).or_default() += 1;
            continue;
        }
        let right = reference.act(action)?;
        if config.verbose {
            if let Action::Command(step) = action {
                println!("{}", step.label);
            }
            left.iter()
                .zip(&right)
                .for_each(|(one, two)| print!("{}", show(one, two)));
        }
        right
            .iter()
            .for_each(|exchange| report.note(action, exchange));
        if let (Some(one), Some(two)) = (left.last(), right.last())
            && fails(one, two)
        {
            *report.excused.entry(FAILED).or_default() += 1;
            return Ok(());
        }
        if let Some(difference) = compare(action, &left, &right, report) {
            let parted = (difference.subject.rc() == 0) != (difference.reference.rc() == 0);
            let difference = Difference {
                segment,
                step,
                ..difference
            };
            let entry = report.differences.entry(difference.key());
            entry
                .and_modify(|(_, count)| *count += 1)
                .or_insert((difference, 1));
            report.parted |= parted;
        }
        if std::mem::take(&mut report.parted) {
            report.abandoned += 1;
            return Ok(());
        }
    }
    Ok(())
}

const COMMAND_CODE: u32 = 0x143;
/// Which answers so where the session is for another command.
const POLICY_DUPLICATION_SELECT: u32 = 0x188;

const FAILED: &str = "swtpm went into failure mode, which the profile's commands must not lead to";

/// RSA_Decrypt answers so where the padding is wrong, and goes on.
fn fails(subject: &Exchange, reference: &Exchange) -> bool {
    reference.rc() == 0x101 && (code(reference) != 0x159 || subject.rc() != 0x084)
}

fn compare(
    action: &Action,
    left: &[Exchange],
    right: &[Exchange],
    report: &mut Report,
) -> Option<Difference> {
    let (exact, label) = match action {
        Action::Command(step) => (step.exact, step.label.clone()),
        _ => (false, String::new()),
    };
    let found = |what: String, one: &Exchange, two: &Exchange| {
        Some(Difference {
            segment: 0,
            step: 0,
            label: label.clone(),
            what,
            subject: one.clone(),
            reference: two.clone(),
        })
    };
    for (one, two) in left.iter().zip(right) {
        if one.rc() != two.rc() {
            match excuse(one, two) {
                Some(reason) => {
                    *report.excused.entry(reason).or_default() += 1;
                    // A failed authorization may count.
                    let counted = matches!(two.rc() & 0xBF, 0x8E | 0xA2);
                    report.parted |= counted || (one.rc() == 0) != (two.rc() == 0);
                }
                None => return found("the response code".into(), one, two),
            }
        } else if one.fault != two.fault {
            return found(format!("{:?} and {:?}", one.fault, two.fault), one, two);
        } else if let Some(fault) = &two.fault {
            let text = format!("{} ({label}): {fault}", name(code(two)));
            *report.faults.entry(text).or_default() += 1;
        } else if one.rc() == 0
            && let Some(what) = shape::difference(one, two, exact)
        {
            return found(what, one, two);
        }
    }
    if left.len() != right.len() {
        return found(
            "how many handles there are".into(),
            left.last()?,
            right.last()?,
        );
    }
    None
}

/// The fewest earlier actions of the segment that are needed to see the difference again, within `trials` runs.
///
/// # Errors
/// swtpm cannot be started, or does not answer.
pub fn shrink(config: &Config, difference: &Difference, trials: usize) -> Result<Vec<Action>> {
    let mut actions =
        Generator::new(config.seed, difference.segment, !config.valid).actions(SEGMENT);
    actions.truncate(difference.step + 1);
    let mut left = trials;
    let mut chunk = actions.len() / 2;
    while chunk > 0 && left > 0 {
        let mut at = 0;
        while at < actions.len() - 1 && left > 0 {
            let end = (at + chunk).min(actions.len() - 1);
            let mut fewer = actions.clone();
            fewer.drain(at..end);
            left -= 1;
            if shows(config, difference, &fewer)? {
                actions = fewer;
            } else {
                at = end;
            }
        }
        chunk /= 2;
    }
    Ok(actions)
}

fn shows(config: &Config, difference: &Difference, actions: &[Action]) -> Result<bool> {
    let [mut subject, mut reference] = sides(config, difference.segment)?;
    let mut last = None;
    for action in actions {
        let left = subject.act(action)?;
        let right = reference.act(action)?;
        last = compare(action, &left, &right, &mut Report::default());
    }
    Ok(last.is_some_and(|found| found.key() == difference.key()))
}

/// What `actions` exchange with one TPM, for a reader.
///
/// # Errors
/// swtpm cannot be started, or does not answer.
pub fn transcript(config: &Config, segment: u64, actions: &[Action]) -> Result<String> {
    let [mut subject, mut reference] = sides(config, segment)?;
    let mut text = String::new();
    for action in actions {
        let left = subject.act(action)?;
        let right = reference.act(action)?;
        if !matches!(action, Action::Command(_)) {
            let _ = writeln!(text, "  {action:?}");
        }
        for (one, two) in left.iter().zip(&right) {
            text.push_str(&show(one, two));
        }
    }
    Ok(text)
}

/// A command and its two answers.
pub fn show(subject: &Exchange, reference: &Exchange) -> String {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let mut text = format!(
        "  {} at locality {}: {}\n",
        name(code(reference)),
        reference.locality,
        hex(&reference.command)
    );
    if subject.command != reference.command {
        let _ = writeln!(text, "    (to the subject: {})", hex(&subject.command));
    }
    for (who, exchange) in [("subject", subject), ("swtpm", reference)] {
        let _ = writeln!(
            text,
            "    {who:8} {:#05x} {}",
            exchange.rc(),
            hex(exchange.response.get(10..).unwrap_or(&[]))
        );
        if exchange.plain != exchange.response {
            let _ = writeln!(
                text,
                "    decrypted      {}",
                hex(exchange.plain.get(10..).unwrap_or(&[]))
            );
        }
    }
    text
}
