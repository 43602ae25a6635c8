//! Tests of page state changes.
