//! PVALIDATE's lists (58019 §7.2): where they may be, how long they are, how far they got.

use crate::guest::{self, list_next, put_list, pvalidate_list, pvalidate_page};
use guest_rt::ghcb::Ghcb;
use guest_rt::report::check;
use guest_rt::svsm::{self, entry};
use guest_rt::{memory, need, paging};
use snp_abi::{PAGE_SIZE, PageSize};
use svsm_abi::{pvalidate_entry, result};

const OK: u64 = result::SUCCESS;
const SMALL: PageSize = PageSize::Size4K;

/// Runs the group.
pub fn run() {
    lists();
    bad_lists();
    partial();
}

fn lists() {
    // As Linux does it: behind the calling area's header, up to 510 entries.
    let mut list = [0; svsm::PVALIDATE_MAX_ENTRIES];
    for slot in list.iter_mut() {
        *slot = entry(need!("pvalidate-510", guest::assigned()), SMALL, true);
    }
    check(
        "pvalidate-510-entries",
        Ok((OK, 510)),
        svsm::pvalidate(&list),
    );
    for slot in list.iter_mut() {
        *slot &= !pvalidate_entry::VALIDATE;
    }
    check(
        "pvalidate-510-rescinded",
        Ok((OK, 510)),
        svsm::pvalidate(&list),
    );
    // At the start of a page: 511.
    let page = need!("pvalidate-511", guest::valid());
    let mut big = [0; 511];
    for (slot, first) in big.iter_mut().zip(list.iter().cycle()) {
        *slot = first | pvalidate_entry::IGNORE_CF;
    }
    check("pvalidate-511-put", true, put_list(page, 511, 0, &big));
    check("pvalidate-511-entries", Ok(OK), pvalidate_list(page));
    check("pvalidate-511-next", 511, list_next(page));
    // The last place in a page that a list fits.
    let last = page + PAGE_SIZE - 16;
    check(
        "pvalidate-last-place-put",
        true,
        put_list(last, 1, 0, &[list[0] | pvalidate_entry::IGNORE_CF]),
    );
    check("pvalidate-last-place", Ok(OK), pvalidate_list(last));
    // A list that goes on in the middle.
    let fresh = need!("pvalidate-resumed", guest::assigned());
    let bad = entry(guest::svsm_memory().0, SMALL, false);
    check(
        "pvalidate-resumed-put",
        true,
        put_list(page, 2, 1, &[bad, entry(fresh, SMALL, true)]),
    );
    check("pvalidate-resumed", Ok(OK), pvalidate_list(page));
    check("pvalidate-resumed-next", 2, list_next(page));
}

