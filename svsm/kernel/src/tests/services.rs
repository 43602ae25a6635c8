//! Ring-3 services, through the way that a guest's calls go: the vTPM under its protocol, and services that misbehave on
//! request under protocols of their own, if the image has them.

use super::guest::{page, raw_pages};
use super::{Outcome, Stop, check, check_eq, fail, skip, smp, subject};
use crate::arch::{cpu, inspect};
use crate::clock;
use crate::mm;
use crate::service;
use core::sync::atomic::{AtomicU64, Ordering};
use snp_abi::PAGE_SIZE;
use svsm_abi::{protocol, result, vtpm_call};
use svsm_core::request::Registers;

/// Protocols of the services that misbehave.
const SURVIVES: u32 = 5;
const FAULTS: u32 = 6;
const LOOPS: u32 = 7;
const GIVES_UP: u32 = 8;

/// Their misdeeds, by number (`svsm/services/broken/src/cases.rs`).
const ECHO: u32 = 0;
const READ: u32 = 1;
const FAIL: u32 = 30;
const LOOP: u32 = 33;
const YIELD: u32 = 34;

/// The longest that a slice may take, and a request of the vTPM's.
const SLICE_LIMIT_MS: u64 = 500;
const REQUEST_LIMIT_MS: u64 = 60_000;

fn has(protocol: u32) -> Outcome {
    if !subject()?.kernel.services.served().has(protocol) {
        skip!("the image has no such service");
    }
    Ok(())
}

/// A call of a service's protocol.
fn call(protocol: u32, number: u32, rcx: u64) -> Result<Registers, Stop> {
    let mut registers = Registers {
        rax: svsm_abi::call_id(protocol, number),
        rcx,
        rdx: 0x77,
        r8: 0x88,
    };
    service::vtpm_call(subject()?.kernel, &mut registers);
    Ok(registers)
}

/// Writes a request to guest memory: header and message.
fn write(gpa: u64, message: &[u8]) -> Outcome {
    let mut header = [0; 9];
    header[0] = 8;
    header[5..].copy_from_slice(&(message.len() as u32).to_le_bytes());
    check_eq!(mm::write_guest(gpa, &header), Ok(()));
    check_eq!(mm::write_guest(gpa + 9, message), Ok(()));
    Ok(())
}

/// A response.
struct Response {
    bytes: [u8; 512],
    length: usize,
    slices: u32,
}

impl Response {
    fn get(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// A TPM's response code.
    fn code(&self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.get().get(6..)?.first_chunk()?))
    }
}

/// Sends a request from guest memory at `gpa` until there is a response, or the code that there will be none.
fn send(protocol: u32, gpa: u64, message: &[u8]) -> Result<Result<Response, u64>, Stop> {
    write(gpa, message)?;
    let begun = clock::milliseconds();
    let mut slices = 0;
    while clock::milliseconds() - begun < REQUEST_LIMIT_MS {
        slices += 1;
        match call(protocol, vtpm_call::CMD, gpa)?.rax {
            result::SUCCESS => {
                let mut size = [0; 4];
                check_eq!(mm::read_guest(gpa, &mut size), Ok(()));
                let length = (u32::from_le_bytes(size) as usize).min(512);
                let mut bytes = [0; 512];
                check_eq!(mm::read_guest(gpa + 4, &mut bytes[..length]), Ok(()));
                return Ok(Ok(Response {
                    bytes,
                    length,
                    slices,
                }));
            }
            result::INCOMPLETE | result::BUSY => {}
            code => return Ok(Err(code)),
        }
    }
    fail!("no response after {slices} calls");
}

/// A TPM command without sessions, and what comes back.
fn tpm(code: u32, parameters: &[u8]) -> Result<Response, Stop> {
    has(protocol::VTPM)?;
    let mut command = [0; 64];
    let length = 10 + parameters.len();
    command[..2].copy_from_slice(&0x8001u16.to_be_bytes());
    command[2..6].copy_from_slice(&(length as u32).to_be_bytes());
    command[6..10].copy_from_slice(&code.to_be_bytes());
    command[10..length].copy_from_slice(parameters);
    match send(protocol::VTPM, page()?, &command[..length])? {
        Ok(response) => {
            let size = response.get().get(2..).and_then(|rest| rest.first_chunk());
            check_eq!(
                size.map(|size| u32::from_be_bytes(*size)),
                Some(response.length as u32),
                "size in the response"
            );
            Ok(response)
        }
        Err(code) => {
            fail!("the call ended with {code:#x}");
        }
    }
}

