//! Tests of event delivery.
