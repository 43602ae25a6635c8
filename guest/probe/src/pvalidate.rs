//! PVALIDATE (58019 §7.2): what it does, bad lists, bad entries.

use crate::guest::{
    self, list_next, peek, poke, put_list, pvalidate_list, pvalidate_one, pvalidate_page,
};
use guest_rt::ghcb::Ghcb;
use guest_rt::report::{Fault, check, check_that, vc};
use guest_rt::svsm::{self, entry};
use guest_rt::{exec, memory, msr_protocol, need, paging, params};
use snp_abi::exit::PAGE_NOT_VALIDATED;
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize};
use svsm_abi::{pvalidate_entry, result};

const OK: u64 = result::SUCCESS;
const SMALL: PageSize = PageSize::Size4K;
const LARGE: PageSize = PageSize::Size2M;

/// Runs the group.
pub fn run() {
    small();
    large();
    lists();
    bad_lists();
    bad_entries();
    places();
    partial();
}

fn small() {
    let page = need!("pvalidate-small", guest::assigned());
    check("pvalidate-validates", Ok(OK), pvalidate_page(page, true));
    let clear = (0..PAGE_SIZE)
        .step_by(8)
        .all(|offset| peek(page + offset) == 0);
    check("pvalidate-page-is-cleared", true, clear);
    poke(page, 0x5EC2E7);
    check("pvalidate-page-is-usable", 0x5EC2E7, peek(page));
    check("pvalidate-page-executes", Ok(()), {
        poke(page, 0xC3);
        // SAFETY: the page holds a RET.
        unsafe { exec::call(page) }.map_err(Fault::from)
    });
    check(
        "pvalidate-twice",
        Ok(result::PVALIDATE_NO_CHANGE),
        pvalidate_page(page, true),
    );
    check("pvalidate-twice-changes-nothing", 0xC3, peek(page));
    let ignore = entry(page, SMALL, true) | pvalidate_entry::IGNORE_CF;
    check("pvalidate-twice-ignored", Ok(OK), pvalidate_one(ignore));
    check("pvalidate-rescinds", Ok(OK), pvalidate_page(page, false));
    let got = exec::read(page).map_err(Fault::from);
    check(
        "pvalidate-rescinded-access",
        Err(vc(PAGE_NOT_VALIDATED)),
        got,
    );
    check(
        "pvalidate-rescind-twice",
        Ok(result::PVALIDATE_NO_CHANGE),
        pvalidate_page(page, false),
    );
    let ignore = entry(page, SMALL, false) | pvalidate_entry::IGNORE_CF;
    check(
        "pvalidate-rescind-twice-ignored",
        Ok(OK),
        pvalidate_one(ignore),
    );
    check("pvalidate-again", Ok(OK), pvalidate_page(page, true));
    check("pvalidate-again-cleared", 0, peek(page));
}

