//! PVALIDATE (58019 §7.2), entry by entry: what it does, bad entries, pages that are not the guest's.

use crate::guest::{self, peek, poke, pvalidate_one, pvalidate_page};
use guest_rt::report::{Fault, check, check_that, vc};
use guest_rt::svsm::{self, entry};
use guest_rt::{exec, msr_protocol, need, paging, params};
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
    bad_entries();
    places();
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
