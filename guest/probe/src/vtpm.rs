//! The vTPM protocol (58019 §8) from one vCPU: well-formed commands, and hostile headers.
//!
//! `svsm/core/src/service/vtpm.rs` has the choices of result codes that the specification leaves to an SVSM. The TPM's own
//! answers are those of the TPM Library, Part 3 §5.

use crate::guest::{self, get_bytes, put_bytes, raw};
use crate::sha256;
use crate::tpm::{self, Bytes, DEBUG_PCR, rc};
use guest_rt::need;
use guest_rt::report::{check, check_that, skip};
use guest_rt::svsm::{self, NoAnswer, Path, Registers, VtpmOutcome};
use svsm_abi::core_call::QUERY_PROTOCOL;
use svsm_abi::{TPM_SEND_COMMAND, call_id, protocol, result, vtpm_call};

const OK: u64 = result::SUCCESS;
/// Bytes of a request's header.
pub const HEADER: u64 = 9;
/// Milliseconds for the longest command: an RSA key on a slow machine.
pub const LONG_MS: u64 = 120_000;

/// The result code of a VTPM_CMD with the TPM's, or why there is none.
pub type Answer = Result<(u64, u32), NoAnswer>;
/// What a command that the TPM executed comes to.
pub const DONE: Answer = Ok((OK, rc::SUCCESS));

/// Whether the SVSM has a vTPM.
pub fn present() -> bool {
    let registers = Registers::new(
        protocol::CORE,
        QUERY_PROTOCOL,
        (protocol::VTPM as u64) << 32 | 1,
        0,
        0,
    );
    raw(Path::Nae, registers).is_ok_and(|r| r.rcx == 1 << 32 | 1)
}

/// Writes a request with this header at `gpa`.
pub fn put_with(gpa: u64, command: u32, locality: u8, size: u32, bytes: &[u8]) {
    let mut header = [0; HEADER as usize];
    header[..4].copy_from_slice(&command.to_le_bytes());
    header[4] = locality;
    header[5..].copy_from_slice(&size.to_le_bytes());
    put_bytes(gpa, &header);
    put_bytes(gpa + HEADER, bytes);
}

/// Writes a request for a TPM command at `gpa`.
pub fn put(gpa: u64, command: &Bytes) {
    let bytes = command.get();
    put_with(gpa, TPM_SEND_COMMAND, 0, bytes.len() as u32, bytes);
}

/// The response at `gpa`.
pub fn response(gpa: u64) -> Bytes {
    let mut size = [0; 4];
    get_bytes(gpa, &mut size);
    let mut response = Bytes::new();
    get_bytes(gpa + 4, response.room(u32::from_le_bytes(size) as usize));
    response
}

/// Makes the request at `gpa` until it is done.
pub fn done(gpa: u64) -> Result<VtpmOutcome, NoAnswer> {
    svsm::vtpm_command_until_done(gpa, LONG_MS)
}

/// A TPM command in the buffer at `gpa`: the codes.
pub fn execute(gpa: u64, command: &Bytes) -> Answer {
    put(gpa, command);
    let code = done(gpa)?.code;
    Ok((code, if code == OK { response(gpa).code() } else { 0 }))
}

/// Whether the TPM does what it should, through the buffer at `gpa`: random bytes, a PCR that is reset and extended.
pub fn works(gpa: u64) -> bool {
    let digest = [0xA5; 32];
    execute(gpa, &tpm::get_random(16)) == DONE
        && execute(gpa, &tpm::pcr_reset(DEBUG_PCR)) == DONE
        && execute(gpa, &tpm::pcr_extend(DEBUG_PCR, &digest)) == DONE
        && execute(gpa, &tpm::pcr_read(DEBUG_PCR)) == DONE
        && response(gpa)
            .get()
            .ends_with(&tpm::extended(&[0; 32], &digest))
}

/// The result code of the request at `gpa`, once it is done.
pub fn code(gpa: u64) -> Result<u64, NoAnswer> {
    done(gpa).map(|outcome| outcome.code)
}

/// Runs the group.
pub fn run() {
    if !present() {
        return skip("vtpm", "the SVSM has none");
    }
    queries();
    let page = need!("vtpm-start", guest::valid_run(1));
    commands(page);
    malformed(page);
    headers(page);
    crate::vtpm_buffers::run();
    check("vtpm-works-after-hostile-buffers", true, works(page));
    crate::vtpm_slices::run(page);
    crate::vtpm_concurrent::run();
    check("vtpm-works-at-the-end", true, works(page));
}