fn large() {
    let base = need!("pvalidate-large", guest::assigned_large());
    check(
        "pvalidate-large",
        Ok(OK),
        pvalidate_one(entry(base, LARGE, true)),
    );
    poke(base + LARGE_PAGE_SIZE - 8, 1);
    check(
        "pvalidate-large-usable",
        (0, 1),
        (peek(base), peek(base + LARGE_PAGE_SIZE - 8)),
    );
    check(
        "pvalidate-large-twice",
        Ok(result::PVALIDATE_NO_CHANGE),
        pvalidate_one(entry(base, LARGE, true)),
    );
    let inner = base + 9 * PAGE_SIZE;
    check(
        "pvalidate-small-in-large-twice",
        Ok(result::PVALIDATE_NO_CHANGE),
        pvalidate_page(inner, true),
    );
    check(
        "pvalidate-small-in-large-rescind",
        Ok(OK),
        pvalidate_page(inner, false),
    );
    check(
        "pvalidate-small-in-large-validate",
        Ok(OK),
        pvalidate_page(inner, true),
    );
    let base = need!("pvalidate-large-rescind", guest::assigned_large());
    check(
        "pvalidate-large-rescind-setup",
        Ok(OK),
        pvalidate_one(entry(base, LARGE, true)),
    );
    check(
        "pvalidate-large-rescind",
        Ok(OK),
        pvalidate_one(entry(base, LARGE, false)),
    );
    let base = need!("pvalidate-size-mismatch", guest::assigned_small_run());
    let got = pvalidate_one(entry(base, LARGE, true));
    check(
        "pvalidate-size-mismatch",
        Ok(result::PVALIDATE_SIZE_MISMATCH),
        got,
    );
    check(
        "pvalidate-size-mismatch-changes-nothing",
        Ok(OK),
        pvalidate_page(base, true),
    );
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

fn bad_entries() {
    let page = need!("entry-bad", guest::assigned());
    let good = entry(page, SMALL, true);
    for bit in 4..12 {
        let got = pvalidate_one(good | 1 << bit);
        if got != Ok(result::INVALID_PARAMETER) || bit == 11 {
            check("entry-reserved-bits", Ok(result::INVALID_PARAMETER), got);
            break;
        }
    }
    check(
        "entry-all-reserved-bits",
        Ok(result::INVALID_PARAMETER),
        pvalidate_one(good | 0xFF0),
    );
    check(
        "entry-size-2",
        Ok(result::INVALID_PARAMETER),
        pvalidate_one(good | 2),
    );
    check(
        "entry-size-3",
        Ok(result::INVALID_PARAMETER),
        pvalidate_one(good | 3),
    );
    check(
        "entry-all-ones",
        Ok(result::INVALID_PARAMETER),
        pvalidate_one(u64::MAX),
    );
    let misaligned = entry(page, LARGE, true);
    let got = pvalidate_one(misaligned);
    let refused = matches!(got, Ok(result::INVALID_ADDRESS | result::INVALID_PARAMETER));
    check_that(
        "entry-large-misaligned",
        refused,
        "INVALID_ADDRESS or INVALID_PARAMETER",
        got,
    );
    check(
        "entry-bad-ones-changed-nothing",
        Ok(OK),
        pvalidate_page(page, true),
    );
}

/// Pages that the guest has no business with.
fn places() {
    let (svsm, size) = guest::svsm_memory();
    let (low_end, end) = guest::ram_ends();
    let vmsa_like = svsm + 0x4000;
    for (name, gpa) in [
        ("entry-svsm-first-page", svsm),
        ("entry-svsm-page-tables", vmsa_like),
        ("entry-svsm-middle", svsm + size / 2),
        ("entry-svsm-last-page", svsm + size - PAGE_SIZE),
        ("entry-before-svsm", svsm - PAGE_SIZE),
        ("entry-after-svsm", svsm + size),
        ("entry-end-of-low-ram", low_end),
        ("entry-end-of-ram", end),
        ("entry-io-apic", 0xFEC0_0000),
        ("entry-local-apic", 0xFEE0_0000),
        ("entry-with-c-bit", 0x100_0000 | paging::c_bit()),
        ("entry-52-bits", 1 << 52),
        ("entry-last-page", !0xFFF),
        ("entry-own-calling-area", svsm::caa()),
    ] {
        let rescind = pvalidate_page(gpa, false);
        check(name, Ok(result::INVALID_ADDRESS), rescind);
        if gpa != svsm::caa() {
            let got = pvalidate_page(gpa, true);
            if got != Ok(result::INVALID_ADDRESS) {
                check(name, Ok(result::INVALID_ADDRESS), got);
            }
            let ignoring = pvalidate_one(entry(gpa, SMALL, true) | pvalidate_entry::IGNORE_CF);
            if ignoring != Ok(result::INVALID_ADDRESS) {
                check(name, Ok(result::INVALID_ADDRESS), ignoring);
            }
        }
    }
    for (name, gpa) in [
        ("entry-large-svsm", svsm),
        ("entry-large-svsm-last", svsm + size - LARGE_PAGE_SIZE),
        ("entry-large-over-local-apic", 0xFEE0_0000),
        ("entry-large-last", !(LARGE_PAGE_SIZE - 1)),
    ] {
        for validate in [false, true] {
            check(
                name,
                Ok(result::INVALID_ADDRESS),
                pvalidate_one(entry(gpa, LARGE, validate)),
            );
        }
    }
    // The large page around this payload has its calling area in it.
    let own = params::guest().map_or(0, |p| p.region.base.get());
    let got = pvalidate_one(entry(own, LARGE, false));
    let refused = matches!(
        got,
        Ok(result::INVALID_ADDRESS | result::PVALIDATE_SIZE_MISMATCH)
    );
    check_that(
        "entry-large-over-calling-area",
        refused,
        "INVALID_ADDRESS or size mismatch",
        got,
    );
    // A large page of which one small page is validated already.
    let base = need!("entry-large-partly-valid", guest::assigned_small_run());
    check(
        "entry-large-partly-valid-setup",
        Ok(OK),
        pvalidate_page(base + PAGE_SIZE, true),
    );
    let got = pvalidate_one(entry(base, LARGE, true));
    check(
        "entry-large-partly-valid",
        Ok(result::PVALIDATE_SIZE_MISMATCH),
        got,
    );
    // A page that was given to the hypervisor without being rescinded: it is validated by the SVSM's books. The
    // hypervisor has it now; asking again to validate it must not do so a second time.
    let page = need!("entry-lost-page", guest::valid());
    need!(
        "entry-lost-page",
        msr_protocol::page_state_change(page, snp_abi::ghcb_msr::PSC_SHARED)
    );
    need!(
        "entry-lost-page",
        msr_protocol::page_state_change(page, snp_abi::ghcb_msr::PSC_PRIVATE)
    );
    check(
        "entry-lost-page",
        Ok(result::PVALIDATE_NO_CHANGE),
        pvalidate_page(page, true),
    );
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
