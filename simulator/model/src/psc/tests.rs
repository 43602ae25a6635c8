//! Tests of page state changes. Expectations: 56421 §4.1.6, results as KVM's `snp_begin_psc` gives them.

use super::*;
use proptest::prelude::*;
use snp_abi::ghcb::{PSC_MAX_ENTRIES, SHARED_BUFFER_SIZE, psc_entry};
use std::vec::Vec;

const GPA: u64 = 0x1234_5000;
const LARGE_GPA: u64 = 0x4000_0000;

fn buffer(cur: u16, end: u16, entries: &[u64]) -> Vec<u8> {
    let mut buffer = vec![0; SHARED_BUFFER_SIZE];
    buffer[..2].copy_from_slice(&cur.to_le_bytes());
    buffer[2..4].copy_from_slice(&end.to_le_bytes());
    for (slot, entry) in buffer[8..].chunks_exact_mut(8).zip(entries) {
        slot.copy_from_slice(&entry.to_le_bytes());
    }
    buffer
}

fn cur_entry(buffer: &[u8]) -> u16 {
    u16::from_le_bytes([buffer[0], buffer[1]])
}

fn entry(buffer: &[u8], index: usize) -> u64 {
    u64::from_le_bytes(buffer[8 + 8 * index..][..8].try_into().unwrap())
}

fn run_all(buffer: &mut [u8]) -> (u64, Vec<Change>) {
    let mut changes = Vec::new();
    let info_2 = run(buffer, |change| {
        changes.push(change);
        Ok(())
    });
    (info_2, changes)
}

fn change(gpa: u64, size: PageSize, operation: Operation) -> Change {
    Change {
        gpa,
        size,
        operation,
    }
}

#[test]
fn entries_are_done_in_order_and_the_header_moves_past_the_end() {
    let mut list = buffer(
        0,
        2,
        &[
            psc_entry(GPA, 1, PageSize::Size4K),
            psc_entry(LARGE_GPA, 2, PageSize::Size2M),
            psc_entry(GPA, 2, PageSize::Size4K),
            psc_entry(0x7000, 1, PageSize::Size4K),
        ],
    );
    let (info_2, changes) = run_all(&mut list);
    assert_eq!(info_2, 0);
    assert_eq!(
        changes,
        [
            change(GPA, PageSize::Size4K, Operation::Private),
            change(LARGE_GPA, PageSize::Size2M, Operation::Shared),
            change(GPA, PageSize::Size4K, Operation::Shared),
        ]
    );
    // Linux loops until cur_entry > end_entry and checks that end_entry and reserved are as they were.
    assert_eq!(list[..8], [3, 0, 2, 0, 0, 0, 0, 0]);
    // cur_page is written back as 1 or 512.
    assert_eq!(
        [0, 1, 2, 3].map(|index| entry(&list, index) & 0xFFF),
        [1, 512, 1, 0]
    );
}

#[test]
fn a_list_that_is_done_does_nothing() {
    let mut list = buffer(5, 4, &[psc_entry(GPA, 1, PageSize::Size4K); 6]);
    assert_eq!(run_all(&mut list), (0, Vec::new()));
    assert_eq!(cur_entry(&list), 5);
}

#[test]
fn all_253_entries_can_be_used_and_no_more() {
    let entries = [psc_entry(GPA, 1, PageSize::Size4K); PSC_MAX_ENTRIES];
    let mut list = buffer(0, 252, &entries);
    assert_eq!(run_all(&mut list).1.len(), 253);
    for end in [253, 254, u16::MAX] {
        let mut list = buffer(0, end, &entries);
        assert_eq!(run_all(&mut list), (ERROR_INVALID_HEADER, Vec::new()));
    }
    // A list that starts later in the shared buffer has fewer.
    let mut list = buffer(0, 1, &entries);
    assert_eq!(run_all(&mut list[..16]), (ERROR_INVALID_HEADER, Vec::new()));
    assert_eq!(run_all(&mut []).0, ERROR_INVALID_HEADER);
}

