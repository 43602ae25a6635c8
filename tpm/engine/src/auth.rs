//! The authorization area of a command and of its response (Part 1 §18.7).

/// The sessions of one command.
#[derive(Default)]
pub(crate) struct AuthArea {}
