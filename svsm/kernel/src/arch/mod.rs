//! The processor: instructions, descriptor tables, exceptions, per-CPU areas, the boot stage. With [`crate::mm`] the
//! only module that may be `unsafe`.

pub mod boot_stage;
pub mod cpu;
pub mod descriptors;
#[cfg(feature = "tests")]
pub mod inspect;
pub mod percpu;
pub mod stack_trace;
pub mod sync;
pub mod traps;