#[test]
fn bad_entries_stop_the_list_at_them() {
    for bad in [
        psc_entry(LARGE_GPA + 0x1000, 1, PageSize::Size2M),
        psc_entry(GPA, 1, PageSize::Size4K) | 2,
        psc_entry(LARGE_GPA, 1, PageSize::Size2M) | 513,
    ] {
        let mut list = buffer(0, 1, &[psc_entry(GPA, 1, PageSize::Size4K), bad]);
        let (info_2, changes) = run_all(&mut list);
        assert_eq!(info_2, ERROR_INVALID_ENTRY);
        assert_eq!(changes.len(), 1);
        assert_eq!((cur_entry(&list), entry(&list, 1)), (1, bad));
    }
}

#[test]
fn a_partly_done_large_entry_goes_on_in_small_pages() {
    let mut list = buffer(0, 0, &[psc_entry(LARGE_GPA, 1, PageSize::Size2M) | 510]);
    let (info_2, changes) = run_all(&mut list);
    assert_eq!(info_2, 0);
    let pages: Vec<_> = changes
        .iter()
        .map(|change| (change.gpa, change.size))
        .collect();
    assert_eq!(
        pages,
        [
            (LARGE_GPA + 510 * 0x1000, PageSize::Size4K),
            (LARGE_GPA + 511 * 0x1000, PageSize::Size4K)
        ]
    );
    // cur_page == number of pages: nothing left.
    let mut list = buffer(0, 0, &[psc_entry(LARGE_GPA, 1, PageSize::Size2M) | 512]);
    assert_eq!(run_all(&mut list), (0, Vec::new()));
}

#[test]
fn unknown_operations_count_as_done() {
    let mut list = buffer(
        0,
        1,
        &[
            psc_entry(GPA, 3, PageSize::Size4K),
            psc_entry(LARGE_GPA, 15, PageSize::Size2M),
        ],
    );
    assert_eq!(run_all(&mut list), (0, Vec::new()));
    assert_eq!(cur_entry(&list), 2);
}

#[test]
fn a_callback_can_stop_the_walk() {
    for (stop, expected) in [(Stop::Failed, ERROR_GENERIC), (Stop::Later, 0)] {
        let mut list = buffer(0, 0, &[psc_entry(LARGE_GPA, 1, PageSize::Size2M) | 1]);
        let mut left = 3;
        let info_2 = run(&mut list, |_| {
            left -= 1;
            if left == 0 { Err(stop) } else { Ok(()) }
        });
        assert_eq!(info_2, expected);
        // Two of the pages were done; the next call goes on after them.
        assert_eq!((cur_entry(&list), entry(&list, 0) & 0xFFF), (0, 3));
        let (info_2, changes) = run_all(&mut list);
        assert_eq!((info_2, changes.len()), (0, 509));
    }
}

proptest! {
    #[test]
    fn random_lists_never_panic_and_only_move_forward(
        cur in 0u16..260, end in 0u16..260, entries in proptest::collection::vec(any::<u64>(), 253),
        length in 0usize..=SHARED_BUFFER_SIZE, fail_at in 0usize..600,
    ) {
        let mut list = buffer(cur, end, &entries);
        let before = list.clone();
        let mut calls = 0;
        let mut bad = None;
        let info_2 = run(&mut list[..length], |change| {
            calls += 1;
            if !change.gpa.is_multiple_of(change.size.bytes()) {
                bad = Some(change);
            }
            if calls == fail_at { Err(Stop::Failed) } else { Ok(()) }
        });
        prop_assert_eq!(bad, None);
        prop_assert_eq!(&list[2..8], &before[2..8], "end_entry and reserved are not ours");
        prop_assert_eq!(&list[length.min(list.len())..], &before[length..]);
        if length >= 8 {
            prop_assert!(cur_entry(&list) >= cur);
            prop_assert!(info_2 != 0 || cur_entry(&list) > end);
        }
        for index in 0..253 {
            let (old, new) = (entry(&before, index), entry(&list, index));
            prop_assert_eq!(old & !0xFFF, new & !0xFFF);
            prop_assert!(old & 0xFFF <= new & 0xFFF);
        }
    }
}
