//! Ordinary accesses against the RMP at VMPL0: unvalidated pages, the C-bit, page state changes (APM vol. 2 §15.36).
//! Accesses that must end the guest are fatal cases.

use crate::ram;
use guest_rt::exec;
use guest_rt::need;
use guest_rt::paging::{self, Mapping};
use guest_rt::report::{Fault, check, check_that, vc};
use snp_abi::exit::PAGE_NOT_VALIDATED;

/// Runs the group.
pub fn run() {
    unvalidated();
    page_table();
    c_bit();
    lost_validation();
    write_through_alias();
}

fn read(va: u64) -> Result<u64, Fault> {
    exec::read(va).map_err(Fault::from)
}

fn write(va: u64, value: u64) -> Result<(), Fault> {
    // SAFETY: cases write to pages of their own.
    unsafe { exec::write(va, value) }.map_err(Fault::from)
}

fn unvalidated() {
    let page = need!("access-unvalidated", ram::assigned());
    let expected = vc(PAGE_NOT_VALIDATED);
    check("access-unvalidated-read", Err(expected), read(page));
    check("access-unvalidated-write", Err(expected), write(page, 1));
    // SAFETY: if the page were executable memory, the case would have failed above.
    let fetched = unsafe { exec::call(page) };
    if let Err(trap) = &fetched {
        check("access-unvalidated-fetch-rip", page, trap.frame.rip);
    }
    check(
        "access-unvalidated-fetch",
        Err(expected),
        fetched.map_err(Fault::from),
    );
    check(
        "access-validate",
        Ok((0, false)),
        ram::pvalidate(page, 0, 1),
    );
    check("access-validated-write", Ok(()), write(page, 0x1122_3344));
    check("access-validated-read", Ok(0x1122_3344), read(page));
    check("access-rescind", Ok((0, false)), ram::pvalidate(page, 0, 0));
    check("access-rescinded-read", Err(expected), read(page));
}

/// Page-table walks are private whatever the C-bit says, and a table must be validated as any page must.
fn page_table() {
    let table = need!("access-page-table", ram::assigned());
    // A region of its own, so that only this table's entry is in question.
    let va = 0x58_0000_0000;
    let page = need!("access-page-table", ram::valid());
    need!("access-page-table", paging::map(va, page, Mapping::PRIVATE));
    check("access-through-valid-table", Ok(0), read(va));
    let own = need!("access-page-table", paging::table_of(va));
    let entry = need!("access-page-table", paging::entry(va));
    need!("access-page-table", paging::replace_table(va, table));
    check(
        "access-through-unvalidated-table",
        Err(vc(PAGE_NOT_VALIDATED)),
        read(va),
    );
    check(
        "access-table-validate",
        Ok((0, false)),
        ram::pvalidate(table, 0, 1),
    );
    check("access-table-fill", Ok(()), write(table, entry));
    check("access-through-validated-table", Ok(0), read(va));
    need!("access-page-table", paging::replace_table(va, own));
}

fn c_bit() {
    let page = ram::shared();
    let va = need!("access-shared", ram::alias(2, page, Mapping::SHARED));
    check("access-shared-write", Ok(()), write(va, 0xAAAA));
    check("access-shared-read", Ok(0xAAAA), read(va));
    need!("access-c-bit", ram::to_private(page));
    check(
        "access-c-bit-validate",
        Ok((0, false)),
        ram::pvalidate(page, 0, 1),
    );
    check("access-c-bit-private-write", Ok(()), write(page, 0xBBBB));
    check("access-c-bit-private-read", Ok(0xBBBB), read(page));
    check(
        "access-c-bit-rescind",
        Ok((0, false)),
        ram::pvalidate(page, 0, 0),
    );
    need!("access-c-bit", ram::to_shared(page));
    check("access-c-bit-shared-write", Ok(()), write(va, 0xCCCC));
    check("access-c-bit-shared-read", Ok(0xCCCC), read(va));
}

/// The hypervisor takes a validated page and gives it back: it is no longer validated.
fn lost_validation() {
    let page = need!("access-lost", ram::valid());
    need!("access-lost", ram::to_shared(page));
    need!("access-lost", ram::to_private(page));
    check(
        "access-lost-validation",
        Err(vc(PAGE_NOT_VALIDATED)),
        read(page),
    );
    check(
        "access-lost-validation-pvalidate",
        Ok((0, false)),
        ram::pvalidate(page, 0, 1),
    );
}

fn write_through_alias() {
    let page = need!("access-alias", ram::valid());
    let va = need!("access-alias", ram::alias(3, page, Mapping::PRIVATE));
    check("access-alias-write", Ok(()), write(va, 0x77));
    check_that(
        "access-alias-same-memory",
        read(page) == Ok(0x77),
        "0x77",
        read(page),
    );
}
