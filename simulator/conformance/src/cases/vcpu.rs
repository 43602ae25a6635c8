//! vCPUs by the AP creation event (56421 §4.1.9): errors, start, stop, start again; memory and TLBs shared between
//! processors.

use crate::ram;
use boot_abi::layout;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guest_rt::context::Context;
use guest_rt::ghcb::GhcbError;
use guest_rt::need;
use guest_rt::report::{Fault, check, check_that, skip, vc};
use guest_rt::{exec, nae, paging, params, pool, smp, time, vmsa};
use snp_abi::LARGE_PAGE_SIZE;
use snp_abi::exit::{self, PAGE_NOT_VALIDATED};
use snp_abi::ghcb::malformed;

/// How many vCPUs the loader says there are.
pub fn count() -> u32 {
    let gpa = layout::GENERAL_PARAMS_GPA;
    match paging::ensure_identity(gpa, 8) {
        Ok(()) => exec::read(gpa).map_or(1, |word| word as u32),
        Err(_) => 1,
    }
}

/// Runs the group.
pub fn run() {
    errors();
    if count() < 2 {
        return skip("vcpu-start", "one vCPU");
    }
    start();
    running_vmsa();
    shoot_down();
    stop_and_restart();
    hold();
}

fn errors() {
    let features = params::sev_features().bits();
    let invalid = Err(GhcbError::Malformed(malformed::INVALID_INPUT));
    let page = pool::vmsa_page();
    let large = page.next_multiple_of(LARGE_PAGE_SIZE);
    use exit::{AP_CREATE, AP_CREATE_ON_INIT, AP_DESTROY};
    for (name, operation, apic_id, vmpl, vmsa, features) in [
        ("ap-unknown-apic-id", AP_CREATE, 0xFFFF, 0, page, features),
        (
            "ap-unknown-apic-id-on-init",
            AP_CREATE_ON_INIT,
            0x8000_0000,
            0,
            page,
            features,
        ),
        (
            "ap-destroy-unknown-apic-id",
            AP_DESTROY,
            0xFFFF,
            0,
            page,
            features,
        ),
        ("ap-vmsa-unaligned", AP_CREATE, 0, 1, page + 8, features),
        ("ap-vmsa-beyond-memory", AP_CREATE, 0, 1, 1 << 60, features),
        ("ap-vmsa-large-aligned", AP_CREATE, 0, 1, large, features),
        (
            "ap-features-differ",
            AP_CREATE,
            1,
            0,
            page,
            features ^ 1 << 9,
        ),
        ("ap-features-zero", AP_CREATE, 1, 0, page, 0),
        ("ap-operation-3", 3, 0, 1, page, features),
        ("ap-operation-ffff", 0xFFFF, 0, 1, page, features),
        ("ap-vmpl-4", AP_CREATE, 0, 4, page, features),
    ] {
        check(
            name,
            invalid,
            nae::ap_creation(operation, apic_id, vmpl, vmsa, features),
        );
    }
}

static REPORT: AtomicU64 = AtomicU64::new(0);
static COUNTER: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn report_apic_id(argument: u64) {
    let id = nae::cpuid(1, 0).map_or(0xFFFF, |leaf| leaf.ebx as u64 >> 24);
    REPORT.store(id << 32 | argument, Ordering::Release);
}

fn start() {
    for apic_id in 1..count() {
        let context = need!(
            "vcpu-start",
            smp::start(apic_id, report_apic_id, 0x1234 + apic_id as u64)
        );
        check(
            "vcpu-start",
            true,
            time::wait_until(5000, || context.finished()),
        );
        let expected = (apic_id as u64) << 32 | (0x1234 + apic_id as u64);
        check(
            "vcpu-apic-id-and-argument",
            expected,
            REPORT.load(Ordering::Acquire),
        );
    }
}

extern "C" fn count_up(_: u64) {
    while !STOP.load(Ordering::Relaxed) {
        COUNTER.fetch_add(1, Ordering::Relaxed);
        core::hint::spin_loop();
    }
}

/// A new VMSA for a vCPU that is halted: it starts anew with it.
fn begin(entry: guest_rt::vmsa::Entry) -> Result<&'static Context, smp::StartError> {
    STOP.store(false, Ordering::Release);
    COUNTER.store(0, Ordering::Release);
    smp::start(1, entry, 0)
}

fn finish(name: &str, context: &Context) {
    STOP.store(true, Ordering::Release);
    check(name, true, time::wait_until(5000, || context.finished()));
}

