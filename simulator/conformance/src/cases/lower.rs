//! Code at VMPL1 to VMPL3: what it may do (APM vol. 2 §15.36.7 to §15.36.9).
//! Accesses that a level lacks the permission for end the guest: they are fatal cases.

use crate::ram;
use guest_rt::exec::{self, CodePage, Registers};
use guest_rt::levels;
use guest_rt::need;
use guest_rt::report::{Fault, check, encode, fail, gp, skip, vc};
use snp_abi::rmp::{result, rmpadjust_rdx};
use snp_abi::{RmpPermissions, Vmpl, exit};

const R: RmpPermissions = RmpPermissions::READ;
const RW: RmpPermissions = RmpPermissions::READ.union(RmpPermissions::WRITE);

/// Runs the group.
pub fn run() {
    instructions();
    queries();
    permitted();
    exceptions();
}

/// Runs a job at a level and decodes its result.
fn at(vmpl: Vmpl, job: levels::Job, argument: u64) -> Result<u64, Fault> {
    match levels::run(vmpl, job, argument) {
        Ok(value) => Fault::decode(value),
        Err(error) => {
            fail("level-runs", "a job's result", error);
            Err(Fault {
                vector: 0xFF,
                error: 0,
            })
        }
    }
}

fn pvalidate_job(page: u64) -> u64 {
    match ram::pvalidate(page, 0, 0) {
        Ok((code, _)) => code,
        Err(fault) => fault.encode(),
    }
}

/// The page and RDX come as one number: pages of these cases lie below 2^32, RDX takes 17 bits.
fn pack(page: u64, rdx: u64) -> u64 {
    page | rdx << 40
}

fn rmpadjust_job(packed: u64) -> u64 {
    match ram::rmpadjust_raw(packed & 0xFF_FFFF_FFFF, 0, packed >> 40) {
        Ok(code) => code,
        Err(fault) => fault.encode(),
    }
}

fn rmpquery_job(packed: u64) -> u64 {
    match ram::rmpquery(packed & 0xFF_FFFF_FFFF, packed >> 40) {
        Ok((code, bits)) => code | bits << 8,
        Err(fault) => fault.encode(),
    }
}

fn instructions() {
    let page = need!("lower-instructions", ram::valid());
    for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
        check(
            "lower-grant",
            Ok(0),
            ram::rmpadjust(page, vmpl, RmpPermissions::RWX),
        );
        let name = [
            "",
            "pvalidate-at-vmpl1",
            "pvalidate-at-vmpl2",
            "pvalidate-at-vmpl3",
        ][vmpl.index()];
        check(name, Err(gp(0)), at(vmpl, pvalidate_job, page));
    }
    check(
        "pvalidate-at-lower-vmpl-changes-nothing",
        Ok((0, true)),
        ram::pvalidate(page, 0, 1),
    );
    let adjust = |caller, target, permissions| {
        at(
            caller,
            rmpadjust_job,
            pack(page, rmpadjust_rdx(target, permissions, false)),
        )
    };
    let refused = Ok(result::FAIL_PERMISSION);
    check(
        "rmpadjust-vmpl1-for-vmpl0",
        refused,
        adjust(Vmpl::Vmpl1, Vmpl::Vmpl0, R),
    );
    check(
        "rmpadjust-vmpl1-for-vmpl1",
        refused,
        adjust(Vmpl::Vmpl1, Vmpl::Vmpl1, R),
    );
    check(
        "rmpadjust-vmpl2-for-vmpl1",
        refused,
        adjust(Vmpl::Vmpl2, Vmpl::Vmpl1, RmpPermissions::empty()),
    );
    check(
        "rmpadjust-vmpl3-for-vmpl3",
        refused,
        adjust(Vmpl::Vmpl3, Vmpl::Vmpl3, R),
    );
    check(
        "rmpadjust-vmpl1-for-vmpl2",
        Ok(0),
        adjust(Vmpl::Vmpl1, Vmpl::Vmpl2, RW),
    );
    check("lower-limit", Ok(0), ram::rmpadjust(page, Vmpl::Vmpl1, RW));
    check(
        "rmpadjust-beyond-own",
        refused,
        adjust(Vmpl::Vmpl1, Vmpl::Vmpl2, RmpPermissions::RWX),
    );
    check(
        "rmpadjust-within-own",
        Ok(0),
        adjust(Vmpl::Vmpl1, Vmpl::Vmpl2, R),
    );
    // Only VMPL0 can make a VMSA: below, the bit does nothing.
    let vmsa = rmpadjust_rdx(Vmpl::Vmpl2, R, true);
    check(
        "rmpadjust-vmsa-at-vmpl1-ignored",
        Ok(0),
        at(Vmpl::Vmpl1, rmpadjust_job, pack(page, vmsa)),
    );
    if ram::has_rmpquery() {
        check(
            "rmpadjust-vmsa-at-vmpl1-no-vmsa",
            Ok((0, 1)),
            ram::rmpquery(page, 2),
        );
    }
    // The probe by which Linux tells whether it is at VMPL0.
    let probe = rmpadjust_rdx(Vmpl::Vmpl1, RmpPermissions::empty(), false);
    check(
        "rmpadjust-linux-probe-at-vmpl2",
        refused,
        at(Vmpl::Vmpl2, rmpadjust_job, pack(page, probe)),
    );
}

