//! Models of the lock, the gate and the latch.

use super::*;
use crate::mistake::plant;
use loom::cell::UnsafeCell;
use loom::sync::Arc;

#[test]
fn a_writer_excludes_readers_and_writers() {
    loom::model(|| {
        let shared = Arc::new((CallLock::new(), AtomicU32::new(0)));
        let other = Arc::clone(&shared);
        let thread = loom::thread::spawn(move || {
            if let Some(_alone) = other.0.write() {
                // Not one step: a second holder would be seen.
                let before = other.1.load(Ordering::Relaxed);
                other.1.store(before + 1, Ordering::Relaxed);
            }
        });
        let mine = shared.0.write().map(|_alone| {
            let before = shared.1.load(Ordering::Relaxed);
            shared.1.store(before + 1, Ordering::Relaxed);
        });
        thread.join().unwrap();
        let _reader = shared.0.read().unwrap();
        assert!(shared.1.load(Ordering::Relaxed) >= mine.is_some() as u32);
        assert!(shared.0.write().is_none());
    });
}

#[test]
fn a_reader_sees_all_or_nothing_of_what_a_writer_did() {
    loom::model(|| {
        let shared = Arc::new((CallLock::new(), [AtomicU32::new(0), AtomicU32::new(0)]));
        let other = Arc::clone(&shared);
        let thread = loom::thread::spawn(move || {
            if let Some(_alone) = other.0.write() {
                other.1[0].store(1, Ordering::Relaxed);
                other.1[1].store(1, Ordering::Relaxed);
            }
        });
        if let Some(_shared) = shared.0.read() {
            let first = shared.1[0].load(Ordering::Relaxed);
            assert_eq!(first, shared.1[1].load(Ordering::Relaxed));
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_gate_has_one_holder_who_sees_what_the_one_before_did() {
    loom::model(|| {
        let shared = Arc::new((Gate::new(), [AtomicU32::new(0), AtomicU32::new(0)]));
        // Not one step: a second holder, or one that does not see the first one's doing, would be seen.
        let work = |shared: &(Gate, [AtomicU32; 2])| match shared.0.try_enter() {
            Some(_inside) => {
                let before = shared.1[0].load(Ordering::Relaxed);
                assert_eq!(before, shared.1[1].load(Ordering::Relaxed));
                shared.1[0].store(before + 1, Ordering::Relaxed);
                shared.1[1].store(before + 1, Ordering::Relaxed);
                1
            }
            None => 0,
        };
        let threads = [(); 2].map(|()| {
            let other = Arc::clone(&shared);
            loom::thread::spawn(move || work(&other))
        });
        let mut entered = work(&shared);
        for thread in threads {
            entered += thread.join().unwrap();
        }
        assert!(entered >= 1, "somebody always gets in");
        let _inside = shared.0.try_enter().unwrap();
        assert_eq!(shared.1[0].load(Ordering::Relaxed), entered);
    });
}

/// Two want to fill, one of them reads as well; cells are plain memory, on which loom allows no race.
fn latch() {
    loom::model(|| {
        let shared = Arc::new((Latch::new(), UnsafeCell::new(0)));
        let fill = |shared: &(Latch, UnsafeCell<u32>)| {
            shared.0.fill().is_some_and(|filling| {
                shared.1.with_mut(|_| ());
                filling.set();
                true
            })
        };
        let other = Arc::clone(&shared);
        let thread = loom::thread::spawn(move || fill(&other));
        let mine = fill(&shared);
        if shared.0.is_set() {
            shared.1.with(|_| ());
        }
        assert_ne!(mine, thread.join().unwrap());
        assert!(shared.0.is_set());
    });
}

#[test]
fn a_latch_is_filled_by_one_and_read_after() {
    latch();
}

#[test]
#[should_panic(expected = "Concurrent write accesses")]
fn filling_a_latch_twice_is_noticed() {
    plant(Mistake::LatchFilledTwice);
    latch();
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_latch_that_publishes_nothing_is_noticed() {
    plant(Mistake::LatchSetRelaxed);
    latch();
}
