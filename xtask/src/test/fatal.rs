//! Fatal cases of the test payloads: what a guest may do on hardware only once. Each is a boot of its own, which the
//! machine must end with the right diagnosis.

use std::fs;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::watch::{End, Outcome};

/// The conformance payload's table.
pub const CONFORMANCE: &str = "simulator/conformance/cases/fatal.txt";
/// The probe's.
pub const PROBE: &str = "guest/probe/cases/fatal.txt";

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What the payload is told to run.
    pub name: String,
    /// Virtual processors.
    pub cpus: u32,
    /// QEMU's exit status.
    pub status: i32,
    /// Part of one of the machine's lines.
    pub text: String,
}

impl Case {
    /// Why a run of it is no success, if it is none.
    pub fn problem(&self, outcome: &Outcome) -> Option<String> {
        if let Some(line) = outcome.texts().find(|line| line.starts_with("FAIL ")) {
            return Some(format!("the machine went on: {line}"));
        }
        if !outcome
            .texts()
            .any(|line| line.ends_with(&format!("begin {}", self.name)))
        {
            return Some("the case did not begin".to_owned());
        }
        if outcome.end != End::Status(self.status) {
            return Some(format!("{:?}, not status {}", outcome.end, self.status));
        }
        let said = outcome
            .texts()
            .any(|line| line.starts_with("machine: ") && line.contains(&self.text));
        (!said).then(|| format!("no line of the machine has {:?}", self.text))
    }
}

/// All cases of a table.
pub fn read(paths: &Paths, table: &str) -> Result<Vec<Case>> {
    rows(paths, table, "NAME | CPUS | STATUS | TEXT", parse)
}

/// What the lines of a table are, but for comments and empty ones. `columns` is what is said when one is not.
pub fn rows<T>(
    paths: &Paths,
    table: &str,
    columns: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>> {
    let text = fs::read_to_string(paths.root.join(table))
        .with_context(|| format!("cannot read {table}"))?;
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            parse(line).with_context(|| format!("{table}: wanted {columns}, found {line:?}"))
        })
        .collect()
}

fn parse(line: &str) -> Option<Case> {
    let mut columns = line.split('|').map(str::trim);
    let case = Case {
        name: columns.next()?.to_owned(),
        cpus: columns.next()?.parse().ok()?,
        status: columns.next()?.parse().ok()?,
        text: columns.next()?.to_owned(),
    };
    columns.next().is_none().then_some(case)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_four_columns() {
        let case = Case {
            name: "vmsa-twice".into(),
            cpus: 2,
            status: 35,
            text: "in use".into(),
        };
        assert_eq!(parse("vmsa-twice | 2 | 35 | in use"), Some(case));
        assert_eq!(parse("vmsa-twice | 2 | 35"), None);
        assert_eq!(parse("vmsa-twice | two | 35 | in use"), None);
        assert_eq!(parse("vmsa-twice | 2 | 35 | in use | more"), None);
    }
}
