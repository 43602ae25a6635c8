//! CPL 3 at VMPL0: what an SVSM's services rest on.

use guest_rt::exec::{CodePage, Registers};
use guest_rt::report::{Fault, check, check_that};
use guest_rt::trap::{self, vector};
use guest_rt::{cpu, msr_protocol};
use snp_abi::{ghcb_msr, msr};

const VMGEXIT: &[u8] = &[0xF3, 0x0F, 0x01, 0xD9];

/// Runs the group.
pub fn run() {
    let code = CodePage::allocate();
    calls(&code);
    counter(&code);
    vmgexit(&code);
}

fn calls(code: &CodePage) {
    let registers = Registers {
        rax: 1,
        rcx: 0xFFFF_FFFF_FFFF_FFFF,
        r11: 11,
        ..Registers::default()
    };
    let got = code
        .run_user(&[], registers, 0)
        .map(|r| (r.rax, r.rcx, r.r11))
        .map_err(Fault::from);
    check("user-int-80", Ok((1, u64::MAX, 11)), got);
    // Another vector's gate is the kernel's alone. (The error code is not looked at: QEMU's is wrong.)
    let got = code.run_user(&[0xCD, 0x81], registers, 0).map(|_| ());
    check(
        "user-int-81",
        Err(vector::GP),
        got.map_err(|trap| trap.frame.vector),
    );
    trap::set_gate(0x81, 0, 3);
    trap::set_hook(0x81, Some(|_| true));
    let got = code.run_user(&[0xCD, 0x81], registers, 0).map(|_| ());
    check("user-int-81-dpl-3", Ok(()), got.map_err(Fault::from));
    trap::set_hook(0x81, None);
    trap::set_gate(0x81, 0, 0);
    // #HV and #VC cannot be feigned.
    for (name, number) in [("user-int-28", vector::HV), ("user-int-29", vector::VC)] {
        let got = code.run_user(&[0xCD, number as u8], registers, 0);
        check(
            name,
            Err(vector::GP),
            got.map(|_| ()).map_err(|trap| trap.frame.vector),
        );
    }
}

/// The time stamp counter and TSC_AUX can be read.
fn counter(code: &CodePage) {
    for (name, bytes) in [
        ("user-rdtsc", &[0x0F, 0x31][..]),
        ("user-rdtscp", &[0x0F, 0x01, 0xF9]),
    ] {
        let before = cpu::rdtsc();
        let got = code.run_user(bytes, Registers::default(), 0);
        let value = got.map(|r| r.rdx << 32 | r.rax).map_err(Fault::from);
        let after = cpu::rdtsc();
        let good = value.is_ok_and(|value| (before..=after).contains(&value));
        check_that(name, good, "between two reads", value);
    }
}

/// VMGEXIT is an exit at any CPL, and acts on the GHCB MSR as it stands: whoever runs code at CPL 3 has to leave a harmless
/// value there.
fn vmgexit(code: &CodePage) {
    let before = cpu::rdmsr(msr::GHCB);
    let with = |value: u64| {
        // SAFETY: requests that change nothing.
        unsafe { cpu::wrmsr(msr::GHCB, value) };
        let got = code.run_user(VMGEXIT, Registers::default(), 0);
        let after = cpu::rdmsr(msr::GHCB);
        // SAFETY: as above.
        unsafe { cpu::wrmsr(msr::GHCB, before) };
        (got.map(|_| ()).map_err(Fault::from), after)
    };
    let information = msr_protocol::sev_info();
    let asked = with(ghcb_msr::SEV_INFO_REQUEST);
    let answered = with(information.unwrap_or(0));
    let zero = with(0);
    check(
        "user-vmgexit",
        (Ok(()), information),
        (asked.0, Ok(asked.1)),
    );
    check(
        "user-vmgexit-answer-stays",
        (Ok(()), information),
        (answered.0, Ok(answered.1)),
    );
    check("user-vmgexit-no-ghcb", (Ok(()), 0), zero);
}
