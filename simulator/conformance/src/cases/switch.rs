//! Going from one VMPL to another and back: what VMPL0 finds in the VMSA of a level that exited, what it can change there,
//! and what survives (APM vol. 2 table B-4, 56421 §4.1.13).

use core::mem::offset_of;
use guest_rt::exec::{CodePage, Registers};
use guest_rt::report::{Fault, check, check_that, fail};
use guest_rt::{cpu, levels, vmsa};
use snp_abi::vmsa::Vmsa;
use snp_abi::{Vmpl, exit, ghcb_msr, msr};

/// Runs the group.
pub fn run() {
    saved_state();
    round_trip();
    features();
}

/// Gives the processor to VMPL0 with known registers, and reports which it got back.
fn yield_job(code: u64) -> u64 {
    // SAFETY: the address of a `CodePage` that outlives the job.
    let code = unsafe { &*(code as *const CodePage) };
    let before = cpu::rdmsr(msr::GHCB);
    // SAFETY: the MSR carries the request that the VMGEXIT below makes.
    unsafe { cpu::wrmsr(msr::GHCB, ghcb_msr::RUN_VMPL_REQUEST) };
    let registers = Registers {
        rax: 0xA0A0,
        rbx: 0xB0B0,
        r12: 0x1212,
        r15: 0xFFFF_FFFF_0000_1515,
        ..Registers::default()
    };
    // SAFETY: VMGEXIT.
    let after = unsafe { code.run(&[0xF3, 0x0F, 0x01, 0xD9], registers) };
    let response = cpu::rdmsr(msr::GHCB);
    // SAFETY: as above.
    unsafe { cpu::wrmsr(msr::GHCB, before) };
    match after {
        Ok(r) if r.r15 == registers.r15 && response == ghcb_msr::RUN_VMPL_RESPONSE => {
            r.rax << 32 | r.rbx & 0xFFFF_FFFF
        }
        Ok(_) => 0,
        Err(trap) => Fault::from(trap).encode(),
    }
}

/// What VMPL0 finds in the VMSA of a level that exited, and that it can change it.
fn saved_state() {
    let code = CodePage::allocate();
    let vmpl = Vmpl::Vmpl2;
    let Some(page) = levels::vmsa_page(vmpl) else {
        return fail("saved-state", "a VMSA", "none");
    };
    let begun = levels::begin(vmpl, yield_job, &code as *const CodePage as u64);
    check("saved-state-gave-back", Ok(false), begun);
    let field = |offset| vmsa::read_field(page, offset);
    check(
        "saved-exit-code",
        exit::VMGEXIT,
        field(offset_of!(Vmsa, guest_exit_code)),
    );
    check(
        "saved-rip-after-vmgexit",
        code.address() + 4,
        field(offset_of!(Vmsa, rip)),
    );
    check("saved-rax", 0xA0A0, field(offset_of!(Vmsa, rax)));
    check("saved-rbx", 0xB0B0, field(offset_of!(Vmsa, rbx)));
    check("saved-r12", 0x1212, field(offset_of!(Vmsa, r12)));
    check(
        "saved-r15",
        0xFFFF_FFFF_0000_1515,
        field(offset_of!(Vmsa, r15)),
    );
    let efer = field(offset_of!(Vmsa, efer));
    check_that(
        "saved-efer-svme",
        efer & msr::EFER_SVME != 0,
        "SVME set",
        efer,
    );
    check(
        "saved-vmpl",
        2,
        field(offset_of!(Vmsa, vmpl) & !7) >> 16 & 0xFF,
    );
    check(
        "saved-cr3",
        cpu::cr3() & !0xFFF,
        field(offset_of!(Vmsa, cr3)) & !0xFFF,
    );
    // SAFETY: the level is not running; these registers are scratch to it.
    unsafe {
        vmsa::write_field(page, offset_of!(Vmsa, rax), 0xCAFE);
        vmsa::write_field(page, offset_of!(Vmsa, rbx), 0xF00D);
    }
    check("changed-state-resumed", Ok(true), levels::resume(vmpl));
    check(
        "changed-registers-seen",
        0xCAFE_0000_F00D,
        levels::result(vmpl),
    );
    // An SVSM clears SVME while it looks at a guest's VMSA, and sets it before it lets it run.
    // SAFETY: the level is not running, and the value is put back.
    unsafe {
        let efer = offset_of!(Vmsa, efer);
        let value = vmsa::read_field(page, efer);
        vmsa::write_field(page, efer, value & !msr::EFER_SVME);
        vmsa::write_field(page, efer, value);
    }
    check("svme-toggled", Ok(7), levels::run(vmpl, |_| 7, 0));
}

/// VMPL0's own registers survive a run of another level.
fn round_trip() {
    let code = CodePage::allocate();
    let before = cpu::rdmsr(msr::GHCB);
    let registers = Registers {
        rax: 1,
        rbx: 2,
        rcx: 3,
        rdx: 4,
        rsi: 5,
        rdi: 6,
        rbp: 7,
        r8: 8,
        r9: 9,
        r10: 10,
        r11: 11,
        r12: 12,
        r13: 13,
        r14: 14,
        r15: 15,
        rflags: 0,
    };
    // SAFETY: the MSR carries the request that the VMGEXIT makes.
    unsafe { cpu::wrmsr(msr::GHCB, 2 << 32 | ghcb_msr::RUN_VMPL_REQUEST) };
    // SAFETY: VMGEXIT.
    let after = unsafe { code.run(&[0xF3, 0x0F, 0x01, 0xD9], registers) };
    let response = cpu::rdmsr(msr::GHCB);
    // SAFETY: as above.
    unsafe { cpu::wrmsr(msr::GHCB, before) };
    let after = after
        .map(|r| Registers { rflags: 0, ..r })
        .map_err(Fault::from);
    check("round-trip-registers", Ok(registers), after);
    check("round-trip-response", ghcb_msr::RUN_VMPL_RESPONSE, response);
    // By the GHCB event as well.
    check("round-trip-event", Ok(()), guest_rt::nae::run_vmpl(2));
    check("round-trip-all-levels", Ok(123), {
        // VMPL3, asked by VMPL1, by way of VMPL0: each level only gives the processor to VMPL0.
        let first = levels::run(Vmpl::Vmpl1, |x| x + 100, 20);
        first.and_then(|x| levels::run(Vmpl::Vmpl3, |x| x + 3, x))
    });
}

/// A level's features are those of its first VMSA: another VMSA with others is refused.
fn features() {
    let features = snp_abi::SevFeatures::SNP_ACTIVE;
    let Some(page) = levels::vmsa_page(Vmpl::Vmpl3) else {
        return;
    };
    let other = features | snp_abi::SevFeatures::RESTRICTED_INJECTION;
    let got = guest_rt::nae::ap_creation(exit::AP_CREATE_ON_INIT, 0, 3, page, other.bits());
    let invalid = guest_rt::ghcb::GhcbError::Malformed(snp_abi::ghcb::malformed::INVALID_INPUT);
    check("features-of-a-level-are-fixed", Err(invalid), got);
}
