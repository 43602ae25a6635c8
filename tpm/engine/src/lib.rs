//! A TPM 2.0 in safe Rust.
#![no_std]
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "until every command is there")]

extern crate alloc;

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
