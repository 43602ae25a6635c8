//! What is traced, chosen at run time on the command line: `trace=npf,ghcb,io:3f8`.

use core::sync::atomic::{AtomicU64, Ordering};
use snp_model::trace::{Filter, Topic};

/// The filter's bits: topics in the low half, then the port and whether there is one.
static TOPICS: AtomicU64 = AtomicU64::new(0);
static FILTER: crate::arch::lock::Once<Filter> = crate::arch::lock::Once::new();

/// Sets the filter; once.
pub fn set(filter: Filter) {
    FILTER.set(filter);
    TOPICS.store(1, Ordering::Relaxed);
}

/// Whether `topic` is traced.
pub fn wants(topic: Topic) -> bool {
    TOPICS.load(Ordering::Relaxed) != 0 && FILTER.try_get().is_some_and(|filter| filter.wants(topic))
}

/// Whether I/O at `port` is traced.
pub fn wants_port(port: u16) -> bool {
    FILTER.try_get().is_some_and(|filter| filter.wants_port(port))
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
