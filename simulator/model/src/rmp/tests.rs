//! Tests of the RMP rules.
