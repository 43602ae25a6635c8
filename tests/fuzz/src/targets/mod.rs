//! The parsers under test.

mod acpi;
mod calls;
mod guest;
mod host;
mod igvm;
mod machine;
mod processor;
mod service;

use crate::target::{Outcome, Target};

/// All of them.
pub const TARGETS: &[Target] = &[
    igvm::IGVM,
    host::BOOT_PARAMS,
    host::MADT,
    host::MEMORY_MAP,
    host::CPUID,
    host::ANSWERS,
    calls::CORE,
    calls::VTPM,
    calls::EXCHANGE,
    service::ELF,
    service::TABLE,
    acpi::FW_CFG,
    acpi::TABLES,
    guest::MEMORY,
    guest::KERNEL,
    guest::START_INFO,
    machine::GHCB,
    machine::GHCB_MSR,
    machine::PAGE_STATES,
    processor::DECODE,
    processor::WALK,
    processor::DELIVER,
];

/// A parser with a planted bug, to see that the fuzzer finds one. It must get past a number and a length, of
/// which neither is in an input to start from, and the optimizer makes one branch of both.
pub const CANARY: Target = Target::new("canary", 256, canary);

fn canary(input: &[u8]) -> Outcome {
    let parse = || -> Option<&[u8]> {
        let (header, body) = input.split_first_chunk::<8>()?;
        let number = u32::from_le_bytes(*header.first_chunk()?);
        let length = u16::from_le_bytes([header[4], header[5]]);
        if number != 0x4D41_4341 || usize::from(length) != body.len() || length < 4 {
            return None;
        }
        Some(body)
    };
    match parse() {
        // The bug: an index that the input gives.
        Some(body) => Outcome::new(true, body[usize::from(body[1])]),
        None => Outcome::new(false, 0),
    }
}

/// A page that starts with `input`.
fn page(input: &[u8]) -> [u8; 4096] {
    let mut page = [0; 4096];
    let length = input.len().min(page.len());
    page[..length].copy_from_slice(&input[..length]);
    page
}

/// Writes a little-endian number, as far as there is room.
fn put<const N: usize>(input: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(field) = input.get_mut(at..at + N) {
        field.copy_from_slice(&bytes);
    }
}

/// The 32-bit number at `at`; zero beyond the end.
fn u32_at(input: &[u8], at: usize) -> u32 {
    input
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The 64-bit number at `at`; zero beyond the end.
fn u64_at(input: &[u8], at: usize) -> u64 {
    input
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Makes the sum of all bytes zero by changing the one at `at`.
fn balance(bytes: &mut [u8], at: usize) {
    let sum = sum(bytes);
    if let Some(byte) = bytes.get_mut(at) {
        *byte = byte.wrapping_sub(sum);
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}
