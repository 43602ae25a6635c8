//! The engine against an independent TPM.
//!
//! [`scenario`] writes commands symbolically: what differs between two TPMs by nature (nonces, keys, tickets) is a
//! slot, which each TPM fills with a value of its own ([`side`]). [`run`] gives the same commands to two TPMs and
//! compares the response codes and, by the table in [`commands`], the shapes of the responses ([`shape`]). What may
//! differ stands with its reason in [`exceptions`]. [`fuzz`] needs no second TPM: it looks for panics, hangs and
//! growth of memory.
#![forbid(unsafe_code)]

pub mod backend;
pub mod commands;
pub mod crypto;
pub mod exceptions;
pub mod fuzz;
pub mod mutate;
pub mod run;
pub mod scenario;
pub mod shape;
pub mod side;
pub mod step;
pub mod swtpm;

pub use seeded_rng as rng;
