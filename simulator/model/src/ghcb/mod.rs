//! The GHCB page protocol: a copied page becomes a checked request; a result becomes the fields to write back
//! (56421 §4; checks in KVM's order, `sev_es_validate_vmgexit`).
//!
//! The machine copies the 4 KiB page once, [`parse`]s the copy, acts, and performs [`Reply::writes`] on the shared page.
//! Data of MMIO, string I/O and page state change lies in the copy's shared buffer; the machine writes results back
//! to the shared page itself, before the reply's fields.

mod parse;
mod reply;
mod request;

pub use parse::parse;
pub use reply::{Reply, Write};
pub use request::{ApAction, Event, IoRequest, Malformed, Request, Scratch};

#[cfg(test)]
mod tests;
