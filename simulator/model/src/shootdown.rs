//! TLB shoot-down: who took rights away learns when no processor can still use them.
//!
//! A processor's translations last from entering a guest to leaving it (the machine never enters with old ones), so that
//! each processor that was in the guest has to leave it once. A processor says when it enters and leaves, and counts; who
//! changed the tables looks at all of them and waits for those that were inside:
//!
//! | processor | who changes tables |
//! |---|---|
//! | [`Presence::enter`], then walks tables | changes tables, then [`publish`] |
//! | [`Presence::leave`] | for each other one [`Presence::look`]; makes it leave; waits for [`Inside::has_left`] |
//!
//! Between entering and the look one of both sees the other: the processor the new tables, or the look the processor.
//! Who waits is not in a guest, so two that wait never wait for each other. Modelled in `shootdown/model.rs`.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use snp_abi::Vmpl;

#[cfg(all(test, loom))]
mod model;

/// Where one processor is.
#[derive(Debug, Default)]
pub struct Presence {
    /// The VMPL that runs plus one, or zero outside of the guest.
    inside: AtomicU32,
    /// How often it has left.
    exits: AtomicU64,
}

/// A processor that was inside, at one look.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Inside {
    /// Its exits until then.
    exits: u64,
}

/// Makes changed tables visible before the other processors are looked at.
pub fn publish() {
    if !made(Mistake::LookTooEarly) {
        fence(Ordering::SeqCst);
    }
}

impl Presence {
    /// Says that this processor enters the guest's level `vmpl` now. Before it walks any table.
    pub fn enter(&self, vmpl: Vmpl) {
        // Who sees this level sees that the one before was left.
        self.inside.store(vmpl as u32 + 1, Ordering::Release);
        if !made(Mistake::WalkTooEarly) {
            fence(Ordering::SeqCst);
        }
    }

    /// Says that it has left, and uses no translation any more.
    pub fn leave(&self) {
        let seen = ordering(Mistake::LeaveRelaxed);
        self.inside.store(0, seen);
        self.exits.fetch_add(1, seen);
    }

    /// The level that runs, if any.
    pub fn running(&self) -> Option<Vmpl> {
        let inside = self.inside.load(ordering_of_look());
        inside
            .checked_sub(1)
            .and_then(|vmpl| Vmpl::ALL.get(vmpl as usize).copied())
    }

    /// Whether the processor is in one of these levels and has to leave.
    pub fn look(&self, vmpls: [bool; Vmpl::COUNT]) -> Option<Inside> {
        // Counted first: who leaves and comes back in between has left.
        let exits = self.exits.load(Ordering::Relaxed);
        self.running()
            .filter(|vmpl| vmpls[vmpl.index()])
            .map(|_| Inside { exits })
    }
}

impl Inside {
    /// Whether the processor has left since the look.
    pub fn has_left(self, processor: &Presence) -> bool {
        processor.exits.load(ordering_of_look()) != self.exits || processor.running().is_none()
    }
}

/// The looks see what was done in the guest before it was left.
fn ordering_of_look() -> Ordering {
    if made(Mistake::LookRelaxed) {
        Ordering::Relaxed
    } else {
        Ordering::Acquire
    }
}

fn ordering(mistake: Mistake) -> Ordering {
    if made(mistake) {
        Ordering::Relaxed
    } else {
        Ordering::Release
    }
}

/// Mistakes that the model makes on purpose, to show that it notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    /// The processors are looked at before the tables' change is visible.
    LookTooEarly,
    /// A processor walks tables before it is seen inside.
    WalkTooEarly,
    /// A processor has left before its accesses are over.
    LeaveRelaxed,
    /// The same, from the other side.
    LookRelaxed,
}

#[cfg(not(all(test, loom)))]
const fn made(_: Mistake) -> bool {
    false
}
#[cfg(all(test, loom))]
use model::made;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ONLY_2: [bool; Vmpl::COUNT] = [false, false, true, false];

    #[test]
    fn only_who_is_in_one_of_the_levels_is_waited_for() {
        let processor = Presence::default();
        assert!(processor.look([true; Vmpl::COUNT]).is_none());
        processor.enter(Vmpl::Vmpl3);
        assert_eq!(processor.running(), Some(Vmpl::Vmpl3));
        assert!(processor.look(ONLY_2).is_none());
        assert!(processor.look([true; Vmpl::COUNT]).is_some());
    }

    #[test]
    fn leaving_once_is_enough_even_if_it_comes_back() {
        let processor = Presence::default();
        processor.enter(Vmpl::Vmpl2);
        let inside = processor.look(ONLY_2).unwrap();
        assert!(!inside.has_left(&processor));
        processor.leave();
        assert!(inside.has_left(&processor));
        processor.enter(Vmpl::Vmpl2);
        assert!(inside.has_left(&processor));
        assert!(!processor.look(ONLY_2).unwrap().has_left(&processor));
    }
}
