//! Commands as bytes, with expectations from the specification and from published vectors.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

mod client;
mod dispatch;
#[path = "../host/mod.rs"]
mod host;
mod measurements;
mod policies;
mod primitives;
mod sessions;
