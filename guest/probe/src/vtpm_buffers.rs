//! Where a request of the vTPM protocol may be: a page's worth of the guest's memory, at any address. In wrong places, and over
//! the end of a page into good and bad ones.

use crate::guest::{self, put_bytes};
use crate::tpm::{self, DEBUG_PCR, rc};
use crate::vcpu::{apic_ids, idle, write_vmsa};
use crate::vtpm::{DONE, HEADER, code, execute, put, put_with, random_and_more, response};
use guest_rt::context::Context;
use guest_rt::ghcb::Ghcb;
use guest_rt::memory::MemoryError;
use guest_rt::report::{check, skip};
use guest_rt::{memory, msr_protocol, need, paging, svsm};
use snp_abi::PAGE_SIZE;
use snp_abi::ghcb_msr::PSC_PRIVATE;
use svsm_abi::core_call::CREATE_VCPU;
use svsm_abi::{TPM_SEND_COMMAND, result};

const OK: u64 = result::SUCCESS;

/// Runs the cases.
pub fn run() {
    places();
    straddling();
    not_whole();
}

/// Kinds of pages that may hold no part of a buffer.
#[derive(Clone, Copy)]
enum Bad {
    Unvalidated,
    Shared,
    Vmsa,
}

impl Bad {
    /// Makes the page so.
    fn make(self, page: u64) -> Result<(), MemoryError> {
        match self {
            Bad::Shared => {}
            Bad::Unvalidated => msr_protocol::page_state_change(page, PSC_PRIVATE)?,
            Bad::Vmsa => {
                memory::accept_range(page, page + PAGE_SIZE)?;
                let (ids, count) = apic_ids();
                let area = guest::valid_run(1)?;
                write_vmsa(page, Context::new(), idle, |_| {});
                let created = guest::core(CREATE_VCPU, page, area, ids[count - 1] as u64);
                if created != Ok(OK) {
                    return Err(MemoryError::Svsm(page, created.unwrap_or(u64::MAX)));
                }
            }
        }
        Ok(())
    }
}

/// Where a request cannot be at all.
fn places() {
    let refused = Ok(result::INVALID_ADDRESS);
    let (svsm, size) = guest::svsm_memory();
    let (low_end, end) = guest::ram_ends();
    let page = need!("vtpm-place", guest::valid_run(1));
    let unvalidated = need!("vtpm-place", guest::assigned());
    let shared = need!("vtpm-place", memory::shared_pages(1));
    put_with(shared, TPM_SEND_COMMAND, 0, 12, tpm::get_random(8).get());
    for (name, gpa) in [
        ("vtpm-in-svsm", svsm),
        ("vtpm-in-svsm-unaligned", svsm + 0x1234),
        ("vtpm-in-svsm-middle", svsm + size / 2),
        ("vtpm-in-svsm-last-page", svsm + size - PAGE_SIZE),
        ("vtpm-into-svsm", svsm - 4),
        ("vtpm-out-of-svsm", svsm + size - 4),
        ("vtpm-unvalidated", unvalidated),
        ("vtpm-shared", shared),
        ("vtpm-ghcb", Ghcb::current().gpa()),
        ("vtpm-hypervisor-page", guest::shared()),
        ("vtpm-legacy-hole", 0xA_0000),
        ("vtpm-end-of-low-ram", low_end),
        ("vtpm-end-of-ram", end),
        ("vtpm-local-apic", 0xFEE0_0000),
        ("vtpm-4-gib", 0xFFFF_F000),
        ("vtpm-with-c-bit", page | paging::c_bit()),
        ("vtpm-52-bits", 1 << 52),
        ("vtpm-not-canonical", 0x8000_0000_0000_0000),
        ("vtpm-last-page", !0xFFF),
        ("vtpm-wraps-after-header", u64::MAX - 8),
        ("vtpm-wraps-in-header", u64::MAX - 3),
        ("vtpm-all-ones", u64::MAX),
    ] {
        check(name, refused, code(gpa));
    }
    // The calling area is the guest's to use, but its first byte is the call itself, which is taken back to 0.
    let area = svsm::caa();
    check(
        "vtpm-behind-calling-area",
        DONE,
        execute(area + 8, &tpm::get_random(8)),
    );
    put(area, &tpm::get_random(8));
    check(
        "vtpm-over-calling-area",
        Ok(result::INVALID_PARAMETER),
        code(area),
    );
    let caa = guest::peek(area) & 0xFF;
    check("vtpm-over-calling-area-not-pending", 0, caa);
}

