#![doc = include_str!("../README.md")]
//!
//! # Rules of this crate
//!
//! 1. A command is foreign input. Nothing it can reach panics: the lints in `Cargo.toml` are the contract, each exception is argued where
//!    it stands.
//! 2. A handler reads all of its parameters, checks, and only then changes the state.
//! 3. What a command changes is in the store before its response is out, in one commit.
//! 4. Secrets are [`buf::Secret`]: overwritten when dropped, not printable, compared in constant time.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
/// The tests inside and outside of the crate share what they run on.
#[cfg(test)]
extern crate self as tpm_engine;

pub mod buf;
pub mod codec;
pub mod crypto;
pub mod limits;
pub mod platform;
pub mod rc;
pub mod types;

mod audit;
mod auth;
mod clock;
mod command_table;
mod commands;
mod context;
mod da;
mod dispatch;
mod ek;
mod entity;
mod nv;
mod object;
mod pcr;
mod persist;
mod properties;
mod session;
mod signing;
mod startup;
mod state;
mod ticket;
mod tpm;

pub use ek::EndorsementKey;
pub use tpm::Tpm;
