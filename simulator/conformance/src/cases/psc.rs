//! Page state changes by the GHCB event (56421 §4.1.6, and KVM's error codes in SW_EXITINFO2).

use crate::ram;
use guest_rt::ghcb::{Field, Ghcb, GhcbError};
use guest_rt::nae;
use guest_rt::report::check;
use snp_abi::ghcb::psc_entry;
use snp_abi::ghcb_msr::{PSC_PRIVATE, PSC_SHARED};
use snp_abi::{PAGE_SIZE, PageSize, exit};

/// Runs the group.
pub fn run() {
    lists();
    header();
    entries();
}

/// Sends a request with this header and these entries as they are; returns SW_EXITINFO2 and the header afterwards.
fn send(header: u64, entries: &[u64]) -> (Result<u64, GhcbError>, u64) {
    let ghcb = Ghcb::current();
    ghcb.begin();
    ghcb.write(0x800, header);
    for (i, entry) in entries.iter().enumerate() {
        ghcb.write(0x808 + i * 8, *entry);
    }
    ghcb.set(Field::Scratch, ghcb.buffer_gpa());
    let result = ghcb.exit(exit::PAGE_STATE_CHANGE, 0, 0);
    (result, ghcb.read(0x800))
}

fn small(gpa: u64, operation: u64) -> u64 {
    psc_entry(gpa, operation, PageSize::Size4K)
}

fn lists() {
    let mut list = [0; 253];
    for entry in list.iter_mut() {
        *entry = small(ram::shared(), PSC_PRIVATE);
    }
    check("psc-253-entries", Ok(()), nae::page_state_change(&list));
    let page = list[252] & 0x000F_FFFF_FFFF_F000;
    check(
        "psc-last-entry-done",
        Ok((0, false)),
        ram::pvalidate(page, 0, 1),
    );
    let (result, header) = send(
        1 << 16,
        &[
            small(ram::shared(), PSC_PRIVATE),
            small(ram::shared(), PSC_PRIVATE),
        ],
    );
    check(
        "psc-header-advanced",
        (Ok(0), 1 << 16 | 2),
        (result, header),
    );
    // A resumed list: the first entry is not looked at again.
    let pages = [ram::shared(), ram::shared()];
    let (result, header) = send(
        1 << 16 | 1,
        &[small(pages[0], PSC_PRIVATE), small(pages[1], PSC_PRIVATE)],
    );
    check("psc-resumed-list", (Ok(0), 1 << 16 | 2), (result, header));
    check(
        "psc-resumed-list-second",
        Ok((0, false)),
        ram::pvalidate(pages[1], 0, 1),
    );
    let (result, _) = send(0, &[small(pages[1], PSC_SHARED)]);
    check("psc-back-to-shared", Ok(0), result);
    let large = ram::shared_large();
    let (result, header) = send(0, &[psc_entry(large, PSC_PRIVATE, PageSize::Size2M)]);
    check("psc-large", (Ok(0), 1), (result, header));
    check(
        "psc-large-entry",
        Ok((0, false)),
        ram::pvalidate(large, 1, 1),
    );
    // One small page out of a large one.
    let (result, _) = send(0, &[small(large + 3 * PAGE_SIZE, PSC_SHARED)]);
    check("psc-small-in-large", Ok(0), result);
    check(
        "psc-small-in-large-neighbour",
        Ok((0, true)),
        ram::pvalidate(large + 4 * PAGE_SIZE, 0, 1),
    );
}

fn header() {
    let page = small(ram::shared(), PSC_PRIVATE);
    const BAD_HEADER: u64 = 1 << 32 | 1;
    for (name, header) in [
        ("psc-end-entry-253", 253 << 16),
        ("psc-end-entry-65535", 0xFFFF << 16),
        ("psc-cur-and-end-65535", 0xFFFF_FFFF),
    ] {
        check(name, Ok(BAD_HEADER), send(header, &[page]).0);
    }
}

fn entries() {
    const BAD_ENTRY: u64 = 1 << 32 | 2;
    let large = ram::shared_large();
    let misaligned = psc_entry(large + PAGE_SIZE, PSC_PRIVATE, PageSize::Size2M);
    check(
        "psc-large-misaligned",
        Ok(BAD_ENTRY),
        send(0, &[misaligned]).0,
    );
    let beyond = small(ram::shared(), PSC_PRIVATE) | 2;
    check(
        "psc-cur-page-beyond-small",
        Ok(BAD_ENTRY),
        send(0, &[beyond]).0,
    );
    let beyond = psc_entry(large, PSC_PRIVATE, PageSize::Size2M) | 513;
    check(
        "psc-cur-page-beyond-large",
        Ok(BAD_ENTRY),
        send(0, &[beyond]).0,
    );
}