/// Buffers over the end of a page: into a good one, which is allowed, and into bad ones.
fn straddling() {
    let pages = need!("vtpm-straddle", guest::valid_run(2));
    let end = pages + PAGE_SIZE;
    let mut split = 0;
    for before in 1..HEADER + 12 {
        let got = execute(end - before, &tpm::get_random(8));
        split += (got == DONE) as u64;
    }
    check("vtpm-over-good-pages", HEADER + 11, split);
    let got = execute(end - 400, &random_and_more());
    check("vtpm-long-over-good-pages", Ok((OK, rc::SIZE)), got);
    // The response is 4 + 20 bytes: all of the page, and not one byte more.
    put_bytes(end, &[0xEE; 8]);
    check(
        "vtpm-to-the-end-of-a-page",
        DONE,
        execute(end - 24, &tpm::get_random(8)),
    );
    check(
        "vtpm-next-page-unwritten",
        0xEEEE_EEEE_EEEE_EEEE,
        guest::peek(end),
    );
    // A whole page for the largest command there is.
    put_with(
        pages + 1,
        TPM_SEND_COMMAND,
        0,
        4087,
        random_and_more().get(),
    );
    check("vtpm-size-4087", Ok(OK), code(pages + 1));
    check(
        "vtpm-size-4087-answer",
        rc::COMMAND_SIZE,
        response(pages + 1).code(),
    );
    put_with(
        pages + 1,
        TPM_SEND_COMMAND,
        0,
        10,
        tpm::command(0x8001, 0x1234, |_| {}).get(),
    );
    check("vtpm-size-10", Ok(OK), code(pages + 1));
    check(
        "vtpm-size-10-answer",
        rc::COMMAND_CODE,
        response(pages + 1).code(),
    );

    let names = [
        (
            Bad::Unvalidated,
            [
                "vtpm-header-into-unvalidated",
                "vtpm-command-into-unvalidated",
                "vtpm-command-in-unvalidated",
                "vtpm-response-into-unvalidated",
            ],
        ),
        (
            Bad::Shared,
            [
                "vtpm-header-into-shared",
                "vtpm-command-into-shared",
                "vtpm-command-in-shared",
                "vtpm-response-into-shared",
            ],
        ),
        (
            Bad::Vmsa,
            [
                "vtpm-header-into-vmsa",
                "vtpm-command-into-vmsa",
                "vtpm-command-in-vmsa",
                "vtpm-response-into-vmsa",
            ],
        ),
    ];
    let (_, cpus) = apic_ids();
    for (bad, names) in names {
        if matches!(bad, Bad::Vmsa) && cpus < 2 {
            skip("vtpm-into-vmsa", "one vCPU");
            continue;
        }
        let good = need!("vtpm-straddle-bad", guest::assigned_run(2));
        need!(
            "vtpm-straddle-bad",
            memory::accept_range(good, good + PAGE_SIZE)
        );
        let end = good + PAGE_SIZE;
        need!("vtpm-straddle-bad", bad.make(end));
        // Header, command and response need so much of the first page; what is over the end is not written.
        for (name, before) in names.into_iter().zip([4, 15, HEADER, 21]) {
            let mut bytes = [0; 21];
            bytes[..4].copy_from_slice(&TPM_SEND_COMMAND.to_le_bytes());
            bytes[5] = 12;
            bytes[9..].copy_from_slice(tpm::get_random(8).get());
            put_bytes(end - before, &bytes[..before as usize]);
            check(name, Ok(result::INVALID_ADDRESS), code(end - before));
        }
        if matches!(bad, Bad::Vmsa) {
            check("vtpm-vmsa", Ok(result::INVALID_ADDRESS), code(end));
            check("vtpm-vmsa-deleted", Ok(OK), crate::vcpu::delete(end));
            let got = execute(end - 21, &tpm::get_random(8));
            check("vtpm-former-vmsa", DONE, got);
        }
    }
}

/// A command whose buffer is not whole is not executed, even where it and its response would fit.
fn not_whole() {
    let good = need!("vtpm-not-whole", guest::assigned_run(2));
    need!(
        "vtpm-not-whole",
        memory::accept_range(good, good + PAGE_SIZE)
    );
    let other = need!("vtpm-not-whole", guest::valid_run(1));
    let reset = execute(other, &tpm::pcr_reset(DEBUG_PCR));
    check("vtpm-not-whole-reset", DONE, reset);
    put(good + 1, &tpm::pcr_extend(DEBUG_PCR, &[0x33; 32]));
    check(
        "vtpm-not-whole",
        Ok(result::INVALID_ADDRESS),
        code(good + 1),
    );
    put(good, &tpm::pcr_read(DEBUG_PCR));
    check("vtpm-whole", Ok(OK), code(good));
    let unchanged = response(good).get().ends_with(&[0; 32]);
    check("vtpm-not-whole-not-executed", true, unchanged);
}
