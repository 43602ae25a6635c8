//! The processor and the memory: everything that `unsafe` is for.

pub mod enter;
mod entry;
pub mod fault;
mod heap;
pub mod memory;
pub mod port;
