//! Failures on purpose, one a boot, chosen by the image: each must end in a report with the right words. `cases/provoked.txt`
//! has what is expected, for who started the boot.

use super::smp;
use crate::arch::inspect::{self, Failure};
use crate::arch::percpu::this_cpu;
use crate::console::log;
use crate::mm;
use crate::platform::platform;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};

/// In the image's data.
static DATA: AtomicU64 = AtomicU64::new(0xC3C3_C3C3_C3C3_C3C3);
/// In its constants.
static CONSTANT: [u64; 2] = [0xC3C3_C3C3_C3C3_C3C3; 2];

/// Not an address.
const NOWHERE: u64 = 1 << 63;

/// Fails as the test case of this name does.
pub fn run(name: &str) {
    log!("test case: {name}");
    match name {
        "divide" => inspect::fail(Failure::Divide),
        "breakpoint" => inspect::fail(Failure::Breakpoint),
        "invalid-opcode" => inspect::fail(Failure::InvalidOpcode),
        "general-protection" => inspect::fail(Failure::GeneralProtection),
        "stack-segment" => inspect::fail(Failure::StackSegment),
        "nmi" => inspect::fail(Failure::Nmi),
        "nmi-apic" => nmi(),
        "machine-check" => inspect::fail(Failure::MachineCheck),
        "null-read" => inspect::fail(Failure::Read(0)),
        "text-write" => inspect::fail(Failure::Write(run as *const () as u64)),
        "constant-write" => inspect::fail(Failure::Write(&raw const CONSTANT as u64)),
        "data-execute" => inspect::fail(Failure::Call(&raw const DATA as u64)),
        "stack-execute" => inspect::fail(Failure::Call(inspect::flags_and_stack().1 - 64)),
        "guest-execute" => inspect::fail(Failure::Call(super::tables::GUEST_RAM + 0x20_0000)),
        "null-call" => inspect::fail(Failure::Call(0)),
        "guard-read" => inspect::fail(Failure::Read(mm::image_parts()[2] + 8)),
        "stack-overflow" => drop(black_box(descend(0))),
        "stack-overflow-ap" => on_an_ap(|_| descend(0)),
        "bad-stack" => inspect::fail(Failure::Push(NOWHERE)),
        "panic" => outer(black_box(3)),
        "panic-ap" => on_an_ap(|index| {
            outer(index as u64);
            0
        }),
        "panic-while-others-print" => while_others_print(),
        "panic-on-all" => on_all(),
        "panic-in-panic" => panic!("first: {}", Panics),
        "fault-in-panic" => panic!("first: {}", Faults),
        "index" => drop(black_box(CONSTANT[black_box(2)])),
        "guard-push-ap" => on_an_ap(|_| {
            inspect::fail(Failure::Push(mm::image_parts()[2] + 16));
            0
        }),
        "smashed-return" => smashed_return(),
        _ => log!("test case: there is none of this name"),
    }
    log!("test case: {name} did not end the SVSM");
}

/// Functions that call each other, for the backtrace.
#[inline(never)]
fn outer(depth: u64) {
    middle(black_box(depth));
    black_box(());
}

#[inline(never)]
fn middle(depth: u64) {
    inner(black_box(depth));
    black_box(());
}

#[inline(never)]
fn inner(depth: u64) {
    assert!(black_box(depth) > 100, "provoked, {depth}");
    black_box(());
}

/// Recursion without end.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    if depth == u64::MAX {
        return depth;
    }
    let room = black_box([depth; 32]);
    descend(depth + 1) + room[(depth & 31) as usize]
}

/// On the first AP; the boot CPU waits for an end that does not come.
fn on_an_ap(job: smp::Job) {
    match smp::others().next() {
        Some(index) => drop(smp::on(index, job)),
        None => log!("test case: there is only one CPU"),
    }
}

/// By the local APIC, from this CPU to itself.
fn nmi() {
    let apic_id = super::subject().map_or(0, |subject| subject.kernel.vcpus[0].apic_id());
    if let Err(error) = platform().send_nmi(apic_id) {
        log!("test case: {error}");
    }
    crate::clock::wait_us(100_000);
}

/// One CPU panics; what the others say ends with its report.
fn while_others_print() {
    static PRINTED: AtomicU64 = AtomicU64::new(0);
    for index in smp::others() {
        let _ = smp::give(index, |index| {
            loop {
                log!(
                    "vCPU {index} goes on, {}",
                    PRINTED.fetch_add(1, Ordering::Relaxed)
                );
            }
        });
    }
    smp::wait(|| PRINTED.load(Ordering::Relaxed) > 20);
    outer(this_cpu().index.get() as u64);
}

/// All CPUs panic at once; one of them reports it.
fn on_all() {
    for index in smp::others() {
        let _ = smp::give(index, |index| {
            outer(index as u64);
            0
        });
    }
    outer(this_cpu().index.get() as u64);
}

/// What fails while a report is made of it.
struct Panics;
struct Faults;

impl core::fmt::Display for Panics {
    fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        panic!("second")
    }
}

impl core::fmt::Display for Faults {
    fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        inspect::fail(Failure::InvalidOpcode);
        Ok(())
    }
}

/// A return address is overwritten: caught by shadow stacks only.
fn smashed_return() {
    crate::arch::cpu::smash_return_address();
    log!("test case: the return went astray; the processor has no shadow stacks, or they are off");
}
