//! The broken service (`svsm_broken::cases`) in the vTPM's place: the guest asks it to misbehave, and goes on. Only an image
//! that carries it has these cases.
//!
//! A service that was ended stays so, so each case that ends it has a boot of its own: `broken INDEX`. All others are
//! `broken`. What the SVSM says on the console, is for whoever reads that to judge.

use crate::guest::{self, core, peek, poke};
use crate::steady;
use guest_rt::report::{check, check_that, fail};
use guest_rt::svsm::{self, NoAnswer, Path, Registers};
use guest_rt::{cpu, println, time};
use svsm_abi::{TPM_SEND_COMMAND, core_call, protocol, result};
use svsm_broken::cases::{self, Case, Ends};

/// Runs the chosen cases, if `chosen` names some.
pub fn run(chosen: &str) -> bool {
    let Some(which) = chosen.strip_prefix("broken") else {
        return false;
    };
    let before = steady::answers();
    let page = match guest::valid() {
        Ok(page) => page,
        Err(error) => {
            fail("broken-page", "a page", error);
            return true;
        }
    };
    match which.trim().parse::<usize>() {
        Ok(index) => match cases::all().nth(index) {
            Some(case) => one(&case, page),
            None => fail("broken-index", cases::all().count(), index),
        },
        Err(_) => {
            for case in cases::all() {
                if matches!(case.ends, Ends::Answers(_) | Ends::AnswersSomehow) {
                    one(&case, page);
                }
            }
        }
    }
    check("answers-the-same-at-the-end", before, steady::answers());
    true
}

/// One request, and whether the service is as it must be after it.
fn one(case: &Case, page: u64) {
    println!("begin {}", case.name);
    let mut calls = Calls::default();
    let got = ask(page, &case.request(), &mut calls);
    if case.ends == Ends::TooLong {
        // Who asked has its vCPU back all the time, and all other calls are answered meanwhile. A slice has 2 ms; the rest
        // is the host's.
        let well = (
            calls.incomplete > 100,
            calls.longest_ms < 1000,
            calls.refused,
        );
        check("broken-in-slices", (true, true, 0), well);
        println!("  {calls:?}");
    }
    let alive = Ok(result::SUCCESS);
    let ended = Ok(result::UNSUPPORTED_PROTOCOL);
    match case.ends {
        Ends::Answers(value) => check(case.name, (alive, value), got),
        Ends::AnswersSomehow => check_that(case.name, got.0 == alive, "an answer", got),
        Ends::Exception(_) | Ends::GaveUp(_) | Ends::BadAnswer(_) | Ends::TooLong => {
            check(case.name, ended, got.0)
        }
        Ends::Bounded => check_that(
            case.name,
            got.0 == alive || got.0 == ended,
            "an answer or an end",
            got,
        ),
    }
    let validated = guest::assigned().map(|page| guest::pvalidate_page(page, true));
    check("broken-pvalidate", Ok(alive), validated);
    // It echoes, or its protocol is gone for good.
    let echo = cases::message(0, 0x00C0_FFEE);
    let served = svsm_registers(core_call::QUERY_PROTOCOL, (protocol::VTPM as u64) << 32 | 1);
    match got.0 {
        Ok(result::SUCCESS) => {
            check(
                "broken-echo",
                (alive, 0x00C0_FFEE),
                ask(page, &echo, &mut calls),
            );
            check("broken-served", Ok(1 << 32 | 1), served);
        }
        Ok(result::UNSUPPORTED_PROTOCOL) => {
            check("broken-gone", ended, ask(page, &echo, &mut calls).0);
            check("broken-not-served", Ok(0), served);
        }
        _ => {}
    }
}

/// RCX after a core call.
fn svsm_registers(call: u32, rcx: u64) -> Result<u64, NoAnswer> {
    let registers = Registers::new(protocol::CORE, call, rcx, 0, 0);
    guest::raw(Path::Nae, registers).map(|after| after.rcx)
}

/// What became of the calls that a request took.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    /// INCOMPLETE came back.
    incomplete: u32,
    /// Time of the longest one.
    longest_ms: u64,
    /// Calls of another protocol in between that were not answered as they must be.
    refused: u32,
}

/// Sends a request until it is answered, for as long as a service may take: the result code, and the answer's value.
fn ask(
    page: u64,
    request: &[u8; cases::LENGTH],
    calls: &mut Calls,
) -> (Result<u64, NoAnswer>, u64) {
    const MOST_CALLS: u32 = 100_000;
    let mut buffer = [0; 32];
    buffer[..4].copy_from_slice(&TPM_SEND_COMMAND.to_le_bytes());
    buffer[5..9].copy_from_slice(&(cases::LENGTH as u32).to_le_bytes());
    buffer[9..9 + cases::LENGTH].copy_from_slice(request);
    let (words, _) = buffer.as_chunks::<8>();
    for (at, word) in (page..).step_by(8).zip(words) {
        poke(at, u64::from_le_bytes(*word));
    }
    let mut code = Ok(result::INCOMPLETE);
    for _ in 0..MOST_CALLS {
        let begun = cpu::rdtsc();
        code = svsm::vtpm_command(page);
        let ms = (cpu::rdtsc() - begun) / time::ticks_per_ms();
        calls.longest_ms = calls.longest_ms.max(ms);
        if code != Ok(result::INCOMPLETE) {
            break;
        }
        calls.incomplete += 1;
        // The rest of the SVSM answers meanwhile.
        calls.refused += (core(core_call::QUERY_PROTOCOL, 1, 0, 0) != Ok(result::SUCCESS)) as u32;
    }
    // Size, magic, number; then the value.
    let value = (peek(page + 8) >> 32) | (peek(page + 16) << 32);
    (code, value)
}