fn queries() {
    for (name, rcx, expected) in [
        ("query-vtpm-1", 2 << 32 | 1, 1 << 32 | 1),
        ("query-vtpm-0", 2 << 32, 0),
        ("query-vtpm-2", 2 << 32 | 2, 0),
    ] {
        let registers = Registers::new(protocol::CORE, QUERY_PROTOCOL, rcx, 0, 0);
        let got = raw(Path::Msr, registers).map(|r| (r.rax, r.rcx));
        check(name, Ok((OK, expected)), got);
    }
    let mut before = Registers::new(protocol::VTPM, vtpm_call::QUERY, 0xC0, 0xD0, 0x80);
    for (i, register) in before.preserved.iter_mut().enumerate() {
        *register = 0x1111_1111_1111_1111 * (i as u64 + 1);
    }
    let expected = Registers {
        rax: OK,
        rcx: 1 << TPM_SEND_COMMAND,
        rdx: 0,
        ..before
    };
    check("vtpm-query", Ok(expected), raw(Path::Nae, before));
    for (name, call) in [
        ("vtpm-unknown-call-2", 2),
        ("vtpm-unknown-call-8", 8),
        ("vtpm-unknown-call-80000001", 0x8000_0001),
        ("vtpm-unknown-call-ffffffff", u32::MAX),
    ] {
        let registers = Registers {
            rax: call_id(protocol::VTPM, call),
            ..Registers::default()
        };
        let got = raw(Path::Nae, registers).map(|r| r.rax);
        check(name, Ok(result::UNSUPPORTED_CALL), got);
    }
}

/// What a guest does first, and what it must get.
fn commands(page: u64) {
    let started = execute(page, &tpm::startup());
    let well = matches!(started, DONE | Ok((OK, rc::INITIALIZE)));
    check_that("vtpm-startup", well, "success, or started before", started);
    check(
        "vtpm-startup-again",
        Ok((OK, rc::INITIALIZE)),
        execute(page, &tpm::startup()),
    );
    check("vtpm-random", DONE, execute(page, &tpm::get_random(32)));
    let first = response(page);
    check(
        "vtpm-random-again",
        DONE,
        execute(page, &tpm::get_random(32)),
    );
    let second = response(page);
    let differ = first.sized_at(10) != second.sized_at(10);
    let whole = first.sized_at(10).is_some_and(|bytes| bytes.len() == 32);
    check("vtpm-random-differs", (true, true), (whole, differ));
    check(
        "vtpm-pcr-reset",
        DONE,
        execute(page, &tpm::pcr_reset(DEBUG_PCR)),
    );
    let digests = [[0x11; 32], [0x22; 32]];
    let mut expected = [0; 32];
    for digest in &digests {
        expected = tpm::extended(&expected, digest);
        let got = execute(page, &tpm::pcr_extend(DEBUG_PCR, digest));
        check("vtpm-pcr-extend", DONE, got);
    }
    check(
        "vtpm-pcr-read",
        DONE,
        execute(page, &tpm::pcr_read(DEBUG_PCR)),
    );
    let value = response(page);
    check(
        "vtpm-pcr-value",
        &expected[..],
        &value.get()[value.get().len() - 32..],
    );
    let data = [0x5A; 700];
    check("vtpm-hash", DONE, execute(page, &tpm::hash(&data)));
    let digest = sha256::digest(&[&data]);
    check(
        "vtpm-hash-value",
        Some(&digest[..]),
        response(page).sized_at(10),
    );
    // By the MSR protocol as well, as a guest without a GHCB does.
    put(page, &tpm::get_random(8));
    let registers = Registers::new(protocol::VTPM, vtpm_call::CMD, page, 0x77, 0x88);
    let mut got = raw(Path::Msr, registers);
    while got.is_ok_and(|r| r.rax == result::INCOMPLETE) {
        got = raw(Path::Msr, registers);
    }
    let expected = Registers {
        rax: OK,
        ..registers
    };
    check("vtpm-command-by-msr-protocol", Ok(expected), got);
}

