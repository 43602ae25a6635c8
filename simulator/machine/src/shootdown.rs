//! Making other processors forget translations: QEMU drops its TLB at every VMRUN, so leaving the guest once is enough. Who
//! waits for whom is the protocol of [`snp_model::shootdown`]; here are the processors and the NMIs.

use crate::arch::time::Deadline;
use crate::arch::{cpu, lapic, percpu};
use snp_abi::Vmpl;
use snp_model::shootdown;

/// How long a processor may take to leave its guest.
const PATIENCE_MS: u64 = 10_000;
/// When an NMI that shows no effect is sent again: with a thread for each processor QEMU can lose one, because VMRUN
/// changes the set of pending interrupts without a lock.
const AGAIN_MS: u64 = 5;

/// Returns when every other processor that ran one of these VMPLs has left it since.
pub fn flush(vmpls: [bool; Vmpl::COUNT]) {
    if !vmpls.contains(&true) {
        return;
    }
    shootdown::publish();
    let this = percpu::this().index();
    let mut waiting = [None; percpu::MAX_CPUS];
    for other in percpu::all().filter(|other| other.index() != this) {
        waiting[other.index()] = other.presence().look(vmpls);
        if waiting[other.index()].is_some() {
            lapic::send_nmi(other.apic_id());
        }
    }
    let deadline = Deadline::after_ms(PATIENCE_MS);
    for other in percpu::all() {
        let Some(inside) = waiting[other.index()] else {
            continue;
        };
        let mut again = Deadline::after_ms(AGAIN_MS);
        while !inside.has_left(other.presence()) {
            assert!(
                !deadline.passed(),
                "processor {} does not leave its guest for a TLB shoot-down",
                other.index()
            );
            if again.passed() {
                lapic::send_nmi(other.apic_id());
                again = Deadline::after_ms(AGAIN_MS);
            }
            cpu::relax();
        }
    }
}
