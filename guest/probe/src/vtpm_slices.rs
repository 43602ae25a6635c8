//! Long TPM commands, one vCPU: a slice for each call, INCOMPLETE in between, and what a guest may do with the buffer
//! meanwhile.
//!
//! Interrupts are off all the time, as in Linux's own call: the loops must come to an end all the same.

use crate::guest::{self, core, get_bytes, poke, pvalidate_page, raw};
use crate::tpm::{self, Bytes, FIRST_TRANSIENT, rc};
use crate::vcpu::{apic_ids, delete, idle, write_vmsa};
use crate::vtpm::{DONE, code, done, execute, put, put_with, response};
use guest_rt::context::Context;
use guest_rt::report::{check, check_that, fail, skip};
use guest_rt::svsm::{self, Path, Registers};
use guest_rt::{cpu, memory, need, println, time};
use svsm_abi::core_call::{CREATE_VCPU, QUERY_PROTOCOL};
use svsm_abi::{TPM_SEND_COMMAND, protocol, result, vtpm_call};

const OK: u64 = result::SUCCESS;
/// The key whose making is interrupted.
const BITS: u16 = 2048;
/// Calls that a key may take.
const MOST_CALLS: u32 = 60_000;

static UNIQUE: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(1);

/// The command for another key each time.
pub fn another_key() -> Bytes {
    tpm::create_rsa(
        BITS,
        UNIQUE.fetch_add(1, core::sync::atomic::Ordering::Relaxed),
    )
}

/// Begins to make a key in the buffer at `gpa`, up to the first INCOMPLETE. Reports when it does not come to that.
pub fn begin_key(name: &str, gpa: u64) -> Option<Bytes> {
    let command = another_key();
    put(gpa, &command);
    let begun = svsm::vtpm_command(gpa);
    if begun == Ok(result::INCOMPLETE) {
        return Some(command);
    }
    fail(name, "INCOMPLETE after the first slice", begun);
    None
}

/// Goes on with the key in the buffer at `gpa`, checks that it is one, and removes it.
fn end_key(name: &str, gpa: u64) {
    let code = code(gpa);
    let answer = response(gpa);
    let well = (code, answer.code(), answer.u32_at(10));
    check(name, (Ok(OK), rc::SUCCESS, FIRST_TRANSIENT), well);
    flush("vtpm-key-removed", gpa);
}

/// Removes the key that is there: it was made, whoever got to know.
pub fn flush(name: &str, gpa: u64) {
    check(name, DONE, execute(gpa, &tpm::flush(FIRST_TRANSIENT)));
}

/// Runs the cases. `page` is for other commands.
pub fn run(page: u64) {
    let buffer = need!("vtpm-slices", guest::valid_run(2));
    slices(buffer);
    meanwhile(buffer, page);
    replaced(buffer);
    rescinded(buffer);
    as_vmsa(buffer);
    abandoned(page);
}

/// A whole key: how many calls, how long the longest one takes.
fn slices(buffer: u64) {
    put(buffer, &another_key());
    let (mut calls, mut longest) = (0, 0);
    let begun = cpu::rdtsc();
    let last = loop {
        let start = cpu::rdtsc();
        let code = svsm::vtpm_command(buffer);
        longest = longest.max(cpu::rdtsc() - start);
        calls += 1;
        if code != Ok(result::INCOMPLETE) || calls == MOST_CALLS {
            break code;
        }
    };
    let ms = (cpu::rdtsc() - begun) / time::ticks_per_ms();
    check("vtpm-key-in-slices", Ok(OK), last);
    check_that("vtpm-key-is-long", calls > 2, "INCOMPLETE", calls);
    println!(
        "  an RSA-{BITS} key in {calls} calls and {ms} ms; the longest took {} us",
        longest * 1000 / time::ticks_per_ms()
    );
    check("vtpm-key-answer", rc::SUCCESS, response(buffer).code());
    flush("vtpm-key-flush", buffer);
    check(
        "vtpm-key-flush-again",
        Ok((OK, rc::HANDLE_1)),
        execute(buffer, &tpm::flush(FIRST_TRANSIENT)),
    );
}

