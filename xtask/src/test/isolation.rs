//! Isolation of the SVSM's services: the broken service in the vTPM's place is asked to misbehave, and the guest looks whether
//! it and the SVSM are as before. What the SVSM says of it on the console is looked at here.
//!
//! A service that the kernel ends stays so. So each case that ends it is a boot of its own; the others share one.

use svsm_broken::cases::{self, Case, Ends, Misdeed};

use crate::watch::Outcome;

/// What the SVSM says when it ends a service.
const KILLED: &str = "svsm: service vtpm: killed: ";

/// The boots of one step: what they are called, and which cases they are for, by their numbers.
pub struct Group {
    /// The step's name.
    pub name: String,
    /// Numbers in the list of cases; none: all that the service survives, in one boot.
    pub cases: Vec<usize>,
}

/// All of them: one for what the service survives, one for each kind of misdeed that it does not. Instructions are many.
pub fn groups() -> Vec<Group> {
    const MOST: usize = 25;
    let mut groups = vec![Group {
        name: "isolation: what a service survives".to_owned(),
        cases: Vec::new(),
    }];
    let mut last: Option<Misdeed> = None;
    for (number, case) in cases::all().enumerate() {
        if survives(case.ends) {
            continue;
        }
        match groups.last_mut() {
            Some(group) if last == Some(case.misdeed) && group.cases.len() < MOST => {
                group.cases.push(number);
            }
            _ => groups.push(Group {
                name: format!("isolation: {:?} from {:?} on", case.misdeed, case.name),
                cases: vec![number],
            }),
        }
        last = Some(case.misdeed);
    }
    groups
}

/// What the probe is told, by which it knows the case.
pub fn choice(number: Option<usize>) -> String {
    match number {
        Some(number) => format!("broken {number}"),
        None => "broken".to_owned(),
    }
}

const fn survives(ends: Ends) -> bool {
    matches!(ends, Ends::Answers(_) | Ends::AnswersSomehow)
}

/// What is wrong with the SVSM's lines about the service's end in a boot for a case, or for all that are survived.
pub fn problem(number: Option<usize>, outcome: &Outcome) -> Option<String> {
    let reasons: Vec<&str> = outcome
        .lines
        .iter()
        .filter_map(|line| line.text.strip_prefix(KILLED))
        .collect();
    let case = number.and_then(|number| cases::all().nth(number));
    wrong_reasons(case, &reasons)
}

fn wrong_reasons(case: Option<Case>, reasons: &[&str]) -> Option<String> {
    let fits = |reason: &str| match case.map(|case| case.ends) {
        Some(Ends::Exception(vectors)) => vectors
            .iter()
            .any(|vector| reason.contains(&format!("(exception {vector}, "))),
        Some(Ends::GaveUp(code)) => reason == format!("it gave up with reason {code:#x}"),
        Some(Ends::BadAnswer(bytes)) => reason == format!("an answer of {bytes} bytes"),
        Some(Ends::TooLong) => reason == "a request took too long",
        Some(Ends::Bounded) => true,
        Some(Ends::Answers(_) | Ends::AnswersSomehow) | None => false,
    };
    match (reasons, case.map(|case| case.ends)) {
        ([], None | Some(Ends::Bounded)) => None,
        ([reason], _) if fits(reason) => None,
        _ => Some(format!(
            "the SVSM said of the service's end {reasons:?}; expected for {case:?}: {}",
            if case.is_some() {
                "one line, with that reason"
            } else {
                "nothing"
            }
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(ends: Ends) -> Option<Case> {
        cases::all().find(|case| case.ends == ends)
    }

    #[test]
    fn every_case_is_booted() {
        let groups = groups();
        let mut booted: Vec<usize> = groups
            .iter()
            .flat_map(|group| &group.cases)
            .copied()
            .collect();
        booted.sort_unstable();
        let ended: Vec<usize> = cases::all()
            .enumerate()
            .filter(|(_, case)| !survives(case.ends))
            .map(|(number, _)| number)
            .collect();
        assert_eq!(booted, ended);
        assert!(groups[0].cases.is_empty());
    }

    #[test]
    fn an_end_has_one_line_with_its_reason() {
        let page_fault = "page fault (exception 14, error 0x4) at 0x40029b, address 0x0";
        let fault = case(Ends::Exception(&[14]));
        assert_eq!(wrong_reasons(fault, &[page_fault]), None);
        assert!(wrong_reasons(fault, &[]).is_some());
        assert!(wrong_reasons(fault, &[page_fault, page_fault]).is_some());
        assert!(wrong_reasons(fault, &["a request took too long"]).is_some());
        assert_eq!(wrong_reasons(None, &[]), None);
        assert!(wrong_reasons(None, &[page_fault]).is_some());
        let too_long = case(Ends::TooLong);
        assert_eq!(wrong_reasons(too_long, &["a request took too long"]), None);
        assert_eq!(wrong_reasons(case(Ends::Bounded), &[]), None);
    }
}
