use super::*;
use alloc::string::ToString;

fn ids(table: &[u8]) -> Vec<(u32, u32)> {
    let madt = Madt::read(table).expect("a table in order");
    madt.processors().map(|p| (p.id, p.flags)).collect()
}

fn about(lies: &str) -> Answer {
    Lies::parse(lies).unwrap().about(&[0, 1, 2])
}

fn sum(table: &[u8]) -> u8 {
    table.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

#[test]
fn the_truth() {
    let truth = about("");
    assert!(Lies::default().is_truth());
    assert_eq!(ids(&truth.table), [(0, 1), (1, 1), (2, 1)]);
    assert_eq!((truth.vp_count, truth.dead), (3, 0));
    assert_eq!(sum(&truth.table), 0);
    assert_eq!(
        Madt::read(&truth.table).unwrap().bytes(),
        truth.table,
        "what is taken apart and put together is the same"
    );
}

#[test]
fn ids_that_need_it_have_wide_entries() {
    let table = Madt::new([0, 254, 255, 4000]).bytes();
    let entries = Madt::read(&table).unwrap().entries;
    let types: Vec<u8> = entries.iter().take(4).map(|entry| entry[0]).collect();
    assert_eq!(types, [0, 0, 9, 9]);
    assert_eq!(ids(&table), [(0, 1), (254, 1), (255, 1), (4000, 1)]);
}

#[test]
fn lies_about_processors() {
    let all = [(0, 1), (1, 1), (2, 1)];
    assert_eq!(ids(&about("x2apic").table), all);
    let absent = about("absent:2");
    assert_eq!(ids(&absent.table), [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(absent.vp_count, 5);
    assert_eq!(about("surplus:2").table, absent.table);
    assert_eq!(about("surplus:2").vp_count, 3);
    assert_eq!(ids(&about("withheld").table), all[..2]);
    assert_eq!(ids(&about("disabled:2").table), [(0, 1), (1, 0), (2, 0)]);
    assert_eq!(
        ids(&about("x2apic,online-capable").table),
        [(0, 1), (1, 1), (2, 2)]
    );
    assert_eq!(
        ids(&about("duplicate").table),
        [(0, 1), (1, 1), (2, 1), (2, 1)]
    );
    assert_eq!(ids(&about("no-boot").table), all[1..]);
    assert_eq!(ids(&about("none").table), []);
    let many = ids(&about("many").table);
    assert_eq!((many.len(), many.last()), (513, Some(&(512, 1))));
    let dead = about("dead:2");
    assert_eq!((dead.table, dead.dead), (about("").table, 2));
}

#[test]
fn broken_tables() {
    for lie in [
        "loop",
        "long",
        "short",
        "garbage:1",
        "truncated",
        "overlong",
        "headless",
        "signature",
        "nothing",
    ] {
        let table = about(lie).table;
        assert_eq!(sum(&table), 0, "{lie}");
        // A short entry breaks no order; it is the fields that do not fit.
        let readable = Madt::read(&table).is_some();
        assert_eq!(readable, lie == "short", "{lie}");
    }
    assert_ne!(sum(&about("checksum").table), 0);
    assert_eq!(about("garbage:7").table, about("garbage:7").table);
    assert_ne!(about("garbage:7").table, about("garbage:8").table);
}

#[test]
fn what_is_no_lie() {
    assert_eq!(Lies::parse("abset"), Err(BadLie::Unknown("abset")));
    assert_eq!(
        Lies::parse("absent,many:1501"),
        Err(BadLie::Number("many:1501"))
    );
    assert_eq!(Lies::parse("loop:1"), Err(BadLie::Number("loop:1")));
    assert_eq!(Lies::parse("dead:"), Err(BadLie::Number("dead:")));
    // The message names them all.
    let message = BadLie::Unknown("").to_string();
    for (name, ..) in lies::NAMES {
        assert!(
            message
                .split([' ', ':'])
                .any(|word| word.trim_end_matches(":N") == name),
            "{name}"
        );
    }
}