/// What others of the guest may do while a command is under way, and what they are told.
fn meanwhile(buffer: u64, page: u64) {
    let Some(command) = begin_key("vtpm-meanwhile", buffer) else {
        return;
    };
    let query = Registers::new(protocol::CORE, QUERY_PROTOCOL, 2 << 32 | 1, 0, 0);
    let got = raw(Path::Nae, query).map(|r| r.rcx);
    check("vtpm-meanwhile-query-protocol", Ok(1 << 32 | 1), got);
    let query = Registers::new(protocol::VTPM, vtpm_call::QUERY, 0, 0, 0);
    let got = raw(Path::Nae, query).map(|r| r.rcx);
    check("vtpm-meanwhile-query", Ok(1 << TPM_SEND_COMMAND), got);
    let validated = guest::assigned().map(|page| pvalidate_page(page, true));
    check("vtpm-meanwhile-pvalidate", Ok(Ok(OK)), validated);
    put(page, &tpm::get_random(8));
    check(
        "vtpm-meanwhile-busy",
        Ok(result::BUSY),
        svsm::vtpm_command(page),
    );
    let mut left = [0; 12];
    get_bytes(page + 9, &mut left);
    check("vtpm-meanwhile-unwritten", tpm::get_random(8).get(), &left);
    put(page, &command);
    check(
        "vtpm-meanwhile-same-in-other-buffer",
        Ok(result::BUSY),
        svsm::vtpm_command(page),
    );
    put_with(page, TPM_SEND_COMMAND, 0, u32::MAX, &[]);
    let got = svsm::vtpm_command(page);
    check(
        "vtpm-meanwhile-bad-size",
        Ok(result::INVALID_PARAMETER),
        got,
    );
    let got = svsm::vtpm_command(guest::svsm_memory().0);
    check("vtpm-meanwhile-in-svsm", Ok(result::INVALID_ADDRESS), got);
    end_key("vtpm-meanwhile-own-answer", buffer);
}

/// The owner gives its request up for another one: BUSY until the old one is done, then its own answer.
fn replaced(buffer: u64) {
    if begin_key("vtpm-replaced", buffer).is_none() {
        return;
    }
    put(buffer, &tpm::get_random(24));
    let outcome = need!("vtpm-replaced", done(buffer));
    let answer = response(buffer);
    let bytes = answer.sized_at(10).map(<[u8]>::len);
    let well = (outcome.code, answer.code(), bytes);
    check("vtpm-replaced", (OK, rc::SUCCESS, Some(24)), well);
    check_that(
        "vtpm-replaced-busy",
        outcome.busy > 0,
        "BUSY first",
        outcome,
    );
    flush("vtpm-replaced-was-finished", buffer);
}

/// The buffer's page is taken away and given back.
fn rescinded(buffer: u64) {
    let Some(command) = begin_key("vtpm-rescinded", buffer) else {
        return;
    };
    check("vtpm-rescind", Ok(OK), pvalidate_page(buffer, false));
    let got = svsm::vtpm_command(buffer);
    check("vtpm-rescinded", Ok(result::INVALID_ADDRESS), got);
    check("vtpm-validate", Ok(OK), pvalidate_page(buffer, true));
    let got = svsm::vtpm_command(buffer);
    check("vtpm-rescinded-empty", Ok(result::INVALID_PARAMETER), got);
    put(buffer, &command);
    end_key("vtpm-rescinded-answer", buffer);
}

/// The buffer's page becomes a VMSA, and memory again: behind what a VMSA uses the request stays as it is.
fn as_vmsa(buffer: u64) {
    let (ids, count) = apic_ids();
    if count < 2 {
        return skip("vtpm-buffer-becomes-vmsa", "one vCPU");
    }
    let area = need!("vtpm-buffer-becomes-vmsa", guest::valid_run(1));
    let request = buffer + 0x800;
    write_vmsa(buffer, Context::new(), idle, |_| {});
    let Some(command) = begin_key("vtpm-buffer-becomes-vmsa", request) else {
        return;
    };
    let before = guest::peek(request);
    let created = core(CREATE_VCPU, buffer, area, ids[count - 1] as u64);
    check("vtpm-buffer-becomes-vmsa", Ok(OK), created);
    let deadline = time::Deadline::after_ms(200);
    let mut refused = true;
    while !deadline.passed() {
        refused &= svsm::vtpm_command(request) == Ok(result::INVALID_ADDRESS);
    }
    check("vtpm-buffer-is-vmsa", true, refused);
    check(
        "vtpm-buffer-is-vmsa-unwritten",
        before,
        guest::peek(request),
    );
    check("vtpm-buffer-was-vmsa", Ok(OK), delete(buffer));
    put(request, &command);
    end_key("vtpm-buffer-was-vmsa-answer", request);
    poke(buffer, 0);
}

/// The buffer goes to the hypervisor for good. Others finish the work, wait for an owner that does not come, and go on.
fn abandoned(page: u64) {
    let lost = need!("vtpm-abandoned", guest::valid_run(1));
    if begin_key("vtpm-abandoned", lost).is_none() {
        return;
    }
    need!("vtpm-abandoned", memory::share_page(lost));
    let got = svsm::vtpm_command(lost);
    check("vtpm-abandoned-shared", Ok(result::INVALID_ADDRESS), got);
    let begun = cpu::rdtsc();
    put(page, &tpm::get_random(8));
    let outcome = need!("vtpm-abandoned", done(page));
    let ms = (cpu::rdtsc() - begun) / time::ticks_per_ms();
    check("vtpm-abandoned-others-go-on", OK, outcome.code);
    println!("  others go on after {ms} ms, {} times BUSY", outcome.busy);
    flush("vtpm-abandoned-was-finished", page);
}
