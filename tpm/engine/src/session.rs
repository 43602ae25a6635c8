//! Sessions (Part 1 §17, §19).

/// All sessions.
#[derive(Default)]
pub struct Sessions {}
