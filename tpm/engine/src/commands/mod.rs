//! The commands, a file for each chapter of Part 3.
//!
//! A handler reads all its parameters, checks, then changes the state, and writes the response: what it refuses leaves no
//! trace.

pub(crate) mod asymmetric;
pub(crate) mod attestation;
pub(crate) mod audit;
pub(crate) mod capability;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod credential;
pub(crate) mod dictionary;
pub(crate) mod duplication;
pub(crate) mod ephemeral;
pub(crate) mod hierarchy;
pub(crate) mod integrity;
pub(crate) mod misc;
pub(crate) mod nv;
pub(crate) mod object;
pub(crate) mod policy;
pub(crate) mod primary;
pub(crate) mod random;
pub(crate) mod sequence;
pub(crate) mod signing;
pub(crate) mod start_session;
pub(crate) mod startup;
pub(crate) mod symmetric;
pub(crate) mod testing;
