//! The state file: nothing but the state before or after a commit comes out of it, wherever a write is stopped.

use std::path::PathBuf;

use macadamia_tpm_server::store::fault::{Faulty, Remains};
use macadamia_tpm_server::store::format::{self, FormatError};
use macadamia_tpm_server::store::{Disk, Durability, Journal, Medium, OpenError, Store};
use proptest::prelude::*;
use tpm_engine::platform::{Change, Records, apply};

type Commit = Vec<(u32, Option<Vec<u8>>)>;

fn changes(commit: &Commit) -> Vec<Change<'_>> {
    commit
        .iter()
        .map(|(key, value)| Change {
            key: *key,
            value: value.as_deref(),
        })
        .collect()
}

fn plain(records: &Records) -> Vec<(u32, Vec<u8>)> {
    records
        .iter()
        .map(|(key, value)| (*key, value.to_vec()))
        .collect()
}

fn reopened(file: Option<Vec<u8>>) -> Vec<(u32, Vec<u8>)> {
    let mut journal = Journal::open(Faulty::holding(file), Durability::Fsync).unwrap();
    plain(journal.load().unwrap())
}

/// Commits that grow, shrink, replace and remove, with one that makes the file be rewritten.
fn commits() -> Vec<Commit> {
    let mut commits: Vec<Commit> = vec![
        vec![
            (1, Some(vec![7; 40])),
            (2, Some(vec![])),
            (9, Some(vec![1])),
        ],
        vec![(1, Some(vec![8; 3]))],
        vec![(2, None), (3, Some((0..100).collect()))],
        vec![(5, None)],
        vec![(1, None), (3, None), (9, None)],
    ];
    // 64 KiB of what is worth 2000 bytes.
    commits.extend((0..33u8).map(|n| vec![(4, Some(vec![n; 2000]))]));
    commits.push(vec![(1, Some(vec![5; 10]))]);
    commits
}

/// Runs `commits` until the medium stops, and says how many were made.
fn run(medium: &Faulty, commits: &[Commit]) -> usize {
    let Ok(mut journal) = Journal::open(medium.clone(), Durability::Fsync) else {
        return 0;
    };
    commits
        .iter()
        .take_while(|commit| journal.commit(&changes(commit)).is_ok())
        .count()
}

#[test]
fn a_stop_at_any_step_leaves_the_state_before_or_after() {
    let commits = commits();
    let mut states = vec![Records::new()];
    for commit in &commits {
        let mut next = states.last().unwrap().clone();
        apply(&mut next, &changes(commit));
        states.push(next);
    }
    let states: Vec<_> = states.iter().map(plain).collect();

    let whole = Faulty::default();
    assert_eq!(run(&whole, &commits), commits.len());
    let steps = whole.steps();
    assert!(steps > 65_000, "{steps}");
    // Every step of the small commits and around the rewriting; every 97th of the long stretch of equal ones.
    for stop in (0..steps).filter(|step| *step < 1500 || step + 4500 > steps || step % 97 == 0) {
        let medium = Faulty::default();
        medium.stop_after(stop);
        let made = run(&medium, &commits);
        for remains in [Remains::Everything, Remains::Synced, Remains::Zeros] {
            let file = medium.remains(remains);
            let state = reopened(file);
            let after = states.get(made + 1);
            assert!(
                state == states[made] || Some(&state) == after,
                "stopped after {stop} of {steps}, {made} commits made, {remains:?}"
            );
        }
    }
}

#[test]
fn a_failed_commit_that_could_be_taken_back_leaves_a_store_that_goes_on() {
    let medium = Faulty::default();
    let mut journal = Journal::open(medium.clone(), Durability::Fsync).unwrap();
    journal.commit(&changes(&vec![(1, Some(vec![1]))])).unwrap();
    medium.stop_after(20);
    assert!(journal.commit(&changes(&vec![(1, Some(vec![2]))])).is_err());
    assert!(journal.commit(&changes(&vec![(1, Some(vec![3]))])).is_err());
    medium.stop_after(1_000_000);
    assert!(
        journal.commit(&changes(&vec![(1, Some(vec![4]))])).is_err(),
        "what is in the file is not known until it is read"
    );
    assert_eq!(plain(journal.load().unwrap()), [(1, vec![1])]);
    journal.commit(&changes(&vec![(1, Some(vec![5]))])).unwrap();
    assert_eq!(reopened(medium.remains(Remains::Synced)), [(1, vec![5])]);
}

#[test]
fn the_file_does_not_grow_without_bound() {
    let medium = Faulty::default();
    let mut journal = Journal::open(medium.clone(), Durability::None).unwrap();
    for n in 0..2000u32 {
        let value = n.to_be_bytes().repeat(50);
        journal
            .commit(&changes(&vec![(n % 5, Some(value))]))
            .unwrap();
    }
    let length = medium.remains(Remains::Everything).unwrap().len();
    assert!(length < 70_000, "{length}");
}

