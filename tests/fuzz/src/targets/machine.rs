//! What the guest asks of the simulator: GHCB pages, the MSR protocol, page state change lists.

use core::mem::offset_of;

use snp_abi::ghcb::{Ghcb, PscHeader, SHARED_BUFFER_OFFSET, SHARED_BUFFER_SIZE, valid_bit};
use snp_abi::{PAGE_SIZE, Vmpl};
use snp_model::ghcb::{Event, Reply, Scratch, parse};
use snp_model::ghcb_msr::{self, CpuidRegister, Request};
use snp_model::psc::{self, Change, Operation, Stop};
use svsm_core::host_answer;
use zerocopy::{FromBytes, IntoBytes};

use super::{page, u64_at};
use crate::target::{Outcome, Target};

/// Where the page is.
const GPA: u64 = 0x80_9000;

pub const GHCB: Target = Target {
    words: &[
        &[0x00, 0x98, 0x80, 0, 0, 0, 0, 0],
        &[0x01, 0, 0, 0x80],
        &[0x02, 0, 0, 0x80],
        &[0x10, 0, 0, 0x80],
        &[0x11, 0, 0, 0x80],
        &[0x12, 0, 0, 0x80],
        &[0x13, 0, 0, 0x80],
        &[0x17, 0, 0, 0x80],
        &[0x18, 0, 0, 0x80],
        &[0xFE, 0xFF, 0, 0x80],
        &[0x7B, 0, 0, 0],
        &[0x7C, 0, 0, 0],
        &[0x72, 0, 0, 0],
        &[0x81, 0, 0, 0],
        &[0x15, 0, 0, 0, 0xF8, 0x03],
    ],
    mend: Some(|input| {
        input.resize(input.len().max(offset_of!(Ghcb, x87_state_gpa)), 0);
        let valid = offset_of!(Ghcb, valid_bitmap);
        for field in [
            offset_of!(Ghcb, sw_exit_code),
            offset_of!(Ghcb, sw_exit_info_1),
            offset_of!(Ghcb, sw_exit_info_2),
        ] {
            let bit = valid_bit(field);
            input[valid + bit / 8] |= 1 << (bit % 8);
        }
    }),
    ..Target::new("ghcb", 0x400, run_ghcb)
};

/// The fields of the save area, and what was marked valid; the shared buffer and what follows are zero.
fn run_ghcb(input: &[u8]) -> Outcome {
    let page = page(input);
    let ghcb = Ghcb::ref_from_bytes(&page).unwrap();
    assert!(parse(ghcb, GPA, None).is_err() && parse(ghcb, GPA, Some(0)).is_err());
    let result = parse(ghcb, GPA, Some(GPA));
    let end = SHARED_BUFFER_OFFSET + SHARED_BUFFER_SIZE as u64;
    let in_buffer = |scratch: Scratch, needed: u64| {
        let (offset, available) = (u64::from(scratch.offset), u64::from(scratch.available));
        assert!(offset >= SHARED_BUFFER_OFFSET && offset + available == end && needed <= available);
    };
    let reply = match &result {
        Ok(request) => {
            assert_eq!(request.exit_code, ghcb.sw_exit_code.get());
            match request.event {
                Event::Io(io) => {
                    assert!(matches!(io.size, 1 | 2 | 4));
                    if let Some((scratch, count)) = io.string {
                        in_buffer(scratch, u64::from(count) * u64::from(io.size));
                    } else if !io.input {
                        assert_eq!(io.rax.checked_shr(8 * u32::from(io.size)).unwrap_or(0), 0);
                    }
                }
                Event::MmioRead { size, scratch, .. } | Event::MmioWrite { size, scratch, .. } => {
                    assert!(size <= 8);
                    in_buffer(scratch, size.into());
                }
                Event::PageStateChange { scratch } => in_buffer(scratch, 8),
                Event::GuestRequest { request, response }
                | Event::ExtGuestRequest {
                    request, response, ..
                } => assert!((request | response) % PAGE_SIZE == 0 && request != response),
                _ => {}
            }
            Reply::value64(request.info_1)
        }
        Err(malformed) => {
            assert!((1..=6).contains(&malformed.code()));
            Reply::malformed(*malformed)
        }
    };
    // The reply marks as valid what it writes, and nothing else.
    let mut after = page;
    for write in reply.writes() {
        let at = usize::from(write.offset);
        assert!(at.is_multiple_of(8) && at + 8 <= offset_of!(Ghcb, shared_buffer));
        after[at..at + 8].copy_from_slice(&write.value.to_le_bytes());
    }
    let after = Ghcb::ref_from_bytes(&after).unwrap();
    let marked: u32 = after
        .valid_bitmap
        .iter()
        .map(|byte| byte.count_ones())
        .sum();
    assert_eq!(marked as usize, reply.writes().count() - 2);
    Outcome::of(&result)
}

