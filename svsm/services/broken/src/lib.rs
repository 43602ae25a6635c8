//! What the broken service can be asked for, for those who ask: the test guest.
#![no_std]
#![forbid(unsafe_code)]

pub mod cases;
pub mod instructions;
