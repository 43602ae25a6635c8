//! What is traced, chosen at run time on the command line: `trace=npf,ghcb,io:3f8`.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use snp_model::trace::{Filter, Topic};

static FILTER: crate::arch::lock::Once<Filter> = crate::arch::lock::Once::new();

/// Sets the filter; once.
pub fn set(filter: Filter) {
    FILTER.set(filter);
}

/// Whether `topic` is traced.
pub fn wants(topic: Topic) -> bool {
    FILTER.try_get().is_some_and(|filter| filter.wants(topic))
}

/// Whether I/O at `port` is traced.
pub fn wants_port(port: u16) -> bool {
    FILTER
        .try_get()
        .is_some_and(|filter| filter.wants_port(port))
}

/// Kinds of exits that are counted.
const KINDS: usize = 0x100;

static COUNTING: AtomicBool = AtomicBool::new(false);
static EXITS: [AtomicU64; KINDS] = [const { AtomicU64::new(0) }; KINDS];
static EVENTS: [AtomicU64; KINDS] = [const { AtomicU64::new(0) }; KINDS];

/// Counts exits and GHCB events from now on.
pub fn count_exits() {
    COUNTING.store(true, Ordering::Relaxed);
}

/// Counts an exit. Codes from 0x400 on are put behind the others.
pub fn exit(code: u64) {
    if COUNTING.load(Ordering::Relaxed) {
        let kind = if code >= 0x400 {
            0xF0 | code as usize & 0xF
        } else {
            code as usize & 0xFF
        };
        EXITS[kind].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a GHCB event; those above 0x80000000 are put behind the others.
pub fn event(code: u64) {
    if COUNTING.load(Ordering::Relaxed) {
        let kind = if code >= 0x8000_0000 {
            0xC0 | code as usize & 0x3F
        } else {
            code as usize & 0xFF
        };
        EVENTS[kind].fetch_add(1, Ordering::Relaxed);
    }
}

/// Prints the counts.
pub fn print_counts() {
    if !COUNTING.load(Ordering::Relaxed) {
        return;
    }
    for (what, counts) in [("exit", &EXITS), ("GHCB event", &EVENTS)] {
        for (kind, count) in counts.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count != 0 {
                crate::say!("{what} {kind:#x}: {count}");
            }
        }
    }
}

/// One trace line of a vCPU, if its topic is on.
#[macro_export]
macro_rules! trace {
    ($vcpu:expr, $topic:expr, $($argument:tt)*) => {
        if $crate::trace::wants($topic) {
            let vcpu = &*$vcpu;
            $crate::say!(
                "[{} VMPL{} {:x}] {:?}: {}",
                vcpu.index(),
                vcpu.current().map_or(9, |vmpl| vmpl as u8),
                vcpu.state().rip.get(),
                $topic,
                format_args!($($argument)*)
            );
        }
    };
}
