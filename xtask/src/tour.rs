//! What a guest's console says: the lines of `guest/linux/init`, and the digest that the machine computed.

use crate::watch::Outcome;

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
            } else if text == "tour complete" {
                tour.complete = true;
            }
        }
        tour
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
    fn processor_lists_are_counted() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-3"), Some(4));
        assert_eq!(count("0,2-3"), Some(3));
        assert_eq!(count("none"), None);
        assert_eq!(count("3-0"), None);
    }
}
