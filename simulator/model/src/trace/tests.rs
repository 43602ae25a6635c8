//! Tests of the run-time options.

use super::*;
use std::vec::Vec;

fn parse(list: &str) -> (Filter, Vec<OptionError<'_>>) {
    let mut errors = Vec::new();
    let filter = Filter::parse(list, |error| errors.push(error));
    (filter, errors)
}

#[test]
fn topics_are_switched_on_by_name() {
    let (filter, errors) = parse("npf,ghcb,,vc");
    assert_eq!(errors, []);
    for (name, topic) in Topic::ALL {
        assert_eq!(
            filter.wants(topic),
            ["npf", "ghcb", "vc"].contains(&name),
            "{name}"
        );
    }
    let (all, _) = parse("all");
    assert!(Topic::ALL.iter().all(|(_, topic)| all.wants(*topic)));
    assert_eq!(parse("").0, Filter::default());
}

#[test]
fn io_can_be_one_port() {
    let (filter, errors) = parse("io:3f8");
    assert_eq!(errors, []);
    assert!(filter.wants_port(0x3F8) && !filter.wants_port(0x3F9));
    let (every, _) = parse("io:0x3f8,io");
    assert!(every.wants_port(0x3F9));
    assert!(!parse("npf").0.wants_port(0x3F8));
}

#[test]
fn unknown_names_are_reported_and_the_rest_counts() {
    let (filter, errors) = parse("npf,nfp,io:zz,io:10000,rmp");
    assert_eq!(
        errors,
        [
            OptionError::UnknownTopic("nfp"),
            OptionError::BadPort("zz"),
            OptionError::BadPort("10000")
        ]
    );
    assert!(filter.wants(Topic::Npf) && filter.wants(Topic::Rmp) && !filter.wants(Topic::Io));
}

#[test]
fn options_are_names_and_values() {
    let line = " trace=npf,io:3f8  cases limit=0x10 count=12 hide=off odd= a=b=c";
    let parsed: Vec<_> = options(line)
        .map(|option| (option.name, option.value))
        .collect();
    assert_eq!(
        parsed,
        [
            ("trace", Some("npf,io:3f8")),
            ("cases", None),
            ("limit", Some("0x10")),
            ("count", Some("12")),
            ("hide", Some("off")),
            ("odd", Some("")),
            ("a", Some("b=c")),
        ]
    );
    let option = |name| options(line).find(|option| option.name == name).unwrap();
    assert_eq!(option("limit").number(), Ok(16));
    assert_eq!(option("count").number(), Ok(12));
    assert_eq!(option("cases").flag(), Ok(true));
    assert_eq!(option("hide").flag(), Ok(false));
    for result in [
        option("odd").number(),
        option("hide").number(),
        option("cases").number(),
    ] {
        assert!(matches!(result, Err(OptionError::BadValue { .. })));
    }
    assert!(option("count").flag().is_err());
    assert_eq!(option("odd").unknown(), OptionError::UnknownOption("odd"));
}
