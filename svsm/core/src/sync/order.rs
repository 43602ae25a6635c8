//! The request path's locks in their order (docs/src/soundness.md): a service's gate, the call lock, the entropy source, the
//! console's line. vCPUs take them as the kernel does on a TPM command, on CREATE_VCPU and between calls; loom fails when
//! somebody waits for ever, and when two are at what a lock guards.

use super::*;
use crate::mistake::plant;
use crate::turn::Turn;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use std::vec::Vec;

/// The locks, and behind each what it guards.
struct Svsm {
    service: (Gate, UnsafeCell<()>),
    calls: (CallLock, UnsafeCell<()>),
    entropy: (Spin, UnsafeCell<()>),
    line: (Turn, UnsafeCell<()>),
}

impl Svsm {
    /// Waits for the call lock as a reader, as the kernel's `registrations` does.
    fn registrations(&self) -> ReadGuard<'_> {
        loop {
            if let Some(guard) = self.calls.0.read() {
                return guard;
            }
        }
    }

    /// A line on the console.
    fn log(&self, cpu: u32) {
        let _line = self.line.0.take(cpu, || 0, 0).unwrap();
        self.line.1.with_mut(|_| ());
    }

    /// Random numbers for a service; a source that fails its tests is reported while it is held.
    fn random(&self, cpu: u32) {
        let _source = self.entropy.0.lock();
        self.entropy.1.with_mut(|_| ());
        self.log(cpu);
    }

    /// A TPM command: who finds the service taken goes away, who has it finishes.
    fn tpm_command(&self, cpu: u32) -> bool {
        let Some(_hold) = self.service.0.try_enter() else {
            return false;
        };
        self.service.1.with_mut(|_| ());
        if let Some(_request) = self.calls.0.read() {
            self.calls.1.with(|_| ());
        }
        self.random(cpu);
        let _response = self.registrations();
        self.calls.1.with(|_| ());
        true
    }

    /// CREATE_VCPU: who cannot be alone goes away.
    fn create_vcpu(&self) -> bool {
        let Some(_alone) = self.calls.0.write() else {
            return false;
        };
        self.calls.1.with_mut(|_| ());
        if made(Mistake::OrderReversed) {
            // To wait for a service under the call lock is against the order.
            while self.service.0.try_enter().is_none() {
                pause();
            }
        }
        true
    }

    /// Between calls.
    fn look_for_call(&self) {
        let _shared = self.registrations();
        self.calls.1.with(|_| ());
    }
}

fn check(vcpus: &'static [fn(&Svsm, u32)]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let svsm = Arc::new(Svsm {
            service: (Gate::new(), UnsafeCell::new(())),
            calls: (CallLock::new(), UnsafeCell::new(())),
            entropy: (Spin::new(), UnsafeCell::new(())),
            line: (Turn::new(), UnsafeCell::new(())),
        });
        let (first, others) = vcpus.split_first().unwrap();
        let others: Vec<_> = others
            .iter()
            .zip(1..)
            .map(|(vcpu, cpu)| {
                let svsm = Arc::clone(&svsm);
                loom::thread::spawn(move || vcpu(&svsm, cpu))
            })
            .collect();
        first(&svsm, 0);
        for vcpu in others {
            vcpu.join().unwrap();
        }
        // All locks are free again.
        assert!(svsm.create_vcpu() && svsm.tpm_command(0));
    });
}

fn command_and_create() {
    check(&[
        |svsm, cpu| {
            svsm.tpm_command(cpu);
        },
        |svsm, _| {
            svsm.create_vcpu();
            svsm.look_for_call();
        },
    ]);
}

fn two_commands() {
    check(&[
        |svsm, cpu| {
            svsm.tpm_command(cpu);
        },
        |svsm, cpu| {
            svsm.look_for_call();
            svsm.tpm_command(cpu);
            svsm.log(cpu);
        },
    ]);
}

#[test]
fn a_tpm_command_and_a_new_vcpu_do_not_wait_for_each_other() {
    command_and_create();
}

#[test]
fn two_tpm_commands_do_not_wait_for_each_other() {
    two_commands();
}

#[test]
fn three_vcpus_on_the_request_path_all_finish() {
    check(&[
        |svsm, cpu| {
            svsm.tpm_command(cpu);
        },
        |svsm, _| {
            svsm.create_vcpu();
        },
        |svsm, _| svsm.look_for_call(),
    ]);
}

#[test]
#[should_panic(expected = "exceeded maximum number of branches")]
fn waiting_against_the_order_is_noticed() {
    plant(Mistake::OrderReversed);
    command_and_create();
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_lock_without_an_order_is_noticed() {
    plant(Mistake::LockRelaxed);
    two_commands();
}

#[test]
#[should_panic(expected = "Causality violation")]
fn an_unlock_without_an_order_is_noticed() {
    plant(Mistake::UnlockRelaxed);
    two_commands();
}