#[test]
fn one_changed_byte_is_noticed_or_is_in_the_last_transaction() {
    let medium = Faulty::default();
    let mut journal = Journal::open(medium.clone(), Durability::Fsync).unwrap();
    let before_last = {
        journal
            .commit(&changes(&vec![(1, Some(vec![1; 20]))]))
            .unwrap();
        journal
            .commit(&changes(&vec![(2, Some(vec![2; 20]))]))
            .unwrap();
        medium.remains(Remains::Synced).unwrap().len()
    };
    journal.commit(&changes(&vec![(1, None)])).unwrap();
    let file = medium.remains(Remains::Synced).unwrap();
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 0x40;
        match format::scan(&damaged) {
            Err(_) => assert!(at < before_last, "byte {at}"),
            Ok(scan) => {
                assert!(at >= before_last, "byte {at}");
                assert_eq!(scan.end, before_last);
            }
        }
        let mut journal = Journal::open(Faulty::holding(Some(damaged.clone())), Durability::Fsync);
        match &mut journal {
            Ok(_) => {}
            Err(OpenError::Format(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_is_no_state_is_named_and_left_alone() {
    let open = |file: &[u8]| {
        let medium = Faulty::holding(Some(file.to_vec()));
        let error = Journal::open(medium.clone(), Durability::Fsync)
            .err()
            .unwrap();
        assert_eq!(medium.remains(Remains::Everything).unwrap(), file);
        error.to_string()
    };
    assert!(open(b"#!/bin/sh\nexit\n").contains("\"#!/bin/s\", not with \"MCDM-TPM\""));
    assert!(open(b"").contains("0 bytes, fewer than the 64"));
    assert!(open(b"MCDM-TPM").contains("8 bytes"));
    let mut newer = format::image(&[1; 16], &Records::new()).to_vec();
    newer[8] = 2;
    assert!(open(&newer).contains("version 2; this program reads version 1"));
    assert_eq!(
        format::records(&newer[..20]).err(),
        Some(FormatError::Short { found: 20 })
    );
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("tpm-server-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_on_disk_keeps_the_state_and_admits_one_server() {
    let directory = Directory::new("disk");
    let path = directory.0.join("state");
    let mut journal = Journal::open(Disk::new(&path), Durability::Fsync).unwrap();
    // Enough that the file is replaced: the lock must be on the new one.
    for n in 0..100u8 {
        journal
            .commit(&changes(&vec![(1, Some(vec![n; 2000]))]))
            .unwrap();
        let error = Journal::open(Disk::new(&path), Durability::Fsync)
            .err()
            .unwrap();
        assert!(error.to_string().contains("another process has it in use"));
    }
    drop(journal);
    std::fs::write(
        directory.0.join("state.new-1"),
        "what a killed process left",
    )
    .unwrap();
    let mut journal = Journal::open(Disk::new(&path), Durability::Fsync).unwrap();
    assert_eq!(plain(journal.load().unwrap()), [(1, vec![99; 2000])]);
    let names: Vec<_> = std::fs::read_dir(&directory.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["state"]);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_torn_tail_on_disk_is_cut() {
    let directory = Directory::new("torn");
    let path = directory.0.join("state");
    let mut journal = Journal::open(Disk::new(&path), Durability::Fsync).unwrap();
    journal.commit(&changes(&vec![(1, Some(vec![1]))])).unwrap();
    let good = std::fs::read(&path).unwrap();
    journal.commit(&changes(&vec![(1, Some(vec![2]))])).unwrap();
    drop(journal);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let mut journal = Journal::open(Disk::new(&path), Durability::Fsync).unwrap();
    assert_eq!(journal.cut(), whole.len() - 1 - good.len());
    assert_eq!(plain(journal.load().unwrap()), [(1, vec![1])]);
    assert_eq!(std::fs::read(&path).unwrap(), good);
}

proptest! {
    #[test]
    fn scanning_never_panics_and_never_makes_records_up(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut file = format::image(&[3; 16], &Records::new()).to_vec();
        let length = file.len();
        prop_assert!(format::scan(&bytes).is_err());
        file.extend_from_slice(&bytes);
        let scan = format::scan(&file).unwrap();
        prop_assert_eq!(scan.end, length);
        prop_assert!(scan.records.is_empty());
    }

    #[test]
    fn an_image_has_the_records_it_was_made_of(
        records in proptest::collection::btree_map(any::<u32>(), proptest::collection::vec(any::<u8>(), 0..50), 0..20),
    ) {
        let records: Records = records.into_iter().map(|(key, value)| (key, value.into())).collect();
        let read = format::records(&format::image(&[3; 16], &records)).unwrap();
        prop_assert_eq!(read, records);
    }
}

#[test]
fn a_medium_in_memory_behaves_like_a_disk() {
    let directory = Directory::new("medium");
    let run = |medium: &mut dyn Medium| {
        assert_eq!(medium.read().unwrap(), None);
        medium.create_new().unwrap();
        medium.write_new(b"abc").unwrap();
        medium.write_new(b"def").unwrap();
        medium.sync_new().unwrap();
        medium.publish().unwrap();
        medium.write_at(6, b"ghi").unwrap();
        medium.truncate(8).unwrap();
        medium.sync().unwrap();
        assert_eq!(medium.read().unwrap().as_deref(), Some(&b"abcdefgh"[..]));
        medium.create_new().unwrap();
        medium.write_new(b"x").unwrap();
        medium.create_new().unwrap();
        medium.write_new(b"y").unwrap();
        medium.publish().unwrap();
        assert_eq!(medium.read().unwrap().as_deref(), Some(&b"y"[..]));
    };
    run(&mut Disk::new(directory.0.join("file")));
    run(&mut Faulty::default());
}