/// A store to a VMSA waits while its vCPU runs with it; the vCPU is not disturbed.
fn running_vmsa() {
    let context = need!("vmsa-in-use", begin(count_down_then_halt));
    let page = context.vmsa.load(Ordering::Relaxed);
    // A reserved part of the page, so that the store itself has no meaning.
    const RESERVED: usize = 0xE00;
    // SAFETY: nothing reads this part of the VMSA.
    unsafe { vmsa::write_field(page, RESERVED, 0x1234) };
    check(
        "vmsa-in-use-store-completes",
        0x1234,
        vmsa::read_field(page, RESERVED),
    );
    check(
        "vmsa-in-use-vcpu-undisturbed",
        true,
        time::wait_until(5000, || context.finished()),
    );
}

extern "C" fn count_down_then_halt(_: u64) {
    time::sleep_ms(50);
}

static SHOT: AtomicU64 = AtomicU64::new(0);
static TARGET: AtomicU64 = AtomicU64::new(0);

extern "C" fn read_until_fault(_: u64) {
    let page = TARGET.load(Ordering::Acquire);
    while !STOP.load(Ordering::Relaxed) {
        COUNTER.fetch_add(1, Ordering::Relaxed);
        if let Err(trap) = exec::read(page) {
            SHOT.store(Fault::from(trap).encode(), Ordering::Release);
            return;
        }
    }
}

/// One processor rescinds a page that another one is reading: the other's translations must go.
fn shoot_down() {
    let page = need!("shoot-down", ram::valid());
    TARGET.store(page, Ordering::Release);
    SHOT.store(0, Ordering::Release);
    let context = need!("shoot-down", begin(read_until_fault));
    let reading = time::wait_until(2000, || COUNTER.load(Ordering::Relaxed) > 1000);
    check("shoot-down-reading", true, reading);
    check(
        "shoot-down-rescind",
        Ok((0, false)),
        ram::pvalidate(page, 0, 0),
    );
    time::wait_until(2000, || SHOT.load(Ordering::Acquire) != 0);
    check(
        "shoot-down-other-vcpu-faults",
        Err(vc(PAGE_NOT_VALIDATED)),
        Fault::decode(SHOT.load(Ordering::Acquire)),
    );
    finish("shoot-down-finished", context);
}

fn stop_and_restart() {
    let context = need!("ap-destroy", begin(count_up));
    let counting = time::wait_until(2000, || COUNTER.load(Ordering::Relaxed) > 1000);
    check("ap-destroy-counting", true, counting);
    let page = context.vmsa.load(Ordering::Relaxed);
    let features = params::sev_features().bits();
    check(
        "ap-destroy",
        Ok(()),
        nae::ap_creation(exit::AP_DESTROY, 1, 0, page, features),
    );
    time::sleep_ms(100);
    let before = COUNTER.load(Ordering::Relaxed);
    time::sleep_ms(100);
    let after = COUNTER.load(Ordering::Relaxed);
    check_that(
        "ap-destroy-stops-it",
        before == after,
        "no more counting",
        after - before,
    );
    need!("ap-create-after-destroy", begin(count_up));
    let counting = time::wait_until(2000, || COUNTER.load(Ordering::Relaxed) > 1000);
    check("ap-create-after-destroy", true, counting);
    // A create for a vCPU that runs replaces its VMSA at once.
    REPORT.store(0, Ordering::Release);
    let second = need!("ap-create-replaces", smp::start(1, report_apic_id, 77));
    check(
        "ap-create-replaces",
        true,
        time::wait_until(5000, || second.finished()),
    );
    check(
        "ap-create-replaced-ran",
        1 << 32 | 77,
        REPORT.load(Ordering::Acquire),
    );
    let before = COUNTER.load(Ordering::Relaxed);
    time::sleep_ms(50);
    check(
        "ap-create-replaced-stopped",
        before,
        COUNTER.load(Ordering::Relaxed),
    );
}

extern "C" fn hold_in_hypervisor(_: u64) {
    COUNTER.store(1, Ordering::Release);
    let _ = nae::ap_reset_hold();
    COUNTER.store(2, Ordering::Release);
}

/// A vCPU that waits in the hypervisor, as Linux leaves one that it takes offline, starts with a new VMSA.
fn hold() {
    need!("ap-reset-hold", begin(hold_in_hypervisor));
    time::wait_until(1000, || COUNTER.load(Ordering::Acquire) == 1);
    time::sleep_ms(50);
    check("ap-reset-hold", 1, COUNTER.load(Ordering::Acquire));
    REPORT.store(0, Ordering::Release);
    let context = need!("ap-create-ends-hold", smp::start(1, report_apic_id, 78));
    check(
        "ap-create-ends-hold",
        true,
        time::wait_until(5000, || context.finished()),
    );
    check(
        "ap-create-ended-hold",
        1 << 32 | 78,
        REPORT.load(Ordering::Acquire),
    );
    check(
        "ap-reset-hold-not-resumed",
        1,
        COUNTER.load(Ordering::Acquire),
    );
}
