//! PVALIDATE: every result code, the carry flag, and the exceptions (APM vol. 3, PVALIDATE).

use crate::ram::{self, pvalidate};
use guest_rt::exec::{CodePage, Registers};
use guest_rt::need;
use guest_rt::paging::{self, Mapping};
use guest_rt::report::{Fault, check, check_that, gp, pf};
use guest_rt::{snp, trap};
use snp_abi::rmp::result;
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE};

/// PVALIDATE's bytes.
pub const PVALIDATE: &[u8] = &[0xF2, 0x0F, 0x01, 0xFF];

/// Runs the group.
pub fn run() {
    small();
    input();
    large();
    smash();
    mappings();
    privilege();
    flags();
    permissions_kept();
}

fn small() {
    let page = need!("pvalidate-small", ram::assigned());
    check("pvalidate-validates", Ok((0, false)), pvalidate(page, 0, 1));
    check(
        "pvalidate-validate-again-no-change",
        Ok((0, true)),
        pvalidate(page, 0, 1),
    );
    check("pvalidate-rescinds", Ok((0, false)), pvalidate(page, 0, 0));
    check(
        "pvalidate-rescind-again-no-change",
        Ok((0, true)),
        pvalidate(page, 0, 0),
    );
    check(
        "pvalidate-address-within-page",
        Ok((0, false)),
        pvalidate(page + 0x123, 0, 1),
    );
}

fn input() {
    let page = need!("pvalidate-input", ram::assigned());
    let input = Ok((result::FAIL_INPUT, false));
    let code = |r: Result<(u64, bool), Fault>| r.map(|(code, _)| (code, false));
    check("pvalidate-size-2", input, code(pvalidate(page, 2, 1)));
    check(
        "pvalidate-size-huge",
        input,
        code(pvalidate(page, 0xFFFF_FFFF, 1)),
    );
    check(
        "pvalidate-large-misaligned",
        input,
        code(pvalidate(page, 1, 1)),
    );
    check(
        "pvalidate-failed-input-changes-nothing",
        Ok((0, false)),
        pvalidate(page, 0, 1),
    );
}

fn large() {
    let base = need!("pvalidate-large", ram::assigned_large());
    check(
        "pvalidate-large-validates",
        Ok((0, false)),
        pvalidate(base, 1, 1),
    );
    check(
        "pvalidate-large-no-change",
        Ok((0, true)),
        pvalidate(base, 1, 1),
    );
    check(
        "pvalidate-large-rescinds",
        Ok((0, false)),
        pvalidate(base, 1, 0),
    );
    let base = need!("pvalidate-size-mismatch", ram::assigned_small_run());
    let mismatch = pvalidate(base, 1, 1).map(|(code, _)| code);
    check(
        "pvalidate-size-mismatch",
        Ok(result::FAIL_SIZEMISMATCH),
        mismatch,
    );
    check(
        "pvalidate-size-mismatch-changes-nothing",
        Ok((0, false)),
        pvalidate(base, 0, 1),
    );
}

/// A small request against a large entry is a nested fault: the hypervisor splits the entry (PSMASH), and the
/// instruction is executed again. Small entries inherit the large one's state.
fn smash() {
    let base = need!("pvalidate-smash", ram::assigned_large());
    check(
        "pvalidate-smash-setup",
        Ok((0, false)),
        pvalidate(base, 1, 1),
    );
    let inner = base + 5 * PAGE_SIZE;
    check(
        "pvalidate-small-in-large-rescinds",
        Ok((0, false)),
        pvalidate(inner, 0, 0),
    );
    check(
        "pvalidate-after-smash-size-mismatch",
        Ok(result::FAIL_SIZEMISMATCH),
        pvalidate(base, 1, 1).map(|(code, _)| code),
    );
    check(
        "pvalidate-smashed-neighbour-valid",
        Ok((0, true)),
        pvalidate(inner + PAGE_SIZE, 0, 1),
    );
    check(
        "pvalidate-smashed-last-valid",
        Ok((0, true)),
        pvalidate(base + LARGE_PAGE_SIZE - PAGE_SIZE, 0, 1),
    );
    check(
        "pvalidate-smashed-page-revalidates",
        Ok((0, false)),
        pvalidate(inner, 0, 1),
    );
}

