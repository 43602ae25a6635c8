//! What the hypervisor says to a GHCB that is not as it must be (56421 §2.3.2, §4; KVM `sev_es_validate_vmgexit`):
//! SW_EXITINFO1 2 and a reason in SW_EXITINFO2.

use guest_rt::ghcb::{Field, Ghcb};
use guest_rt::need;
use guest_rt::report::{check, check_that};
use guest_rt::{cpu, msr_protocol, snp};
use snp_abi::exit::{self, ioio};
use snp_abi::ghcb::{SHARED_BUFFER_SIZE, malformed};
use snp_abi::msr;

/// Runs the group.
pub fn run() {
    registration();
    usage();
    events();
    missing();
    scratch();
    bitmap();
}

/// Infos with the low half of the first only, as guests look at them.
fn infos((info1, info2): (u64, u64)) -> (u64, u64) {
    (info1 & 0xFFFF_FFFF, info2)
}

fn registration() {
    let own = Ghcb::current();
    let other = need!("ghcb-not-registered", Ghcb::new());
    other.begin();
    other.set_exit(exit::HV_FEATURES, 0, 0);
    check(
        "ghcb-not-registered",
        (2, malformed::NOT_REGISTERED),
        infos(other.exit_raw()),
    );
    need!(
        "ghcb-registered-anew",
        msr_protocol::register_ghcb(other.gpa())
    );
    other.begin();
    other.set_exit(exit::HV_FEATURES, 0, 0);
    let anew = infos(other.exit_raw());
    // The registration moved: the old page is no longer registered.
    own.begin();
    own.set_exit(exit::HV_FEATURES, 0, 0);
    let old = infos(own.exit_raw());
    // Only now can anything be printed again.
    need!(
        "ghcb-registered-anew",
        msr_protocol::register_ghcb(own.gpa())
    );
    check("ghcb-registered-anew", 0, anew.0);
    check(
        "ghcb-old-one-not-registered",
        (2, malformed::NOT_REGISTERED),
        old,
    );
    // GPA 0 is no GHCB: KVM resumes the guest without doing anything.
    let before = cpu::rdmsr(msr::GHCB);
    // SAFETY: the MSR only says where the hypervisor looks.
    unsafe { cpu::wrmsr(msr::GHCB, 0) };
    snp::vmgexit();
    check("ghcb-gpa-0-resumes", 0, cpu::rdmsr(msr::GHCB));
    // SAFETY: as above.
    unsafe { cpu::wrmsr(msr::GHCB, before) };
}

fn usage() {
    let ghcb = Ghcb::current();
    for (name, usage) in [("ghcb-usage-1", 1), ("ghcb-usage-ffffffff", u32::MAX)] {
        ghcb.begin();
        ghcb.set_exit(exit::HV_FEATURES, 0, 0);
        ghcb.set_usage(usage);
        check(name, (2, malformed::USAGE), infos(ghcb.exit_raw()));
    }
}

fn events() {
    let ghcb = Ghcb::current();
    for (name, code) in [
        ("ghcb-event-80001234", 0x8000_1234u64),
        ("ghcb-event-3", 3),
        ("ghcb-event-ffffffff", 0xFFFF_FFFF),
        ("ghcb-event-64-bits", 1 << 40 | exit::CPUID),
        ("ghcb-event-all-ones", u64::MAX),
    ] {
        ghcb.begin();
        ghcb.set_exit(code, 0, 0);
        check(name, (2, malformed::INVALID_EVENT), infos(ghcb.exit_raw()));
    }
}

/// An event, its first info, the fields it needs, and which of them (an index) is left out.
type Missing = (&'static str, u64, u64, &'static [Field], usize);

