//! The reverse map table: who owns each page, whether its guest has accepted it, and what each VMPL may do with it
//! (APM vol. 2 §15.36.3-15.36.10).
//!
//! The table is indexed by *system* physical frame. It is one borrowed slice; the machine locks it, because an entry's
//! two halves change together. There is one guest only, so entries carry no ASID: "assigned" means assigned to it.

mod access;
mod entry;
mod instruction;
mod table;

pub use access::{Access, Effect, Grant, Rule, Violation, check_access};
pub use entry::RmpEntry;
pub use instruction::{
    Caller, Mapping, Outcome, Pvalidate, RmpAdjust, RmpQuery, pvalidate, rmpadjust, rmpquery,
};
pub use table::{HostFailure, Rmp, RmpUpdate, VmsaPageFailure};

#[cfg(test)]
mod tests;