fn mappings() {
    let page = need!("pvalidate-mappings", ram::assigned());
    let va = need!("pvalidate-mappings", ram::alias(0, page, Mapping::SHARED));
    let mut cr2 = 0;
    // SAFETY: the page is this case's own.
    let caught = trap::catch(|| unsafe {
        snp::pvalidate_raw(va + 8, 0, 1);
    });
    if let Some(trap) = caught {
        cr2 = trap.cr2;
    }
    // Present and reserved bit: a C-bit of 0 is what is wrong with the mapping.
    check(
        "pvalidate-shared-mapping",
        Some(pf(9)),
        caught.map(Fault::from),
    );
    check("pvalidate-shared-mapping-cr2", va, cr2 & !0xFFF);
    need!("pvalidate-absent-mapping", paging::unmap(va));
    check("pvalidate-absent-mapping", Err(pf(0)), pvalidate(va, 0, 1));
    let read_only = Mapping {
        write: false,
        ..Mapping::PRIVATE
    };
    need!("pvalidate-through-alias", paging::map(va, page, read_only));
    check(
        "pvalidate-through-alias",
        Ok((0, false)),
        pvalidate(va, 0, 1),
    );
    check(
        "pvalidate-alias-is-the-same-page",
        Ok((0, true)),
        pvalidate(page, 0, 1),
    );
}

fn privilege() {
    let page = need!("pvalidate-cpl3", ram::assigned());
    let code = CodePage::allocate();
    let registers = Registers {
        rax: page,
        rdx: 1,
        ..Registers::default()
    };
    let got = code
        .run_user(PVALIDATE, registers, 0)
        .map(|r| r.rax)
        .map_err(Fault::from);
    check("pvalidate-cpl3", Err(gp(0)), got);
    check(
        "pvalidate-cpl3-changes-nothing",
        Ok((0, false)),
        pvalidate(page, 0, 1),
    );
}

/// The flags follow EAX, but for CF.
fn flags() {
    let page = need!("pvalidate-flags", ram::assigned());
    // SAFETY: the page is this case's own.
    let (success, failure) = unsafe {
        (
            snp::pvalidate_raw(page, 0, 1),
            snp::pvalidate_raw(page, 2, 1),
        )
    };
    const ZF: u64 = 1 << 6;
    check_that(
        "pvalidate-zf-success",
        success.rflags & ZF != 0,
        "ZF set",
        success.rflags,
    );
    check_that(
        "pvalidate-zf-failure",
        failure.rflags & ZF == 0,
        "ZF clear",
        failure.rflags,
    );
}

/// PVALIDATE leaves VMPL permissions alone; a new page belongs to VMPL0 alone.
fn permissions_kept() {
    if !ram::has_rmpquery() {
        return guest_rt::report::skip("pvalidate-permissions", "no RMPQUERY");
    }
    use snp_abi::{RmpPermissions, Vmpl};
    let page = need!("pvalidate-permissions", ram::valid());
    for (name, vmpl) in [
        ("pvalidate-new-page-vmpl1-none", 1),
        ("pvalidate-new-page-vmpl3-none", 3),
    ] {
        check(name, Ok((0, 0)), ram::rmpquery(page, vmpl));
    }
    need!(
        "pvalidate-permissions",
        ram::rmpadjust(page, Vmpl::Vmpl2, RmpPermissions::RWX)
    );
    check(
        "pvalidate-rescind-granted",
        Ok((0, false)),
        pvalidate(page, 0, 0),
    );
    check(
        "pvalidate-validate-granted",
        Ok((0, false)),
        pvalidate(page, 0, 1),
    );
    let kept = RmpPermissions::RWX.bits() as u64;
    check(
        "pvalidate-keeps-permissions",
        Ok((0, kept)),
        ram::rmpquery(page, 2),
    );
}
