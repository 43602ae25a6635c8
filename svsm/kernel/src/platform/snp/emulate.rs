//! #VC of the SVSM's own code: CPUID from the firmware's page, ports and MSRs by asking the host.

use super::ghcb::{Event, RAX, RCX, RDX, current};
use crate::arch::traps::TrapFrame;
use crate::kernel;
use snp_abi::exit;
use svsm_core::vc::{MAX_LENGTH, Operation, decode};

/// Executes the instruction at RIP, if it is one that is expected, and goes behind it.
pub fn emulate(frame: &mut TrapFrame) -> Result<(), ()> {
    let mut code = [0; MAX_LENGTH];
    // Two reads, as the instruction may end the text.
    let word = crate::mm::try_read_own(frame.rip).ok_or(())?.to_le_bytes();
    code.copy_from_slice(&word[..MAX_LENGTH]);
    let instruction = decode(frame.error, &code).ok_or(())?;
    match instruction.operation {
        Operation::Cpuid => {
            let result = kernel::cpuid()
                .ok_or(())?
                .get(frame.rax as u32, frame.rcx as u32);
            frame.rax = result.eax as u64;
            frame.rbx = result.ebx as u64;
            frame.rcx = result.ecx as u64;
            frame.rdx = result.edx as u64;
        }
        Operation::Rdmsr => {
            let page = current().map_err(|_| ())?;
            Event::new(exit::MSR, 0, 0)
                .with(RCX, frame.rcx & 0xFFFF_FFFF)
                .issue(page)
                .map_err(|_| ())?;
            frame.rax = page.read(RAX) & 0xFFFF_FFFF;
            frame.rdx = page.read(RDX) & 0xFFFF_FFFF;
        }
        Operation::Wrmsr => Event::new(exit::MSR, 1, 0)
            .with(RCX, frame.rcx & 0xFFFF_FFFF)
            .with(RAX, frame.rax & 0xFFFF_FFFF)
            .with(RDX, frame.rdx & 0xFFFF_FFFF)
            .issue(current().map_err(|_| ())?)
            .map_err(|_| ())?,
        Operation::In { bytes, port } => {
            let page = current().map_err(|_| ())?;
            Event::new(exit::IOIO, info1(frame, bytes, port) | exit::ioio::IN, 0)
                .with(RAX, 0)
                .issue(page)
                .map_err(|_| ())?;
            frame.rax = match bytes {
                // A 32-bit result clears the upper half, smaller ones keep what is there.
                4 => page.read(RAX) & 0xFFFF_FFFF,
                _ => {
                    let mask = (1 << (8 * bytes)) - 1;
                    frame.rax & !mask | page.read(RAX) & mask
                }
            };
        }
        Operation::Out { bytes, port } => {
            let mask = (1 << (8 * bytes as u64)) - 1;
            Event::new(exit::IOIO, info1(frame, bytes, port), 0)
                .with(RAX, frame.rax & mask)
                .issue(current().map_err(|_| ())?)
                .map_err(|_| ())?;
        }
    }
    frame.rip += instruction.length;
    Ok(())
}

/// Port and size as exit information.
fn info1(frame: &TrapFrame, bytes: u8, port: Option<u8>) -> u64 {
    let port = port.map_or(frame.rdx & 0xFFFF, u64::from);
    let size = match bytes {
        1 => exit::ioio::SIZE_8,
        2 => exit::ioio::SIZE_16,
        _ => exit::ioio::SIZE_32,
    };
    port << exit::ioio::PORT_SHIFT | size | exit::ioio::ADDRESS_64
}