pub const GHCB_MSR: Target = Target {
    words: &[&[0x04], &[0x12], &[0x14], &[0x16], &[0x80], &[0, 1]],
    ..Target::new("ghcb-msr", 16, run_msr)
};

/// A request of the MSR protocol; the SVSM must understand the machine's answer.
fn run_msr(input: &[u8]) -> Outcome {
    let (value, other) = (u64_at(input, 0), u64_at(input, 8));
    let request = ghcb_msr::decode(value);
    let error = other as u32;
    match request {
        Request::GhcbPage { gpa } => assert!(gpa == value && gpa % PAGE_SIZE == 0),
        Request::Cpuid { leaf, register } => {
            assert_eq!(leaf, (value >> 32) as u32);
            assert!(
                (register as u64) == value >> 30 & 3 && register as u8 <= CpuidRegister::Edx as u8
            );
        }
        Request::RegisterGpa { gpa } => {
            let accepted = ghcb_msr::register_gpa_response(Some(gpa));
            assert_eq!(host_answer::registration(accepted, gpa), Ok(()));
            let refused = ghcb_msr::register_gpa_response(None);
            assert_eq!(
                host_answer::registration(refused, gpa).is_ok(),
                gpa >> 12 == u64::MAX >> 12
            );
        }
        Request::PageStateChange { gpa, operation } => {
            assert!(gpa % PAGE_SIZE == 0 && gpa < 1 << 52 && operation < 16);
            let answer = ghcb_msr::psc_response(error);
            assert_eq!(host_answer::page_state(answer, gpa).is_ok(), error == 0);
        }
        Request::RunVmpl { vmpl, asked } => {
            assert_eq!(vmpl, Vmpl::new(asked));
            let answer = ghcb_msr::run_vmpl_response(error);
            assert_eq!(
                host_answer::run_vmpl(answer, asked.into()).is_ok(),
                error == 0
            );
        }
        Request::HvFeatures => {
            let features = other >> 12;
            let answer = ghcb_msr::hv_features_response(features);
            assert_eq!(
                host_answer::features(answer).is_ok(),
                features & 0x23 == 0x23
            );
        }
        Request::Terminate { set, reason } => {
            assert!(set < 16 && !ghcb_msr::termination_meaning(set, reason).is_empty());
        }
        Request::Unknown { value: unknown } => assert_eq!(unknown, value),
        Request::SevInfo | Request::ApResetHold | Request::PreferredGpa => {}
    }
    let known = !matches!(request, Request::Unknown { .. });
    Outcome::new(known, format!("{request:?}"))
}

pub const PAGE_STATES: Target = Target {
    words: &[
        &[0, 0, 0x20, 0, 0, 0, 0x10, 0],
        &[0, 0, 0x20, 0, 0, 0, 0x10, 1],
        &[0, 0, 0x20, 0, 0, 0, 0x20, 1],
    ],
    ..Target::new("page-states", 8 + 24 * 8, run_page_states)
};

/// A list of page state changes, once in one go and once with interruptions: the same pages in the same order, and the
/// list is at its end.
fn run_page_states(input: &[u8]) -> Outcome {
    let walk = |every: usize| {
        let (mut list, mut changes, mut calls) = (input.to_vec(), Vec::new(), 0);
        loop {
            let (before, mut stopped) = (changes.len(), false);
            let code = psc::run(&mut list, |change: Change| {
                calls += 1;
                if every != 0 && calls % every == 0 {
                    stopped = true;
                    return Err(Stop::Later);
                }
                assert!(change.gpa.is_multiple_of(change.size.bytes()) && change.gpa < 1 << 52);
                let pages = (0..change.size.pages()).map(|page| change.gpa + page * PAGE_SIZE);
                changes.extend(pages.map(|gpa| (gpa, change.operation == Operation::Private)));
                Ok(())
            });
            if code != 0 || !stopped {
                return (code, list, changes);
            }
            assert!(changes.len() > before || calls % every == 0);
        }
    };
    let whole = walk(0);
    assert_eq!(walk(2), whole);
    assert_eq!(walk(5), whole);
    let (code, list, changes) = whole;
    if code == 0
        && let Ok((header, _)) = PscHeader::ref_from_prefix(&list)
    {
        assert!(header.cur_entry.get() > header.end_entry.get());
    }
    // A generic failure is no malformed list: it stays where it was.
    let mut list = input.to_vec();
    if psc::run(&mut list, |_| Err(Stop::Failed)) == psc::ERROR_GENERIC {
        assert!(list.as_bytes()[2..4] == input[2..4]);
    }
    Outcome::new(code == 0, (code, changes.len(), changes.last().copied()))
}
