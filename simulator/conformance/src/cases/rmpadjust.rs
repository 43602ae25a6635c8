//! RMPADJUST and RMPQUERY at VMPL0: result codes and exceptions (APM vol. 3). What other VMPLs may do with them is in
//! [`super::lower`].

use crate::ram::{self, rmpadjust, rmpadjust_raw, rmpquery};
use guest_rt::exec::{CodePage, Registers};
use guest_rt::need;
use guest_rt::paging::{self, Mapping};
use guest_rt::report::{Fault, check, gp, pf, skip, vc};
use snp_abi::rmp::{result, rmpadjust_rdx};
use snp_abi::{PAGE_SIZE, RmpPermissions, Vmpl, exit};

/// RMPADJUST's bytes.
pub const RMPADJUST: &[u8] = &[0xF3, 0x0F, 0x01, 0xFE];

/// Runs the group.
pub fn run() {
    codes();
    sizes();
    faults();
    if ram::has_rmpquery() {
        query();
    } else {
        skip("rmpquery", "CPUID 0x8000001F does not show it");
    }
}

fn codes() {
    let page = need!("rmpadjust-codes", ram::valid());
    let rw = RmpPermissions::READ | RmpPermissions::WRITE;
    check(
        "rmpadjust-grants-vmpl1",
        Ok(0),
        rmpadjust(page, Vmpl::Vmpl1, rw),
    );
    check(
        "rmpadjust-grants-vmpl3",
        Ok(0),
        rmpadjust(page, Vmpl::Vmpl3, RmpPermissions::RWX),
    );
    check(
        "rmpadjust-takes-away",
        Ok(0),
        rmpadjust(page, Vmpl::Vmpl1, RmpPermissions::empty()),
    );
    let own_level = rmpadjust(page, Vmpl::Vmpl0, RmpPermissions::RWX);
    check(
        "rmpadjust-own-level",
        Ok(result::FAIL_PERMISSION),
        own_level,
    );
    for (name, target) in [("rmpadjust-target-4", 4), ("rmpadjust-target-255", 0xFF)] {
        check(
            name,
            Ok(result::FAIL_INPUT),
            rmpadjust_raw(page, 0, target | 1 << 8),
        );
    }
    let rdx = rmpadjust_rdx(Vmpl::Vmpl1, rw, false);
    check(
        "rmpadjust-reserved-bit-17",
        Ok(result::FAIL_INPUT),
        rmpadjust_raw(page, 0, rdx | 1 << 17),
    );
    check(
        "rmpadjust-reserved-bit-63",
        Ok(result::FAIL_INPUT),
        rmpadjust_raw(page, 0, rdx | 1 << 63),
    );
    check(
        "rmpadjust-size-2",
        Ok(result::FAIL_INPUT),
        rmpadjust_raw(page, 2, rdx),
    );
    check(
        "rmpadjust-large-misaligned",
        Ok(result::FAIL_INPUT),
        rmpadjust_raw(page, 1, rdx),
    );
    check(
        "rmpadjust-address-within-page",
        Ok(0),
        rmpadjust_raw(page + 0xABC, 0, rdx),
    );
}

