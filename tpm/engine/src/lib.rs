//! A TPM 2.0 in safe Rust.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod buf;
pub mod crypto;
pub mod platform;
pub mod rc;

mod tpm;

pub use tpm::Tpm;