fn missing() {
    const NONE: usize = usize::MAX;
    use Field::*;
    const OUT: u64 = 0x80 << ioio::PORT_SHIFT | ioio::SIZE_8;
    const STRING: u64 = OUT | ioio::STRING | ioio::REP;
    const CASES: [Missing; 24] = [
        ("missing-cpuid-rax", exit::CPUID, 0, &[Rax, Rcx], 0),
        ("missing-cpuid-rcx", exit::CPUID, 0, &[Rax, Rcx], 1),
        ("missing-out-rax", exit::IOIO, OUT, &[Rax], 0),
        ("missing-string-scratch", exit::IOIO, STRING, &[Scratch], 0),
        ("missing-rdmsr-rcx", exit::MSR, 0, &[Rcx], 0),
        ("missing-wrmsr-rcx", exit::MSR, 1, &[Rcx, Rax, Rdx], 0),
        ("missing-wrmsr-rax", exit::MSR, 1, &[Rcx, Rax, Rdx], 1),
        ("missing-wrmsr-rdx", exit::MSR, 1, &[Rcx, Rax, Rdx], 2),
        ("missing-dr7-rax", exit::WRITE_DR7, 0, &[Rax], 0),
        ("missing-rdpmc-rcx", exit::RDPMC, 0, &[Rcx], 0),
        ("missing-vmmcall-rax", exit::VMMCALL, 0, &[Rax, Cpl], 0),
        ("missing-vmmcall-cpl", exit::VMMCALL, 0, &[Rax, Cpl], 1),
        ("missing-monitor-rax", exit::MONITOR, 0, &[Rax, Rcx, Rdx], 0),
        ("missing-monitor-rcx", exit::MONITOR, 0, &[Rax, Rcx, Rdx], 1),
        ("missing-monitor-rdx", exit::MONITOR, 0, &[Rax, Rcx, Rdx], 2),
        ("missing-mwait-rax", exit::MWAIT, 0, &[Rax, Rcx], 0),
        ("missing-mwait-rcx", exit::MWAIT, 0, &[Rax, Rcx], 1),
        ("missing-ap-creation-rax", exit::AP_CREATION, 1, &[Rax], 0),
        (
            "missing-mmio-read-scratch",
            exit::MMIO_READ,
            0xFEE0_0020,
            &[Scratch],
            0,
        ),
        (
            "missing-mmio-write-scratch",
            exit::MMIO_WRITE,
            0xFEE0_0020,
            &[Scratch],
            0,
        ),
        (
            "missing-psc-scratch",
            exit::PAGE_STATE_CHANGE,
            0,
            &[Scratch],
            0,
        ),
        (
            "missing-exit-code",
            exit::HV_FEATURES,
            0,
            &[ExitCode, ExitInfo1, ExitInfo2],
            0,
        ),
        (
            "missing-exit-info-1",
            exit::HV_FEATURES,
            0,
            &[ExitCode, ExitInfo1, ExitInfo2],
            1,
        ),
        (
            "missing-exit-info-2",
            exit::HV_FEATURES,
            0,
            &[ExitCode, ExitInfo1, ExitInfo2],
            2,
        ),
    ];
    let ghcb = Ghcb::current();
    for (name, code, info1, fields, left_out) in CASES {
        ghcb.begin();
        for field in fields {
            ghcb.set(*field, 0);
        }
        ghcb.set_exit(code, info1, 0);
        if left_out != NONE {
            ghcb.clear_valid(fields[left_out]);
        }
        check(name, (2, malformed::MISSING_INPUT), infos(ghcb.exit_raw()));
    }
    // Leaf 0xD depends on XCR0.
    ghcb.begin();
    ghcb.set(Rax, 0xD);
    ghcb.set(Rcx, 0);
    ghcb.set_exit(exit::CPUID, 0, 0);
    check(
        "missing-cpuid-xcr0",
        (2, malformed::MISSING_INPUT),
        infos(ghcb.exit_raw()),
    );
}