fn queries() {
    if !ram::has_rmpquery() {
        return skip("rmpquery-lower", "no RMPQUERY");
    }
    let page = need!("rmpquery-lower", ram::valid());
    for (vmpl, permissions) in [(Vmpl::Vmpl1, RW), (Vmpl::Vmpl2, R)] {
        check(
            "rmpquery-lower-setup",
            Ok(0),
            ram::rmpadjust(page, vmpl, permissions),
        );
    }
    check(
        "rmpquery-vmpl1-for-vmpl0",
        Ok(result::FAIL_PERMISSION),
        at(Vmpl::Vmpl1, rmpquery_job, pack(page, 0)),
    );
    check(
        "rmpquery-vmpl1-for-vmpl2",
        Ok(1 << 8),
        at(Vmpl::Vmpl1, rmpquery_job, pack(page, 2)),
    );
}

fn read_job(va: u64) -> u64 {
    encode(exec::read(va))
}

fn write_job(va: u64) -> u64 {
    // SAFETY: the case's own page.
    encode(unsafe { exec::write(va, 0x5151) }.map(|_| 0))
}

fn call_job(va: u64) -> u64 {
    // SAFETY: the page holds a RET.
    encode(unsafe { exec::call(va) }.map(|_| 0))
}

/// A page of code that ends at CPL 3 by INT 0x80.
fn call_user_job(code: u64) -> u64 {
    // SAFETY: the address of a `CodePage` that outlives the job.
    let code = unsafe { &*(code as *const CodePage) };
    encode(code.run_user(&[0x90], Registers::default(), 0).map(|_| 0))
}

fn permitted() {
    let page = need!("permitted", ram::valid());
    // RET, so that it can be called.
    // SAFETY: the case's own page.
    let _ = unsafe { exec::write(page, 0xC3) };
    let grant = |permissions| ram::rmpadjust(page, Vmpl::Vmpl2, permissions);
    check("permitted-grant-read", Ok(0), grant(R));
    check("permitted-read", Ok(0xC3), at(Vmpl::Vmpl2, read_job, page));
    check(
        "permitted-grant-execute",
        Ok(0),
        grant(R | RmpPermissions::EXECUTE_SUPERVISOR),
    );
    check(
        "permitted-execute-supervisor",
        Ok(0),
        at(Vmpl::Vmpl2, call_job, page),
    );
    check("permitted-grant-write", Ok(0), grant(RW));
    check("permitted-write", Ok(0), at(Vmpl::Vmpl2, write_job, page));
    check(
        "permitted-write-seen",
        Ok(0x5151),
        exec::read(page).map_err(Fault::from),
    );
    // Execution at CPL 3 needs the user bit only. The page was granted in full; take supervisor execution away.
    let code = CodePage::allocate();
    let user_only = RW | RmpPermissions::EXECUTE_USER;
    for offset in [0, 0x1000] {
        let got = ram::rmpadjust(code.address() + offset, Vmpl::Vmpl2, user_only);
        check("permitted-grant-user", Ok(0), got);
    }
    let argument = &code as *const CodePage as u64;
    check(
        "permitted-execute-user",
        Ok(0),
        at(Vmpl::Vmpl2, call_user_job, argument),
    );
}

fn cpuid_job(_: u64) -> u64 {
    let code = CodePage::allocate();
    // SAFETY: CPUID changes registers only.
    encode(unsafe { code.run(&[0x0F, 0xA2], Registers::default()) }.map(|_| 0))
}

fn exceptions() {
    let page = need!("lower-unvalidated", ram::assigned());
    let expected = Err(vc(exit::PAGE_NOT_VALIDATED));
    check(
        "lower-unvalidated-read",
        expected,
        at(Vmpl::Vmpl2, read_job, page),
    );
    check(
        "lower-unvalidated-write",
        expected,
        at(Vmpl::Vmpl2, write_job, page),
    );
    check(
        "lower-vc-cpuid",
        Err(vc(exit::CPUID)),
        at(Vmpl::Vmpl1, cpuid_job, 0),
    );
    check("lower-rmpadjust-unvalidated", expected, {
        let rdx = rmpadjust_rdx(Vmpl::Vmpl2, RmpPermissions::empty(), false);
        at(Vmpl::Vmpl1, rmpadjust_job, pack(page, rdx))
    });
}
