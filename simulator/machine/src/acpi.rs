//! What the machine says of its processors: the MADT that the image's loader is given, and how many there are. The truth,
//! unless the option `madt=LIES` has it lie.

use crate::arch::lock::SpinLock;
use crate::arch::percpu;
use acpi_madt::{Answer, BadLie, Lies};
use alloc::vec::Vec;

static LIES: SpinLock<Option<Lies>> = SpinLock::new(None);

/// Takes the option's value.
pub fn lie(text: &str) -> Result<(), BadLie<'_>> {
    *LIES.lock() = Some(Lies::parse(text)?);
    Ok(())
}

/// What the image's loader is told.
pub fn answer() -> Answer {
    let ids: Vec<u32> = percpu::all().map(|cpu| cpu.apic_id()).collect();
    match &*LIES.lock() {
        Some(lies) => lies.about(&ids),
        None => Lies::default().about(&ids),
    }
}
