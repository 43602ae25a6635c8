//! TPM2_Startup, which a platform's firmware owes its TPM (TPM 2.0 Part 1 §10.2.2): Linux takes a TPM that it has to start
//! itself for one whose firmware failed.

use crate::ram::Ram;
use crate::refusal::Refusal;
use guest_rt::println;
use guest_rt::svsm::{self, Registers};
use shim_core::placement::FOUR_GIB;
use shim_core::range::PAGE;
use svsm_abi::{TPM_SEND_COMMAND, protocol, result, vtpm_call};

/// TPM2_Startup(TPM_SU_CLEAR): tag, size, command code, type (Part 3 §9.3).
const STARTUP: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
/// Where a response has its code: after its size in the buffer, its tag and its own size.
const CODE: core::ops::Range<usize> = 10..14;
const SUCCESS: u32 = 0;
/// TPM_RC_INITIALIZE: it has been started before.
const STARTED: u32 = 0x100;

/// Starts the vTPM, if there is one. What goes wrong is said, and for Linux to deal with.
pub fn start(ram: &mut Ram) -> Result<(), Refusal> {
    let mut buffer = ram.take_high("vTPM buffer", PAGE, PAGE, FOUR_GIB)?;
    let header = (TPM_SEND_COMMAND.to_le_bytes().into_iter())
        .chain([0])
        .chain((STARTUP.len() as u32).to_le_bytes());
    for (to, byte) in buffer.bytes_mut().iter_mut().zip(header.chain(STARTUP)) {
        *to = byte;
    }
    let gpa = buffer.range().start;
    let mut call = Registers::new(protocol::VTPM, vtpm_call::CMD, gpa, 0, 0);
    match svsm::call_until_done(&mut call) {
        Ok(result::UNSUPPORTED_PROTOCOL) => println!("shim: no vTPM"),
        Ok(result::SUCCESS) => {
            let code = buffer.bytes_mut().get(CODE).unwrap_or_default();
            match code.try_into().map(u32::from_be_bytes) {
                Ok(SUCCESS | STARTED) => println!("shim: vTPM started"),
                other => println!("shim: the vTPM does not start: {other:x?}"),
            }
        }
        other => println!("shim: the vTPM does not answer: {other:x?}"),
    }
    ram.release(buffer);
    Ok(())
}
