//! How calls are made, unknown protocols and calls, QUERY_PROTOCOL, DEPOSIT_MEM, WITHDRAW_MEM, CONFIGURE_VTOM.

use crate::guest::{self, core, peek, raw};
use guest_rt::report::{check, check_that};
use guest_rt::svsm::{self, NoAnswer, Path, Registers};
use guest_rt::{msr_protocol, params};
use snp_abi::ghcb_msr as proto;
use svsm_abi::{call_id, core_call, protocol, result};

/// Runs the group.
pub fn run() {
    secrets();
    registers();
    not_pending();
    unknown();
    query();
    memory();
    vtom();
    other_levels();
}

/// What the guest was given (58019 §4): its level, the SVSM's place, no keys of more privileged levels.
fn secrets() {
    let secrets = params::secrets();
    let (base, size) = guest::svsm_memory();
    check("secrets-svsm-base", base, secrets.svsm_base.get());
    check_that(
        "secrets-svsm-size",
        secrets.svsm_size.get() != 0,
        "not 0",
        size,
    );
    check("secrets-guest-vmpl", 2, secrets.svsm_guest_vmpl);
    check("secrets-max-version", 1, secrets.svsm_max_version.get());
    let caa = params::guest().map_or(0, |p| p.caa_gpa.get());
    check("secrets-calling-area", caa, secrets.svsm_caa.get());
    let keys = secrets.vmpck.map(|key| key == [0; 32]);
    check(
        "secrets-keys-of-other-levels-cleared",
        [true, true],
        [keys[0], keys[1]],
    );
    check("secrets-own-key-there", false, keys[2]);
    check("memory-available-not-set", 0, peek(svsm::caa()) >> 8 & 0xFF);
}

/// Only RAX, RCX, RDX and R8 may carry results; all others are as they were.
fn registers() {
    for (path, way) in guest::paths() {
        let mut before =
            Registers::new(protocol::CORE, core_call::QUERY_PROTOCOL, 1, 0xD0D0, 0x8080);
        before.r9 = 0x9090_9090_9090_9090;
        for (i, register) in before.preserved.iter_mut().enumerate() {
            *register = 0x1111_1111_1111_1111 * (i as u64 + 1);
        }
        let after = raw(path, before);
        let expected = Registers {
            rax: result::SUCCESS,
            rcx: 1 << 32 | 1,
            ..before
        };
        match way {
            "msr" => check("call-by-msr-protocol", Ok(expected), after),
            _ => check("call-by-event", Ok(expected), after),
        }
    }
}

/// VMPL0 entered without a call: nothing is done, and nothing changes.
fn not_pending() {
    check("run-vmpl0-without-call", Ok(()), msr_protocol::run_vmpl(0));
    let list = guest::valid();
    let Ok(area) = list else {
        return guest_rt::report::fail("pending-in-other-page", "a page", list);
    };
    // The call is announced in a page that is not the calling area: not taken, so still pending.
    let mut registers = Registers::new(protocol::CORE, core_call::QUERY_PROTOCOL, 1, 0, 0);
    let before = registers;
    let got = svsm::call_through(Path::Msr, &mut registers, area);
    check(
        "pending-in-other-page-not-taken",
        Err(NoAnswer::Pending),
        got,
    );
    check("pending-in-other-page-registers", before, registers);
}

fn unknown() {
    let protocols = [
        ("unknown-protocol-55", 0x55),
        ("unknown-protocol-ffff", 0xFFFF),
        ("unknown-protocol-80000000", 0x8000_0000),
        ("unknown-protocol-ffffffff", u32::MAX),
    ];
    for (name, protocol) in protocols {
        for call in [0, 1, u32::MAX] {
            let registers = Registers {
                rax: call_id(protocol, call),
                ..Registers::default()
            };
            let got = raw(Path::Nae, registers).map(|r| r.rax);
            if got != Ok(result::UNSUPPORTED_PROTOCOL) || call == u32::MAX {
                check(name, Ok(result::UNSUPPORTED_PROTOCOL), got);
                break;
            }
        }
    }
    for (name, call) in [
        ("unknown-core-call-8", 8),
        ("unknown-core-call-100", 0x100),
        ("unknown-core-call-80000001", 0x8000_0001),
        ("unknown-core-call-ffffffff", u32::MAX),
    ] {
        check(
            name,
            Ok(result::UNSUPPORTED_CALL),
            core(call, u64::MAX, u64::MAX, u64::MAX),
        );
    }
}

fn query() {
    for (name, rcx, expected) in [
        ("query-core-1", 1, 1 << 32 | 1),
        ("query-core-0", 0, 0),
        ("query-core-2", 2, 0),
        ("query-core-ffffffff", 0xFFFF_FFFF, 0),
        ("query-unknown-protocol", 0x55 << 32 | 1, 0),
        ("query-all-ones", u64::MAX, 0),
    ] {
        let registers = Registers::new(protocol::CORE, core_call::QUERY_PROTOCOL, rcx, 0, 0);
        let got = raw(Path::Msr, registers).map(|r| (r.rax, r.rcx));
        check(name, Ok((result::SUCCESS, expected)), got);
    }
}

/// This SVSM takes no memory, whatever is offered, and has none to give back.
fn memory() {
    for (name, call, rcx) in [
        ("deposit-nothing", core_call::DEPOSIT_MEM, 0),
        (
            "deposit-list-in-svsm",
            core_call::DEPOSIT_MEM,
            guest::svsm_memory().0,
        ),
        ("deposit-all-ones", core_call::DEPOSIT_MEM, u64::MAX),
        (
            "withdraw-list-in-svsm",
            core_call::WITHDRAW_MEM,
            guest::svsm_memory().0,
        ),
        ("withdraw-all-ones", core_call::WITHDRAW_MEM, u64::MAX),
    ] {
        check(name, Ok(result::UNSUPPORTED_CALL), core(call, rcx, 0, 0));
    }
}

/// No virtual top of memory: setting one is refused, by one of the two codes that fit.
fn vtom() {
    for (name, rcx) in [
        ("vtom-set", 1 << 40 | 2),
        ("vtom-set-all-ones", u64::MAX),
        ("vtom-set-svsm", guest::svsm_memory().0),
    ] {
        let got = core(core_call::CONFIGURE_VTOM, rcx, 0, 0);
        let refused = matches!(
            got,
            Ok(result::INVALID_REQUEST | result::UNSUPPORTED_CALL | result::INVALID_PARAMETER)
        );
        check_that(name, refused, "a refusal", got);
    }
}

/// Levels that have no VMSA, and levels that do not exist.
fn other_levels() {
    for (name, vmpl) in [
        ("run-vmpl1", 1u64),
        ("run-vmpl3", 3),
        ("run-vmpl-4", 4),
        ("run-vmpl-255", 255),
    ] {
        let response = msr_protocol::call(vmpl << 32 | proto::RUN_VMPL_REQUEST);
        let refused = response & 0xFFF == proto::RUN_VMPL_RESPONSE && response >> 32 != 0;
        check_that(name, refused, "0x017 with an error in 63:32", response);
    }
}
