//! What calls cost: the same call many times, one kind after the other, for a machine that counts (`calls=each`).
//!
//! A VTPM_QUERY after each kind tells them apart; [`KINDS`] is their order, which `xtask/src/vtpm_bench.rs` knows.

use crate::guest::{self, raw};
use crate::tpm::{self, Bytes, DEBUG_PCR, NO_SESSIONS, rc};
use crate::vtpm::{self, put, response};
use guest_rt::need;
use guest_rt::report::{check, fail};
use guest_rt::svsm::{self, Path, Registers};
use svsm_abi::core_call::QUERY_PROTOCOL;
use svsm_abi::{protocol, result, vtpm_call};

/// A code in the range of those that no command has.
const NO_COMMAND: u32 = 0x1FF;

/// A name, a TPM command, how many of it, and what it answers.
type Kind = (&'static str, fn() -> Bytes, u32, u32);

/// The kinds of TPM commands.
const KINDS: &[Kind] = &[
    ("refused", refused, 150, rc::COMMAND_CODE),
    ("pcr-read", || tpm::pcr_read(DEBUG_PCR), 150, rc::SUCCESS),
    (
        "pcr-extend",
        || tpm::pcr_extend(DEBUG_PCR, &[0x5A; 32]),
        150,
        rc::SUCCESS,
    ),
    ("get-random", || tpm::get_random(32), 50, rc::SUCCESS),
];

/// Null calls.
const NULL_CALLS: u32 = 400;

fn refused() -> Bytes {
    tpm::command(NO_SESSIONS, NO_COMMAND, |_| {})
}

/// Runs all kinds, up to the first call that is not answered as it must be.
pub fn run() {
    if !vtpm::present() {
        return fail("bench", "a vTPM", "none");
    }
    let page = need!("bench-page", guest::valid_run(1));
    check(
        "bench-startup",
        vtpm::DONE,
        vtpm::execute(page, &tpm::startup()),
    );
    check("bench-works", true, vtpm::works(page));
    end_of("setup");
    for _ in 0..NULL_CALLS {
        let query = Registers::new(
            protocol::CORE,
            QUERY_PROTOCOL,
            (protocol::CORE as u64) << 32 | 1,
            0,
            0,
        );
        if raw(Path::Nae, query).map(|after| after.rcx) != Ok(1 << 32 | 1) {
            return fail("bench-null", "an answer", "none");
        }
    }
    end_of("null");
    for (name, command, count, expected) in KINDS {
        let command = command();
        for _ in 0..*count {
            put(page, &command);
            let code = svsm::vtpm_command(page);
            let answer = response(page).code();
            if (code, answer) != (Ok(result::SUCCESS), *expected) {
                return check(name, (Ok(result::SUCCESS), *expected), (code, answer));
            }
        }
        end_of(name);
    }
}

fn end_of(name: &str) {
    let query = Registers::new(protocol::VTPM, vtpm_call::QUERY, 0, 0, 0);
    check(
        name,
        Ok(result::SUCCESS),
        raw(Path::Nae, query).map(|r| r.rax),
    );
}
