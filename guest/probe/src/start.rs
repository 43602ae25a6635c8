//! A second vCPU that runs: it calls the SVSM itself, is started anew, stopped, and deleted.

use crate::guest::{self, peek};
use crate::vcpu::delete;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_rt::report::{check, fail};
use guest_rt::{nae, need, smp, svsm, time};
use snp_abi::exit;
use svsm_abi::result;

const OK: u64 = result::SUCCESS;

static RAN: AtomicU64 = AtomicU64::new(0);

/// On the new vCPU: a call of its own through its own calling area.
extern "C" fn answer(argument: u64) {
    let registers = svsm::Registers::new(0, svsm_abi::core_call::QUERY_PROTOCOL, 1, 0, 0);
    let rcx = guest::raw(svsm::Path::Nae, registers).map_or(0, |r| r.rcx);
    RAN.store(argument | rcx << 8, Ordering::Release);
}

extern "C" fn count_up(_: u64) {
    loop {
        RAN.fetch_add(1, Ordering::Relaxed);
        core::hint::spin_loop();
    }
}

/// Started, calling the SVSM, stopped, deleted, and started anew, as Linux takes a processor off and on.
pub fn run(apic_id: u32) {
    let first = need!("vcpu-start", smp::start(apic_id, answer, 0x55));
    check(
        "vcpu-start",
        true,
        time::wait_until(5000, || first.finished()),
    );
    let both_versions = (1 << 32 | 1) << 8 | 0x55;
    check(
        "vcpu-start-calls-svsm",
        both_versions,
        RAN.load(Ordering::Acquire),
    );
    let old = first.vmsa.load(Ordering::Relaxed);
    RAN.store(0, Ordering::Release);
    let second = need!("vcpu-again", smp::start(apic_id, answer, 0x66));
    check(
        "vcpu-again",
        true,
        time::wait_until(5000, || second.finished()),
    );
    check(
        "vcpu-again-calls-svsm",
        (1 << 32 | 1) << 8 | 0x66,
        RAN.load(Ordering::Acquire),
    );
    check("vcpu-delete-previous", Ok(OK), delete(old));
    // A running vCPU: first the hypervisor stops it, then its VMSA is deleted.
    RAN.store(0, Ordering::Release);
    let third = need!("vcpu-stop", smp::start(apic_id, count_up, 0));
    check(
        "vcpu-delete-second",
        Ok(OK),
        delete(second.vmsa.load(Ordering::Relaxed)),
    );
    let counting = time::wait_until(2000, || RAN.load(Ordering::Relaxed) > 1000);
    check("vcpu-counting", true, counting);
    let page = third.vmsa.load(Ordering::Relaxed);
    check(
        "vcpu-stop",
        Ok(()),
        nae::ap_creation(exit::AP_DESTROY, apic_id, 2, page, 0),
    );
    check("vcpu-delete-stopped", Ok(OK), delete(page));
    let before = RAN.load(Ordering::Relaxed);
    time::sleep_ms(50);
    check("vcpu-stopped", before, RAN.load(Ordering::Relaxed));
    if peek(page) == u64::MAX {
        fail("vcpu-deleted-page-readable", "memory", "a fault");
    }
}