/// What the SVSM hands on and the TPM answers by itself.
fn malformed(page: u64) {
    let random = tpm::cc::GET_RANDOM;
    for (name, tag, code, size, expected) in [
        ("tpm-tag-0", 0, random, 12, rc::BAD_TAG),
        ("tpm-tag-8003", 0x8003, random, 12, rc::BAD_TAG),
        ("tpm-tag-of-a-response", 0xC4, random, 12, rc::BAD_TAG),
        ("tpm-size-0", 0x8001, random, 0, rc::COMMAND_SIZE),
        ("tpm-size-9", 0x8001, random, 9, rc::COMMAND_SIZE),
        ("tpm-size-1-less", 0x8001, random, 11, rc::COMMAND_SIZE),
        ("tpm-size-1-more", 0x8001, random, 13, rc::COMMAND_SIZE),
        (
            "tpm-size-all-ones",
            0x8001,
            random,
            u32::MAX,
            rc::COMMAND_SIZE,
        ),
        ("tpm-code-0", 0x8001, 0, 12, rc::COMMAND_CODE),
        ("tpm-code-1000", 0x8001, 0x1000, 12, rc::COMMAND_CODE),
        ("tpm-code-vendor", 0x8001, 0x2000_0001, 12, rc::COMMAND_CODE),
        ("tpm-code-all-ones", 0x8001, u32::MAX, 12, rc::COMMAND_CODE),
    ] {
        let command = tpm::get_random_with(tag, code, size);
        check(name, Ok((OK, expected)), execute(page, &command));
    }
    let reset = tpm::cc::PCR_RESET;
    let command = tpm::command(tpm::NO_SESSIONS, reset, |c| {
        c.u32(DEBUG_PCR);
    });
    let got = execute(page, &command);
    check(
        "tpm-without-its-authorization",
        Ok((OK, rc::AUTH_MISSING)),
        got,
    );
    let command = tpm::command(tpm::SESSIONS, reset, |c| {
        c.u32(DEBUG_PCR).u32(u32::MAX);
    });
    let got = execute(page, &command);
    check("tpm-authorization-area-too-long", Ok((OK, rc::SIZE)), got);
    let got = execute(page, &tpm::command(0x8001, random, |_| {}));
    check("tpm-header-only", Ok((OK, rc::INSUFFICIENT_1)), got);
    let got = execute(page, &random_and_more());
    check("tpm-bytes-left-over", Ok((OK, rc::SIZE)), got);
}

/// A GetRandom with bytes behind it: 700 in all.
pub fn random_and_more() -> Bytes {
    let mut command = tpm::get_random(8);
    command.room(700);
    command.complete();
    command
}

/// Headers that the SVSM refuses by themselves. What follows is in order.
fn headers(page: u64) {
    let command = tpm::get_random(8);
    let bytes = command.get();
    let size = bytes.len() as u32;
    for (name, platform_command, locality, size) in [
        ("vtpm-size-0", 8, 0, 0),
        ("vtpm-size-1", 8, 0, 1),
        ("vtpm-size-9", 8, 0, 9),
        ("vtpm-size-4088", 8, 0, 4088),
        ("vtpm-size-4096", 8, 0, 4096),
        ("vtpm-size-65548", 8, 0, 0x1_000C),
        ("vtpm-size-2-gib", 8, 0, 0x8000_000C),
        ("vtpm-size-all-ones", 8, 0, u32::MAX),
        ("vtpm-platform-command-0", 0, 0, size),
        ("vtpm-platform-command-1", 1, 0, size),
        ("vtpm-platform-command-7", 7, 0, size),
        ("vtpm-platform-command-9", 9, 0, size),
        ("vtpm-platform-command-20", 20, 0, size),
        ("vtpm-platform-command-108", 0x108, 0, size),
        ("vtpm-platform-command-all-ones", u32::MAX, 0, size),
        ("vtpm-locality-1", 8, 1, size),
        ("vtpm-locality-2", 8, 2, size),
        ("vtpm-locality-3", 8, 3, size),
        ("vtpm-locality-4", 8, 4, size),
        ("vtpm-locality-5", 8, 5, size),
        ("vtpm-locality-255", 8, 255, size),
    ] {
        put_with(page, platform_command, locality, size, bytes);
        check(name, Ok(result::INVALID_PARAMETER), code(page));
    }
    let mut left = [0; 12];
    get_bytes(page + HEADER, &mut left);
    check("vtpm-refused-buffer-unwritten", bytes, &left);
}
