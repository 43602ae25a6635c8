//! Mistakes that the concurrency models make on purpose: a model that does not notice one proves nothing. Outside of
//! the models nothing of this is left.

use crate::sync::Ordering;

/// A mistake at one place of the code that is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Two fill a value that is set once.
    LatchFilledTwice,
    /// What is set once is announced before others can see it.
    LatchSetRelaxed,
    /// A CPU is started before others can see what was made for it.
    StartRelaxed,
    /// A CPU looks at what was made for it without waiting to see it.
    EnterRelaxed,
    /// A CPU comes up whatever the boot CPU has decided.
    ComeUpAnyway,
    /// A CPU is counted before others can see what it did.
    ComeUpRelaxed,
    /// The boot CPU stops waiting and tells nobody.
    GiveUpSilently,
    /// A page is claimed although another vCPU may have claimed it since the look.
    ClaimUnchecked,
    /// Who claims a page does not see what was done to it before.
    ClaimRelaxed,
    /// Who claims a page later does not see what was done to it.
    SettleRelaxed,
    /// A writer takes the call lock whoever has it.
    LockUnchecked,
    /// Who takes a lock does not see what was done under it.
    LockRelaxed,
    /// Who takes a lock later does not see what was done under it.
    UnlockRelaxed,
    /// Who prints does not see what was printed before.
    TurnRelaxed,
    /// Who prints later does not see what was printed.
    TurnEndRelaxed,
    /// A turn that was lost is given back all the same.
    TurnGivenBackTwice,
    /// Others go on to print although a CPU reports a failure.
    ReportIgnored,
    /// Locks are taken against their order.
    #[cfg(all(test, loom))]
    OrderReversed,
}

/// Whether the mistake is to be made.
#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(crate) const fn made(_: Mistake) -> bool {
    false
}

/// `right`, unless the mistake is to be made.
#[inline(always)]
pub(crate) fn ordering(mistake: Mistake, right: Ordering) -> Ordering {
    if made(mistake) {
        Ordering::Relaxed
    } else {
        right
    }
}

#[cfg(all(test, loom))]
pub(crate) use planted::{made, noticed, plant};

#[cfg(all(test, loom))]
mod planted {
    use super::Mistake;
    use std::cell::Cell;

    std::thread_local! {
        // All of a model's threads run on one thread of the host's.
        static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    /// Has this test's models make the mistake.
    pub(crate) fn plant(mistake: Mistake) {
        PLANTED.set(Some(mistake));
    }

    /// Tests that models fail, with these words, when a mistake is planted: `NAME MISTAKE MODEL WORDS`.
    macro_rules! noticed {
        ($($name:ident $mistake:ident $model:ident $words:literal)*) => {
            $(
                #[test]
                #[should_panic(expected = $words)]
                fn $name() {
                    $crate::mistake::plant($crate::mistake::Mistake::$mistake);
                    $model();
                }
            )*
        };
    }
    pub(crate) use noticed;

    /// Whether the mistake is to be made.
    pub(crate) fn made(mistake: Mistake) -> bool {
        PLANTED.get() == Some(mistake)
    }
}