fn bad_lists() {
    let (svsm, size) = guest::svsm_memory();
    let page = need!("list-bad", guest::valid());
    let good = entry(need!("list-bad", guest::valid()), SMALL, true) | pvalidate_entry::IGNORE_CF;
    for (name, entries, next) in [
        ("list-count-0", 0, 0),
        ("list-count-0-next-1", 0, 1),
        ("list-count-65535", 0xFFFF, 0),
        ("list-count-512", 512, 0),
        ("list-next-is-count", 1, 1),
        ("list-next-beyond-count", 1, 2),
        ("list-next-65535", 1, 0xFFFF),
        ("list-count-and-next-65535", 0xFFFF, 0xFFFF),
    ] {
        check("list-put", true, put_list(page, entries, next, &[good]));
        check(name, Ok(result::INVALID_PARAMETER), pvalidate_list(page));
    }
    for (name, offset, entries) in [
        ("list-crosses-page", PAGE_SIZE - 16, 2),
        ("list-header-only", PAGE_SIZE - 8, 1),
        ("list-511-behind-header", 8, 511),
    ] {
        let words: [u64; 1] = [good];
        let fits = offset + 16 <= PAGE_SIZE;
        check(
            "list-put",
            true,
            put_list(page + offset, entries, 0, if fits { &words } else { &[] }),
        );
        check(
            name,
            Ok(result::INVALID_PARAMETER),
            pvalidate_list(page + offset),
        );
    }
    check("list-put", true, put_list(page, 1, 0, &[good]));
    let (low_end, end) = guest::ram_ends();
    let unvalidated = need!("list-bad", guest::assigned());
    let shared = need!("list-bad", memory::shared_pages(1));
    for (name, gpa) in [
        ("list-unaligned-1", page + 1),
        ("list-unaligned-4", page + 4),
        ("list-unaligned-end-of-page", page + 0xFFC),
        ("list-in-svsm", svsm),
        ("list-in-svsm-middle", svsm + size / 2),
        ("list-in-svsm-last-words", svsm + size - 16),
        ("list-in-unvalidated-page", unvalidated),
        ("list-in-shared-page", shared),
        ("list-in-ghcb", Ghcb::current().buffer_gpa()),
        ("list-in-local-apic", 0xFEE0_0000),
        ("list-at-end-of-low-ram", low_end),
        ("list-at-end-of-ram", end),
        ("list-with-c-bit", page | paging::c_bit()),
        ("list-at-52-bits", 1 << 52),
        ("list-at-the-very-end", u64::MAX - 7),
    ] {
        check(name, Ok(result::INVALID_ADDRESS), pvalidate_list(gpa));
    }
    // The list's own page: it is rescinded, and there is nowhere to tell how far the list got.
    let own = need!("list-rescinds-itself", guest::valid());
    check(
        "list-put",
        true,
        put_list(own, 1, 0, &[entry(own, SMALL, false)]),
    );
    check(
        "list-rescinds-itself",
        Ok(result::INVALID_ADDRESS),
        pvalidate_list(own),
    );
    check("list-rescinded-itself", Ok(OK), pvalidate_page(own, true));
}

/// Entries take effect one by one: what comes before the bad one is done, and `next` says so.
fn partial() {
    let list = need!("list-partial", guest::valid());
    let pages = [
        need!("list-partial", guest::assigned()),
        need!("list-partial", guest::assigned()),
        need!("list-partial", guest::assigned()),
    ];
    let bad = entry(guest::svsm_memory().0, SMALL, true);
    let entries = [
        entry(pages[0], SMALL, true),
        entry(pages[1], SMALL, true),
        bad,
        entry(pages[2], SMALL, true),
    ];
    check("list-put", true, put_list(list, 4, 0, &entries));
    check(
        "list-partial",
        Ok(result::INVALID_ADDRESS),
        pvalidate_list(list),
    );
    check("list-partial-next", 2, list_next(list));
    check(
        "list-partial-first-done",
        Ok(result::PVALIDATE_NO_CHANGE),
        pvalidate_page(pages[0], true),
    );
    check(
        "list-partial-second-done",
        Ok(result::PVALIDATE_NO_CHANGE),
        pvalidate_page(pages[1], true),
    );
    check(
        "list-partial-last-not-done",
        Ok(result::PVALIDATE_NO_CHANGE),
        pvalidate_page(pages[2], false),
    );
    // The same page twice in one list.
    let page = need!("list-page-twice", guest::assigned());
    let twice = [entry(page, SMALL, true), entry(page, SMALL, true)];
    check("list-put", true, put_list(list, 2, 0, &twice));
    check(
        "list-page-twice",
        Ok(result::PVALIDATE_NO_CHANGE),
        pvalidate_list(list),
    );
    check("list-page-twice-next", 1, list_next(list));
    // Validated, rescinded, validated in one list.
    let page = need!("list-back-and-forth", guest::assigned());
    let there = [true, false, true].map(|validate| entry(page, SMALL, validate));
    check("list-put", true, put_list(list, 3, 0, &there));
    check("list-back-and-forth", Ok(OK), pvalidate_list(list));
    check(
        "list-back-and-forth-valid",
        Ok(result::PVALIDATE_NO_CHANGE),
        pvalidate_page(page, true),
    );
}
