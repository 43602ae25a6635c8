//! What a guest's console says: the lines of `guest/linux/init`, and the digest that the machine computed.

use crate::watch::Outcome;

/// What a guest with the SVSM's vTPM must show, as `guest/linux/init` names it.
const TPM_FACTS: [&str; 9] = [
    "devices",
    "properties",
    "PCR extend and read",
    "seal under a PCR policy",
    "unseal",
    "unsealing refused after the PCR changed",
    "endorsement key",
    "kernel log without complaints",
    "figures of the bus",
];

/// The facts of a tour; a fact that was not printed is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tour {
    /// `uname -r`.
    pub kernel: Option<String>,
    /// Online processors.
    pub cpus: Option<u32>,
    /// Memory that Linux has, in KiB.
    pub memory: Option<u64>,
    /// What Linux says its VMPL is.
    pub vmpl: Option<u32>,
    /// Seconds of guest time until init.
    pub init: Option<String>,
    /// What the guest showed of its TPM.
    pub tpm: Vec<String>,
    /// What it could not show of it.
    pub tpm_failures: Vec<String>,
    /// Whether the last line was reached.
    pub complete: bool,
}

impl Tour {
    /// Reads them from a console.
    pub fn of(outcome: &Outcome) -> Tour {
        let mut tour = Tour::default();
        for line in &outcome.lines {
            let Some((_, text)) = line.text.split_once("macadamia: ") else {
                continue;
            };
            let word = |prefix: &str| {
                text.strip_prefix(prefix)
                    .and_then(|rest| rest.split_whitespace().next())
            };
            if let Some(kernel) = word("kernel ") {
                tour.kernel = Some(kernel.to_owned());
            } else if let Some(list) = word("cpus online ") {
                tour.cpus = count(list);
            } else if let Some(memory) = word("memory ") {
                tour.memory = memory.parse().ok();
            } else if let Some(vmpl) = word("vmpl ") {
                tour.vmpl = vmpl.parse().ok();
            } else if let Some(seconds) = word("init reached after ") {
                tour.init = Some(seconds.to_owned());
            } else if let Some(fact) = text.strip_prefix("tpm: ok ") {
                tour.tpm.push(fact.to_owned());
            } else if let Some(fact) = text.strip_prefix("tpm: FAIL ") {
                tour.tpm_failures.push(fact.to_owned());
            } else if text == "tour complete" {
                tour.complete = true;
            }
        }
        tour
    }

    /// What is missing of the TPM's part under an SVSM that has a vTPM, if anything is.
    pub fn tpm_problem(&self) -> Option<String> {
        if !self.tpm_failures.is_empty() {
            return Some(format!(
                "the guest's TPM fails at: {}",
                self.tpm_failures.join("; ")
            ));
        }
        let shown = |fact: &str| self.tpm.iter().any(|other| other == fact);
        TPM_FACTS
            .iter()
            .find(|fact| !shown(fact))
            .map(|fact| format!("the guest does not show of its TPM: {fact}"))
    }
}

/// How many numbers are in a list as Linux prints them: `0`, `0-3`, `0,2-3`.
fn count(list: &str) -> Option<u32> {
    list.split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            last.checked_sub(first)?.checked_add(1)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_of_the_tpm_is_asked_for() {
        let mut tour = Tour {
            tpm: TPM_FACTS.map(str::to_owned).to_vec(),
            ..Tour::default()
        };
        assert_eq!(tour.tpm_problem(), None);
        tour.tpm.remove(4);
        assert!(tour.tpm_problem().unwrap().ends_with(": unseal"));
        tour.tpm_failures.push("unseal".to_owned());
        assert!(tour.tpm_problem().unwrap().starts_with("the guest's TPM"));
    }

    #[test]
    fn processor_lists_are_counted() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-3"), Some(4));
        assert_eq!(count("0,2-3"), Some(3));
        assert_eq!(count("none"), None);
        assert_eq!(count("3-0"), None);
    }
}