/// A request for a misdeed.
fn misdeed(number: u32, argument: u64) -> [u8; 16] {
    let mut message = *b"BAD!\0\0\0\0\0\0\0\0\0\0\0\0";
    message[4..8].copy_from_slice(&number.to_le_bytes());
    message[8..].copy_from_slice(&argument.to_le_bytes());
    message
}

/// The value of an answer to one.
fn value(response: &Response) -> Option<u64> {
    Some(u64::from_le_bytes(*response.get().get(8..)?.first_chunk()?))
}

/// Where the request is that does not end.
static LOOPING: AtomicU64 = AtomicU64::new(0);

/// TPM2_GetRandom, TPM2_GetCapability, TPM2_SelfTest, TPM2_Startup, TPM2_PCR_Read.
const GET_RANDOM: u32 = 0x17B;
const GET_CAPABILITY: u32 = 0x17A;
const STARTUP: u32 = 0x144;
const SELF_TEST: u32 = 0x143;
const PCR_READ: u32 = 0x17E;

#[svsm_test_macro::svsm_tests(services)]
pub mod suite {
    use super::*;

    #[svsm_test]
    fn protocols_are_those_of_the_image() {
        let subject = subject()?;
        let area = mm::parameters(
            subject.params.services.base.get(),
            subject.params.services.size.get(),
        );
        let Ok(entries) = svsm_core::service::table::parse(area.unwrap_or_default()) else {
            fail!("the table cannot be read")
        };
        for number in 0..64 {
            let listed = entries.iter().any(|entry| entry.protocol == number);
            check_eq!(
                subject.kernel.services.served().has(number),
                listed,
                "protocol {number}"
            );
        }
    }

    #[svsm_test]
    fn what_is_not_there_is_not_called() {
        for protocol in [1, 3, 9, 31, 32, 0x8000_0000] {
            check_eq!(
                call(protocol, vtpm_call::CMD, 0)?.rax,
                result::UNSUPPORTED_PROTOCOL,
                "{protocol}"
            );
            check_eq!(
                call(protocol, vtpm_call::QUERY, 0)?.rax,
                result::UNSUPPORTED_PROTOCOL,
                "{protocol}"
            );
        }
    }

    #[svsm_test]
    fn the_vtpm_tells_its_platform_commands() {
        has(protocol::VTPM)?;
        let answer = call(protocol::VTPM, vtpm_call::QUERY, 0)?;
        check_eq!(
            (answer.rax, answer.rcx, answer.rdx),
            (result::SUCCESS, 1 << 8, 0)
        );
        check_eq!(answer.r8, 0x88);
    }

    #[svsm_test]
    fn unknown_calls_of_the_vtpm_are_refused() {
        has(protocol::VTPM)?;
        for number in [2, 3, 0x8000_0000, u32::MAX] {
            check_eq!(
                call(protocol::VTPM, number, 0)?.rax,
                result::UNSUPPORTED_CALL,
                "{number}"
            );
        }
    }

    #[svsm_test]
    fn the_vtpm_waits_for_its_startup_and_takes_one() {
        // TPM_RC_INITIALIZE before and after; TPM_SU_CLEAR.
        check_eq!(tpm(GET_RANDOM, &[0, 16])?.code(), Some(0x100));
        check_eq!(tpm(STARTUP, &[0, 0])?.code(), Some(0));
        check_eq!(tpm(STARTUP, &[0, 0])?.code(), Some(0x100));
    }

    #[svsm_test]
    fn the_vtpm_gives_random_bytes() {
        let one = tpm(GET_RANDOM, &[0, 16])?;
        let other = tpm(GET_RANDOM, &[0, 16])?;
        check_eq!((one.code(), other.code()), (Some(0), Some(0)));
        check_eq!((one.length, other.length), (28, 28));
        check!(one.get()[12..] != other.get()[12..], "the same twice");
    }

