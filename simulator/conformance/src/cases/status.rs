//! SEV_STATUS, the GHCB MSR, and the MSRs and registers that must not raise #VC.

use guest_rt::exec::{CodePage, Registers};
use guest_rt::report::{Fault, check, check_that, gp};
use guest_rt::{cpu, levels, trap};
use snp_abi::{Vmpl, ghcb_msr, msr};

/// Runs the group.
pub fn run() {
    let status = cpu::rdmsr(msr::SEV_STATUS);
    check("sev-status-vmpl0-sev-es-snp", 7, status & 7);
    // Only features that the image's VMSA asks for: SNP, and restricted injection for an SVSM.
    check_that(
        "sev-status-vmpl0-features",
        status & !0x27 == 0,
        "bits 0, 1, 2, 5",
        status,
    );
    for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
        let name = [
            "",
            "sev-status-vmpl1",
            "sev-status-vmpl2",
            "sev-status-vmpl3",
        ][vmpl.index()];
        check(
            name,
            Ok(7),
            levels::run(vmpl, |_| cpu::rdmsr(msr::SEV_STATUS), 0),
        );
    }
    write_status();
    passed_through();
    control_registers();
    ghcb_msr_per_vmpl();
}

/// SEV_STATUS is read-only.
fn write_status() {
    // SAFETY: the write must fail; if it does not, it changes no memory.
    let got = trap::catch(|| unsafe { cpu::wrmsr(msr::SEV_STATUS, 0) }).map(Fault::from);
    check("sev-status-write", Some(gp(0)), got);
}

/// MSRs that KVM passes through and that guests need before they can handle #VC.
fn passed_through() {
    const CASES: [(&str, u32, u64); 9] = [
        ("msr-pass-star", msr::STAR, 0x0023_0010_1234_5678),
        ("msr-pass-lstar", msr::LSTAR, 0xFFFF_8000_1234_5678),
        ("msr-pass-cstar", msr::CSTAR, 0xFFFF_8000_8765_4321),
        ("msr-pass-sfmask", msr::SFMASK, 0x4_7700),
        (
            "msr-pass-kernel-gs-base",
            msr::KERNEL_GS_BASE,
            0xFFFF_8888_0000_1000,
        ),
        ("msr-pass-fs-base", msr::FS_BASE, 0x7FFF_1234_5000),
        ("msr-pass-sysenter-cs", msr::SYSENTER_CS, 0x10),
        (
            "msr-pass-sysenter-esp",
            msr::SYSENTER_ESP,
            0xFFFF_8000_0000_2000,
        ),
        ("msr-pass-pat", msr::PAT, 0x0007_0406_0007_0106),
    ];
    for (name, register, value) in CASES {
        let mut got = 0;
        // SAFETY: none of these registers matters to this program, and each is put back.
        let caught = trap::catch(|| unsafe {
            let before = cpu::rdmsr(register);
            cpu::wrmsr(register, value);
            got = cpu::rdmsr(register);
            cpu::wrmsr(register, before);
        });
        check(
            name,
            Ok(value),
            caught.map_or(Ok(got), |trap| Err(Fault::from(trap))),
        );
    }
    for (name, register) in [
        ("msr-pass-efer", msr::EFER),
        ("msr-pass-gs-base", msr::GS_BASE),
    ] {
        let caught = trap::catch(|| {
            // SAFETY: the register keeps its value.
            unsafe { cpu::wrmsr(register, cpu::rdmsr(register)) }
        });
        check(name, None, caught.map(Fault::from));
    }
}

/// Writes of control registers are at most trapped, never #VC; PAUSE is an automatic exit.
fn control_registers() {
    let code = CodePage::allocate();
    const CASES: [(&str, &[u8]); 7] = [
        ("no-vc-mov-cr0", &[0x0F, 0x20, 0xC0, 0x0F, 0x22, 0xC0]),
        ("no-vc-mov-cr3", &[0x0F, 0x20, 0xD8, 0x0F, 0x22, 0xD8]),
        ("no-vc-mov-cr4", &[0x0F, 0x20, 0xE0, 0x0F, 0x22, 0xE0]),
        (
            "no-vc-mov-cr8",
            &[0x44, 0x0F, 0x20, 0xC0, 0x44, 0x0F, 0x22, 0xC0],
        ),
        ("no-vc-clts", &[0x0F, 0x06]),
        ("no-vc-pause", &[0xF3, 0x90]),
        ("no-vc-pushf-popf", &[0x9C, 0x9D]),
    ];
    for (name, bytes) in CASES {
        // SAFETY: each instruction leaves the registers as they are.
        let got = unsafe { code.run(bytes, Registers::default()) };
        check(name, Ok(()), got.map(|_| ()).map_err(Fault::from));
    }
}

/// The GHCB MSR is one per VMPL. At reset it holds the SEV_INFO response, but our contexts have used theirs: each holds
/// what that level last wrote.
fn ghcb_msr_per_vmpl() {
    let own = cpu::rdmsr(msr::GHCB);
    let other = levels::run(
        Vmpl::Vmpl3,
        |_| {
            let before = cpu::rdmsr(msr::GHCB);
            // SAFETY: the MSR only carries messages.
            unsafe { cpu::wrmsr(msr::GHCB, ghcb_msr::SEV_INFO_REQUEST) };
            let after = cpu::rdmsr(msr::GHCB);
            // SAFETY: as above.
            unsafe { cpu::wrmsr(msr::GHCB, before) };
            after
        },
        0,
    );
    check(
        "ghcb-msr-holds-what-is-written",
        Ok(ghcb_msr::SEV_INFO_REQUEST),
        other,
    );
    check("ghcb-msr-per-vmpl", own, cpu::rdmsr(msr::GHCB));
    let expected = guest_rt::msr_protocol::sev_info();
    let reset = levels::run(Vmpl::Vmpl1, |_| cpu::rdmsr(msr::GHCB), 0);
    check(
        "ghcb-msr-at-reset",
        expected.map_err(|e| e.response),
        reset.map_err(|_| 0),
    );
}