/// From version 2 on the scratch area must lie within the shared buffer.
fn scratch() {
    let ghcb = Ghcb::current();
    let buffer = ghcb.buffer_gpa();
    let end = buffer + SHARED_BUFFER_SIZE as u64;
    for (name, scratch) in [
        ("scratch-zero", 0),
        ("scratch-below-buffer", buffer - 8),
        ("scratch-crosses-end", end - 4),
        ("scratch-at-end", end),
        ("scratch-next-page", ghcb.gpa() + 0x1000),
        ("scratch-all-ones", u64::MAX),
        ("scratch-private-memory", 0x90_0000),
    ] {
        ghcb.begin();
        ghcb.set(Field::Scratch, scratch);
        ghcb.set_exit(exit::MMIO_READ, 0xFEE0_0020, 8);
        check(name, (2, malformed::SCRATCH), infos(ghcb.exit_raw()));
    }
    for (name, scratch, count) in [
        (
            "scratch-string-too-long",
            buffer,
            SHARED_BUFFER_SIZE as u64 + 1,
        ),
        ("scratch-string-crosses-end", end - 4, 8),
        ("scratch-string-huge-count", buffer, 1 << 40),
    ] {
        ghcb.begin();
        ghcb.set(Field::Scratch, scratch);
        let info1 =
            0x80 << ioio::PORT_SHIFT | ioio::SIZE_8 | ioio::STRING | ioio::REP | ioio::ADDRESS_64;
        ghcb.set_exit(exit::IOIO, info1, count);
        let got = infos(ghcb.exit_raw());
        let refused = matches!(got, (2, malformed::SCRATCH | malformed::INVALID_INPUT));
        check_that(name, refused, "malformed: scratch area or input", got);
    }
    ghcb.begin();
    ghcb.set(Field::Scratch, buffer);
    ghcb.set_exit(exit::MMIO_READ, 0xFEE0_0020, 9);
    check(
        "mmio-length-9",
        (2, malformed::INVALID_INPUT),
        infos(ghcb.exit_raw()),
    );
    ghcb.begin();
    ghcb.set(Field::Scratch, buffer);
    ghcb.set_exit(exit::MMIO_READ, 0xFEE0_0020, 0);
    check("mmio-length-0", 0, infos(ghcb.exit_raw()).0);
}

/// Inputs do not stay valid; results are; the first info is overwritten on success.
fn bitmap() {
    // Results are collected before anything is printed: printing uses the same page.
    let ghcb = Ghcb::current();
    ghcb.begin();
    ghcb.set(Field::Rax, 0x8000_001F);
    ghcb.set(Field::Rcx, 0);
    ghcb.set(Field::Rsi, 0);
    ghcb.set_exit(exit::CPUID, 0, 0);
    let result = infos(ghcb.exit_raw()).0;
    let outputs = [Field::Rax, Field::Rbx, Field::Rcx, Field::Rdx].map(|field| ghcb.valid(field));
    let (input, info1) = (ghcb.valid(Field::Rsi), ghcb.valid(Field::ExitInfo1));
    check("bitmap-cpuid", 0, result);
    check("bitmap-cpuid-outputs", [true; 4], outputs);
    check("bitmap-inputs-cleared", false, input);
    check("bitmap-info1-valid", true, info1);
    ghcb.begin();
    ghcb.set(Field::Rax, 0);
    let info1 = 0x71 << ioio::PORT_SHIFT | ioio::SIZE_8 | ioio::ADDRESS_64 | ioio::IN;
    ghcb.set_exit(exit::IOIO, info1, 0);
    let (after, _) = ghcb.exit_raw();
    let rax = ghcb.valid(Field::Rax);
    check("info1-overwritten", 0, after & 0xFFFF_FFFF);
    check("bitmap-in-rax", true, rax);
    // COCONUT-SVSM marks the bitmap's own words valid; that must not be held against it.
    ghcb.begin();
    ghcb.set_exit(exit::HV_FEATURES, 0, 0);
    let word = 0x3F8;
    ghcb.write(word, ghcb.read(word) | 3 << 62);
    let result = infos(ghcb.exit_raw()).0;
    check("bitmap-own-bits-ignored", 0, result);
}
