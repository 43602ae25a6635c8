//! Processors that run a guest while others take pages away. A page is plain memory here: loom fails when a guest still
//! uses one that was taken away and given to somebody else, and when a wait never ends.

use super::*;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use std::cell::Cell;
use std::vec::Vec;

std::thread_local! {
    // All of a model's threads run on one thread of the host's.
    static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
    static IMPATIENT: Cell<bool> = const { Cell::new(false) };
    static WAITS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn made(mistake: Mistake) -> bool {
    PLANTED.get() == Some(mistake)
}

const MAPPED: u32 = 1;
const TAKEN: u32 = 0;

struct Machine {
    processors: Vec<Presence>,
    /// Nested page tables of one entry for each page; processors walk them without any ordering.
    tables: Vec<AtomicU32>,
    pages: Vec<UnsafeCell<u32>>,
}

fn machine(processors: usize, pages: usize) -> Arc<Machine> {
    Arc::new(Machine {
        processors: (0..processors).map(|_| Presence::default()).collect(),
        tables: (0..pages).map(|_| AtomicU32::new(MAPPED)).collect(),
        pages: (0..pages).map(|_| UnsafeCell::new(0)).collect(),
    })
}

/// One stay in the guest's VMPL2, which uses all pages that it has.
fn run_guest(machine: &Machine, this: usize) {
    machine.processors[this].enter(Vmpl::Vmpl2);
    for (entry, page) in machine.tables.iter().zip(&machine.pages) {
        if entry.load(Ordering::Relaxed) == MAPPED {
            page.with(|_| ());
        }
    }
    if !WAITS_INSIDE.get() {
        machine.processors[this].leave();
    }
}

/// Takes a page away and gives it to somebody else. The machine makes the others leave by NMI; here they leave anyway.
fn take_page(machine: &Machine, this: usize, page: usize) {
    machine.tables[page].store(TAKEN, Ordering::Relaxed);
    publish();
    let others = || (0..machine.processors.len()).filter(|&other| other != this);
    let inside: Vec<_> = others()
        .map(|other| {
            let processor = &machine.processors[other];
            (other, processor.look([false, false, true, false]))
        })
        .collect();
    for (other, inside) in inside {
        let Some(inside) = inside else { continue };
        while !inside.has_left(&machine.processors[other]) && !IMPATIENT.get() {
            loom::thread::yield_now();
        }
    }
    machine.pages[page].with_mut(|_| ());
}

fn check(bound: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.check(run);
}

/// A processor that stays in VMPL2 and then in another level, one that stays in VMPL2, one that takes a page of VMPL2's.
fn one_takes() {
    check(2, || {
        let machine = machine(3, 1);
        let guests: Vec<_> = (0..2)
            .map(|this| {
                let machine = Arc::clone(&machine);
                loom::thread::spawn(move || {
                    run_guest(&machine, this);
                    if this == 0 {
                        machine.processors[this].enter(Vmpl::Vmpl3);
                        machine.processors[this].leave();
                    }
                })
            })
            .collect();
        take_page(&machine, 2, 0);
        for guest in guests {
            guest.join().unwrap();
        }
    });
}

/// Each processor runs the guest and then takes a page, so that they wait for each other's.
fn both_take() {
    check(3, || {
        let machine = machine(2, 2);
        let other = Arc::clone(&machine);
        let thread = loom::thread::spawn(move || {
            run_guest(&other, 0);
            take_page(&other, 0, 0);
            run_guest(&other, 0);
        });
        run_guest(&machine, 1);
        take_page(&machine, 1, 1);
        thread.join().unwrap();
    });
}

#[test]
fn no_guest_uses_a_page_after_it_was_taken() {
    one_takes();
}

#[test]
fn two_that_take_pages_at_once_do_not_wait_for_each_other() {
    both_take();
}

macro_rules! noticed {
    ($($name:ident $mistake:ident)*) => {
        $(
            #[test]
            #[should_panic(expected = "Causality violation")]
            fn $name() {
                PLANTED.set(Some(Mistake::$mistake));
                one_takes();
            }
        )*
    };
}

noticed! {
    looking_too_early_is_noticed LookTooEarly
    walking_too_early_is_noticed WalkTooEarly
    leaving_without_an_order_is_noticed LeaveRelaxed
    looking_without_an_order_is_noticed LookRelaxed
}

#[test]
#[should_panic(expected = "Causality violation")]
fn not_waiting_is_noticed() {
    IMPATIENT.set(true);
    one_takes();
}

#[test]
#[should_panic(expected = "exceeded maximum number of branches")]
fn waiting_from_inside_the_guest_is_noticed() {
    WAITS_INSIDE.set(true);
    both_take();
}
