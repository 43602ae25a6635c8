//! Two CPUs come up while the boot CPU's patience may end at any moment, so that each may come in time, late between
//! entering and coming up, late altogether, or never.

use super::*;
use crate::mistake::noticed;
use crate::sync::Latch;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use std::vec::Vec;

const APS: usize = 2;

/// What the CPUs share. Cells are plain memory: loom fails when two use one without an order between them.
struct Machine {
    /// The kernel's state, behind the latch.
    published: Latch,
    kernel: UnsafeCell<u32>,
    starts: [Start; APS],
    /// Per-CPU areas: made by the boot CPU, then their CPU's.
    areas: [UnsafeCell<u32>; APS],
    /// What a CPU leaves for others before it is counted, and nobody touches of a CPU that is not.
    reports: [UnsafeCell<u32>; APS],
    /// The host's way to start a CPU; no ordering comes with it.
    kicks: [AtomicU32; APS],
}

/// What a CPU did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    NeverStarted,
    Halted,
    Served,
}

fn application_processor(machine: &Machine, index: usize) -> Course {
    if machine.kicks[index].load(Ordering::Relaxed) == 0 {
        return Course::NeverStarted;
    }
    let Some(entered) = machine.starts[index].enter() else {
        return Course::Halted;
    };
    machine.areas[index].with_mut(|_| ());
    machine.reports[index].with_mut(|_| ());
    assert!(machine.published.is_set());
    machine.kernel.with(|_| ());
    if entered.come_up() {
        Course::Served
    } else {
        Course::Halted
    }
}

fn boot() {
    let machine = Arc::new(Machine {
        published: Latch::new(),
        kernel: UnsafeCell::new(0),
        starts: [Start::new(), Start::new()],
        areas: [UnsafeCell::new(0), UnsafeCell::new(0)],
        reports: [UnsafeCell::new(0), UnsafeCell::new(0)],
        kicks: [AtomicU32::new(0), AtomicU32::new(0)],
    });
    let threads: Vec<_> = (0..APS)
        .map(|index| {
            let machine = Arc::clone(&machine);
            loom::thread::spawn(move || application_processor(&machine, index))
        })
        .collect();
    let filling = machine.published.fill().unwrap();
    machine.kernel.with_mut(|_| ());
    filling.set();
    for index in 0..APS {
        machine.areas[index].with_mut(|_| ());
        machine.starts[index].begin();
        machine.kicks[index].store(1, Ordering::Relaxed);
    }
    // Enough to come between any two steps of a CPU: the models try all interleavings.
    let mut looks = 2;
    wait(machine.starts.iter(), || {
        looks -= 1;
        looks > 0
    });
    let settled = [machine.starts[0].is_up(), machine.starts[1].is_up()];
    for index in (0..APS).filter(|&index| settled[index]) {
        machine.reports[index].with(|_| ());
    }
    for (index, thread) in threads.into_iter().enumerate() {
        let course = thread.join().unwrap();
        assert_eq!(settled[index], course == Course::Served);
        assert_eq!(settled[index], machine.starts[index].is_up());
    }
}

fn check() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(boot);
}

#[test]
fn boot_cpu_and_late_cpus_agree_on_who_is_up() {
    check();
}

/// Both run at once on one place: a CPU that is started twice has one life.
#[test]
fn a_cpu_that_is_started_twice_enters_once() {
    loom::model(|| {
        let start = Arc::new(Start::new());
        start.begin();
        let other = Arc::clone(&start);
        let twin = loom::thread::spawn(move || other.enter().is_some_and(Entered::come_up));
        let mine = start.enter().is_some_and(Entered::come_up);
        assert_ne!(twin.join().unwrap(), mine);
        assert!(start.is_up());
    });
}

noticed! {
    a_start_that_publishes_nothing_is_noticed StartRelaxed check "Causality violation"
    an_entry_that_sees_nothing_is_noticed EnterRelaxed check "Causality violation"
    coming_up_after_all_is_noticed ComeUpAnyway check "left == right"
    coming_up_without_publishing_is_noticed ComeUpRelaxed check "Causality violation"
    giving_up_silently_is_noticed GiveUpSilently check "left == right"
}
