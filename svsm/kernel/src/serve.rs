//! What every vCPU does for good: let the guest run, see what it wants, answer (58019 §5).
//!
//! While the SVSM runs on a vCPU, the guest's VMSA there has EFER.SVME clear, so that the host cannot run the guest at
//! the same time. VMSA and registration are used under the call lock only, because another vCPU may delete them.

use crate::kernel::{KERNEL, Kernel};
use crate::platform::platform;
use crate::service;
use crate::{console::log, fatal::fatal};
use svsm_abi::termination::Reason;
use svsm_abi::{protocol, result};
use svsm_core::request::Registers;
use svsm_core::sync::ReadGuard;
use svsm_core::vcpu::{Vcpu, call_registers, set_results, set_runnable, take_call};

/// Serves the guest on vCPU `index`.
pub fn run(index: usize) -> ! {
    let Some((kernel, vcpu)) = KERNEL
        .get()
        .and_then(|kernel| Some((kernel, kernel.vcpus.get(index)?)))
    else {
        fatal!(Reason::Panic, "vCPU {index} is not known");
    };
    let mut refused = false;
    loop {
        #[cfg(feature = "gdb")]
        crate::gdb::poll();
        if let Some((vmsa, mut registers)) = pending_call(kernel, vcpu) {
            execute(kernel, vcpu, &mut registers);
            finish_call(kernel, vcpu, vmsa, &registers);
        }
        if !allow_run(kernel, vcpu) {
            platform().idle();
            continue;
        }
        if let Err(error) = platform().run_guest() {
            // The guest has no VMSA that the host knows of yet: wait until it has.
            if !refused {
                log!("vCPU {index} (APIC ID {}): {error}", vcpu.apic_id());
                refused = true;
            }
            platform().idle();
        }
    }
}

/// Waits for the call lock. Whoever holds it runs the SVSM and does so for a bounded time.
pub fn registrations(kernel: &Kernel) -> ReadGuard<'_> {
    loop {
        if let Some(guard) = kernel.lock.read() {
            return guard;
        }
    }
}

/// Stops the host from running the guest here; the call that the guest left with, if it did.
fn pending_call(kernel: &Kernel, vcpu: &Vcpu) -> Option<(u64, Registers)> {
    let _shared = registrations(kernel);
    let vmsa = vcpu.vmsa()?;
    set_runnable(&kernel.machine, vmsa, false).ok()?;
    let registers = call_registers(&kernel.machine, vmsa).ok()??;
    // Cleared in the calling area of now: the call may move it.
    take_call(&kernel.machine, vcpu.calling_area()?).then_some((vmsa, registers))
}

/// Executes a call: which protocol it is for decides.
fn execute(kernel: &'static Kernel, vcpu: &Vcpu, registers: &mut Registers) {
    match registers.protocol() {
        protocol::CORE => kernel.core_protocol().call(vcpu, registers),
        protocol::VTPM => service::vtpm_call(kernel, registers),
        _ => registers.rax = result::UNSUPPORTED_PROTOCOL,
    }
}

/// Gives the guest its results, unless its VMSA is another's by now.
fn finish_call(kernel: &Kernel, vcpu: &Vcpu, vmsa: u64, registers: &Registers) {
    let _shared = registrations(kernel);
    if vcpu.vmsa() == Some(vmsa) {
        // A VMSA that the host took away cannot be run either.
        let _ = set_results(&kernel.machine, vmsa, registers);
    }
}

/// Lets the host run the guest here, if there is one.
fn allow_run(kernel: &Kernel, vcpu: &Vcpu) -> bool {
    let _shared = registrations(kernel);
    vcpu.vmsa()
        .is_some_and(|vmsa| set_runnable(&kernel.machine, vmsa, true).is_ok())
}