fn sizes() {
    let rdx = rmpadjust_rdx(Vmpl::Vmpl2, RmpPermissions::RWX, false);
    let base = need!("rmpadjust-size-mismatch", ram::assigned_small_run());
    check(
        "rmpadjust-small-run-setup",
        Ok((0, false)),
        ram::pvalidate(base, 0, 1),
    );
    check(
        "rmpadjust-size-mismatch",
        Ok(result::FAIL_SIZEMISMATCH),
        rmpadjust_raw(base, 1, rdx),
    );
    let base = need!("rmpadjust-large", ram::assigned_large());
    check(
        "rmpadjust-large-not-validated",
        Err(vc(exit::PAGE_NOT_VALIDATED)),
        rmpadjust_raw(base, 1, rdx),
    );
    check(
        "rmpadjust-large-setup",
        Ok((0, false)),
        ram::pvalidate(base, 1, 1),
    );
    check("rmpadjust-large", Ok(0), rmpadjust_raw(base, 1, rdx));
    // A small page of a large entry: the hypervisor splits the entry, then it is done.
    let read = rmpadjust_rdx(Vmpl::Vmpl2, RmpPermissions::READ, false);
    check(
        "rmpadjust-small-in-large",
        Ok(0),
        rmpadjust_raw(base + 7 * PAGE_SIZE, 0, read),
    );
    check(
        "rmpadjust-after-smash",
        Ok(result::FAIL_SIZEMISMATCH),
        rmpadjust_raw(base, 1, rdx),
    );
    if ram::has_rmpquery() {
        let all = RmpPermissions::RWX.bits() as u64;
        check(
            "rmpadjust-smash-keeps-permissions",
            Ok((0, all)),
            rmpquery(base + 8 * PAGE_SIZE, 2),
        );
        check(
            "rmpadjust-smashed-page",
            Ok((0, 1)),
            rmpquery(base + 7 * PAGE_SIZE, 2),
        );
    }
}

fn faults() {
    let page = need!("rmpadjust-not-validated", ram::assigned());
    let rdx = rmpadjust_rdx(Vmpl::Vmpl1, RmpPermissions::RWX, false);
    check(
        "rmpadjust-not-validated",
        Err(vc(exit::PAGE_NOT_VALIDATED)),
        rmpadjust_raw(page, 0, rdx),
    );
    check(
        "rmpadjust-faults-setup",
        Ok((0, false)),
        ram::pvalidate(page, 0, 1),
    );
    let code = CodePage::allocate();
    let registers = Registers {
        rax: page,
        rdx,
        ..Registers::default()
    };
    let got = code
        .run_user(RMPADJUST, registers, 0)
        .map(|r| r.rax)
        .map_err(Fault::from);
    check("rmpadjust-cpl3", Err(gp(0)), got);
    let va = need!(
        "rmpadjust-shared-mapping",
        ram::alias(1, page, Mapping::SHARED)
    );
    check(
        "rmpadjust-shared-mapping",
        Err(pf(9)),
        rmpadjust_raw(va, 0, rdx),
    );
    need!("rmpadjust-absent-mapping", paging::unmap(va));
    check(
        "rmpadjust-absent-mapping",
        Err(pf(0)),
        rmpadjust_raw(va, 0, rdx),
    );
}

fn query() {
    let page = need!("rmpquery", ram::valid());
    for bits in [0u8, 1, 3, 7, 9, 0xF] {
        let permissions = RmpPermissions::from_bits_retain(bits);
        if rmpadjust(page, Vmpl::Vmpl3, permissions) != Ok(0) {
            check("rmpquery-sees-rmpadjust", Ok((0, bits as u64)), Err(gp(0)));
            return;
        }
        let got = rmpquery(page, 3);
        if got != Ok((0, bits as u64)) {
            check("rmpquery-sees-rmpadjust", Ok((0, bits as u64)), got);
            return;
        }
    }
    check("rmpquery-sees-rmpadjust", Ok((0, 0xF)), rmpquery(page, 3));
    check("rmpquery-other-level", Ok((0, 0)), rmpquery(page, 1));
    let vmsa = rmpadjust_rdx(Vmpl::Vmpl1, RmpPermissions::READ, true);
    check("rmpadjust-makes-vmsa", Ok(0), rmpadjust_raw(page, 0, vmsa));
    check("rmpquery-vmsa", Ok((0, 0x101)), rmpquery(page, 1));
    // Every RMPADJUST of VMPL0 writes the flag, whichever level it is for.
    let plain = rmpadjust_rdx(Vmpl::Vmpl2, RmpPermissions::READ, false);
    check(
        "rmpadjust-clears-vmsa",
        Ok(0),
        rmpadjust_raw(page, 0, plain),
    );
    check("rmpquery-vmsa-cleared", Ok((0, 1)), rmpquery(page, 1));
}
