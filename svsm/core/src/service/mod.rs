//! What the kernel decides about ring-3 services: which images it takes, what becomes of a guest's call while a service
//! works on another one, what a vTPM request looks like, which entropy is believed.

pub mod elf;
pub mod entropy;
pub mod exchange;
pub mod table;
pub mod vtpm;

#[cfg(all(test, not(loom)))]
mod tests;
