//! Tests of the MSR protocol.
