//! Non-automatic-exit events that work as they should: ports, string I/O, MSRs, MMIO, features, APIC IDs (56421 §4).

use guest_rt::ghcb::{EVENT_GP, GhcbError};
use guest_rt::need;
use guest_rt::report::{check, check_that};
use guest_rt::{io, memory, nae};
use snp_abi::ghcb::malformed;
use snp_abi::msr;

/// Runs the group.
pub fn run() {
    ports();
    strings();
    msrs();
    mmio();
    check(
        "nae-hv-features",
        Ok(super::msr_protocol::FEATURES),
        nae::hv_features(),
    );
    check("nae-wbinvd", Ok(()), nae::wbinvd());
    check("nae-nmi-complete", Ok(()), nae::nmi_complete());
    time_stamp();
    apic_ids();
    run_vmpl();
    guest_request();
}

fn ports() {
    // PCI configuration mechanism 1: the address register reads back; device 0 is the host bridge, Intel's in q35.
    io::outl(0xCF8, 0x8000_0000);
    check("nae-io-32-bit", 0x8000_0000, io::inl(0xCF8));
    check("nae-io-16-bit", 0x8086, io::inw(0xCFC));
    // The RTC's memory, a byte that firmware uses for the shutdown code.
    io::outb(0x70, 0x0F);
    io::outb(0x71, 0x5A);
    io::outb(0x70, 0x0F);
    check("nae-io-8-bit", 0x5A, io::inb(0x71));
    io::outb(0x70, 0x0F);
    io::outb(0x71, 0);
    let (a, b, c) = (io::inb(0x5678), io::inw(0x5678), io::inl(0x5678));
    check(
        "nae-io-unknown-port",
        (0xFF, 0xFFFF, 0xFFFF_FFFF),
        (a, b, c),
    );
}

fn strings() {
    // fw_cfg's signature, byte by byte.
    let mut text = [0; 4];
    io::outw(0x510, 0);
    io::in_string(0x511, &mut text);
    check("nae-string-in", *b"QEMU", text);
    // The directory's size and a longer read give the same bytes as byte-wise reads.
    let mut by_string = [0; 256];
    io::outw(0x510, 0x19);
    io::in_string(0x511, &mut by_string);
    io::outw(0x510, 0x19);
    let mut by_byte = [0; 256];
    for byte in by_byte.iter_mut() {
        *byte = io::inb(0x511);
    }
    check_that(
        "nae-string-in-256",
        by_string == by_byte,
        "the same bytes",
        &by_string[..16],
    );
}

fn msrs() {
    // Unknown MSRs: #GP for the guest to raise.
    for (name, register) in [
        ("nae-rdmsr-unknown", 0x1234_5678),
        ("nae-rdmsr-unknown-2", 0xC001_9999),
    ] {
        check(
            name,
            Err(GhcbError::Exception(EVENT_GP)),
            nae::rdmsr(register),
        );
    }
    let wrote = nae::wrmsr(0x1234_5678, 1);
    check(
        "nae-wrmsr-unknown",
        Err(GhcbError::Exception(EVENT_GP)),
        wrote,
    );
    let base = nae::rdmsr(msr::APIC_BASE);
    let good = base.is_ok_and(|base| base & 0xF_FFFF_F000 == 0xFEE0_0000 && base >> 8 & 1 == 1);
    check_that(
        "nae-apic-base",
        good,
        "0xFEE00000, bootstrap processor",
        base,
    );
}

/// The local APIC's version register, in xAPIC mode: at least 0x10, with 4 LVT entries or more.
fn mmio() {
    let version = nae::mmio_read(0xFEE0_0030, 4);
    let good = version.is_ok_and(|v| v & 0xFF >= 0x10 && v & 0xFF < 0x20 && v >> 16 & 0xFF >= 3);
    check_that(
        "nae-mmio-apic-version",
        good,
        "0x1x, at least 4 LVT entries",
        version,
    );
    check(
        "nae-mmio-write",
        Ok(()),
        nae::mmio_write(0xFEE0_0080, 4, 0x20),
    );
    check(
        "nae-mmio-read-back",
        Ok(0x20),
        nae::mmio_read(0xFEE0_0080, 4),
    );
    check(
        "nae-mmio-write-restore",
        Ok(()),
        nae::mmio_write(0xFEE0_0080, 4, 0),
    );
}

fn time_stamp() {
    let (a, b) = (nae::rdtsc(), nae::rdtsc());
    let grows = matches!((a, b), (Ok(a), Ok(b)) if b > a);
    check_that("nae-rdtsc", grows, "growing values", (a, b));
}

/// 56421 §4.1.15: too few pages gives the number needed; then a count and the IDs.
fn apic_ids() {
    let needed = need!("nae-apic-ids", nae::apic_ids(0, 0));
    check("nae-apic-ids-pages", 1, needed);
    let page = need!("nae-apic-ids", memory::shared_pages(1));
    check("nae-apic-ids", Ok(1), nae::apic_ids(1, page));
    // SAFETY: the page was just shared and is mapped.
    let word = |i: u64| unsafe { ((page + i * 4) as *const u32).read_volatile() };
    let count = word(0);
    check_that(
        "nae-apic-ids-count",
        (1..=1000).contains(&count),
        "at least 1",
        count,
    );
    check("nae-apic-ids-first", 0, word(1));
}

fn run_vmpl() {
    for (name, vmpl) in [("nae-run-vmpl-4", 4), ("nae-run-vmpl-255", 255)] {
        let got = nae::run_vmpl(vmpl);
        check(
            name,
            Err(GhcbError::Malformed(malformed::INVALID_INPUT)),
            got,
        );
    }
}

/// Request and response must be page-aligned and different.
fn guest_request() {
    let Ok(pages) = memory::shared_pages(2) else {
        return guest_rt::report::fail("nae-guest-request", "two shared pages", "none");
    };
    let invalid = Err(GhcbError::Malformed(malformed::INVALID_INPUT));
    check(
        "nae-guest-request-unaligned-request",
        invalid,
        nae::guest_request(pages + 8, pages + 4096),
    );
    check(
        "nae-guest-request-unaligned-response",
        invalid,
        nae::guest_request(pages, pages + 4104),
    );
    check(
        "nae-guest-request-same-page",
        invalid,
        nae::guest_request(pages, pages),
    );
}