    #[svsm_test]
    fn the_vtpm_tests_itself() {
        check_eq!(tpm(SELF_TEST, &[1])?.code(), Some(0));
    }

    #[svsm_test]
    fn the_vtpm_tells_its_family() {
        // TPM_CAP_TPM_PROPERTIES, TPM_PT_FAMILY_INDICATOR, one.
        let answer = tpm(GET_CAPABILITY, &[0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0, 1])?;
        check_eq!(answer.code(), Some(0));
        check!(answer.get().ends_with(b"2.0\0"), "{:x?}", answer.get());
    }

    #[svsm_test]
    fn the_vtpm_has_pcrs() {
        // One selection: SHA-256, PCR 0 of 24; all zero, as nothing was measured yet.
        let answer = tpm(PCR_READ, &[0, 0, 0, 1, 0, 0xB, 3, 1, 0, 0])?;
        check_eq!(answer.code(), Some(0));
        check!(answer.get().ends_with(&[0; 32]), "{:x?}", answer.get());
    }

    #[svsm_test]
    fn what_the_vtpm_does_not_know_it_says_itself() {
        // TPM_RC_COMMAND_CODE.
        check_eq!(tpm(0x999, &[])?.code(), Some(0x143));
    }

    #[svsm_test]
    fn requests_with_bad_headers_are_refused() {
        has(protocol::VTPM)?;
        let gpa = page()?;
        for (command, locality, size) in [
            (0, 0, 12),
            (9, 0, 12),
            (8, 1, 12),
            (8, 4, 12),
            (8, 0, 9),
            (8, 0, 0),
            (8, 0, 4088),
            (8, 0, u32::MAX),
        ] {
            let mut header = [0; 9];
            header[..4].copy_from_slice(&u32::to_le_bytes(command));
            header[4] = locality;
            header[5..].copy_from_slice(&size.to_le_bytes());
            check_eq!(mm::write_guest(gpa, &header), Ok(()));
            let rax = call(protocol::VTPM, vtpm_call::CMD, gpa)?.rax;
            check_eq!(
                rax,
                result::INVALID_PARAMETER,
                "{command} {locality} {size}"
            );
        }
    }

    #[svsm_test]
    fn buffers_that_are_not_the_guests_are_refused() {
        has(protocol::VTPM)?;
        for gpa in [
            mm::base(),
            raw_pages(1)?,
            page()? + PAGE_SIZE * 0x10_0000,
            u64::MAX,
            1 << 52,
        ] {
            let rax = call(protocol::VTPM, vtpm_call::CMD, gpa)?.rax;
            check_eq!(rax, result::INVALID_ADDRESS, "{gpa:#x}");
        }
    }

    #[svsm_test]
    fn all_cpus_ask_at_the_same_time() {
        has(protocol::VTPM)?;
        static PAGES: [AtomicU64; smp::MAX] = [const { AtomicU64::new(0) }; smp::MAX];
        for index in smp::everyone() {
            PAGES[index].store(page()?, Ordering::SeqCst);
        }
        let served = smp::on_all(|index| {
            let command = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8];
            let mut good = 0;
            for _ in 0..5 {
                let answer = send(
                    protocol::VTPM,
                    PAGES[index].load(Ordering::SeqCst),
                    &command,
                );
                if let Ok(Ok(answer)) = answer
                    && answer.code() == Some(0)
                {
                    good += 1;
                }
            }
            good
        })?;
        for (index, good) in smp::each(&served) {
            check_eq!(good, 5, "answers on vCPU {index}");
        }
    }

    #[svsm_test]
    fn the_kernel_is_as_before_after_a_service_ran() {
        has(protocol::VTPM)?;
        let state = || {
            (
                cpu::control_registers().cr3,
                inspect::selectors(),
                inspect::flags_and_stack().0 & !0x8D5,
            )
        };
        let gs = || cpu::rdmsr(snp_abi::msr::GS_BASE);
        let (before, gs_before) = (state(), gs());
        check_eq!(tpm(GET_RANDOM, &[0, 4])?.code(), Some(0));
        check_eq!(state(), before);
        check_eq!(gs(), gs_before);
    }

    #[svsm_test]
    fn nothing_is_allocated_for_a_request() {
        let gpa = page()?;
        has(protocol::VTPM)?;
        let before = mm::free_kib();
        let command = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8];
        check!(send(protocol::VTPM, gpa, &command)?.is_ok());
        check_eq!(mm::free_kib(), before);
    }

    #[svsm_test]
    fn a_service_answers_what_it_is_asked() {
        has(SURVIVES)?;
        let gpa = page()?;
        for argument in [0, 1, 0x0123_4567_89AB_CDEF, u64::MAX] {
            let Ok(answer) = send(SURVIVES, gpa, &misdeed(ECHO, argument))? else {
                fail!("refused")
            };
            check_eq!(value(&answer), Some(argument));
        }
    }

    #[svsm_test]
    fn a_service_that_yields_goes_on() {
        has(SURVIVES)?;
        let Ok(answer) = send(SURVIVES, page()?, &misdeed(YIELD, 10))? else {
            fail!("refused")
        };
        check!(answer.slices >= 10, "{} slices", answer.slices);
    }

    #[svsm_test]
    fn a_service_is_interrupted_when_its_slice_is_over() {
        has(LOOPS)?;
        let gpa = page()?;
        LOOPING.store(gpa, Ordering::SeqCst);
        write(gpa, &misdeed(LOOP, 0))?;
        for slice in 0..10 {
            let begun = clock::milliseconds();
            check_eq!(
                call(LOOPS, vtpm_call::CMD, gpa)?.rax,
                result::INCOMPLETE,
                "slice {slice}"
            );
            let took = clock::milliseconds() - begun;
            check!(took < SLICE_LIMIT_MS, "slice {slice} took {took} ms");
        }
    }

    #[svsm_test]
    fn a_service_that_does_not_end_is_ended() {
        has(LOOPS)?;
        let ended = send(LOOPS, LOOPING.load(Ordering::SeqCst), &misdeed(LOOP, 0))?;
        check_eq!(ended.err(), Some(result::UNSUPPORTED_PROTOCOL));
        check!(!subject()?.kernel.services.served().has(LOOPS));
        check_eq!(
            call(LOOPS, vtpm_call::QUERY, 0)?.rax,
            result::UNSUPPORTED_PROTOCOL
        );
    }

    #[svsm_test]
    fn a_service_that_faults_is_ended_and_the_kernel_goes_on() {
        has(FAULTS)?;
        let gpa = page()?;
        let kernel = cpu::control_registers().cr3;
        let ended = send(
            FAULTS,
            gpa,
            &misdeed(READ, boot_abi::layout::KERNEL_VIRTUAL_BASE),
        )?;
        check_eq!(ended.err(), Some(result::UNSUPPORTED_PROTOCOL));
        check_eq!(cpu::control_registers().cr3, kernel);
        check!(!subject()?.kernel.services.served().has(FAULTS));
        let mut rest = [0; 9];
        check_eq!(
            mm::read_guest(gpa, &mut rest),
            Ok(()),
            "the request is still the guest's"
        );
    }

    #[svsm_test]
    fn a_service_that_gives_up_is_ended() {
        has(GIVES_UP)?;
        let ended = send(GIVES_UP, page()?, &misdeed(FAIL, 0x0BAD))?;
        check_eq!(ended.err(), Some(result::UNSUPPORTED_PROTOCOL));
        check!(!subject()?.kernel.services.served().has(GIVES_UP));
    }

    #[svsm_test]
    fn one_service_s_end_is_no_other_s() {
        has(SURVIVES)?;
        let Ok(answer) = send(SURVIVES, page()?, &misdeed(ECHO, 42))? else {
            fail!("refused")
        };
        check_eq!(value(&answer), Some(42));
    }

    #[svsm_test]
    fn a_service_runs_on_any_cpu() {
        has(SURVIVES)?;
        static GPA: AtomicU64 = AtomicU64::new(0);
        GPA.store(page()?, Ordering::SeqCst);
        for index in smp::some_others()? {
            let told = smp::on(index, |index| {
                let request = misdeed(ECHO, 1000 + index as u64);
                let answer = send(SURVIVES, GPA.load(Ordering::SeqCst), &request);
                answer
                    .ok()
                    .and_then(|answer| value(&answer.ok()?))
                    .unwrap_or(0)
            })?;
            check_eq!(told, 1000 + index as u64);
        }
    }
}
