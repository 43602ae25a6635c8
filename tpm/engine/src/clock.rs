//! Time, Clock and their place in responses (Part 1 §36).

/// Time.
#[derive(Default)]
pub struct Clock {}
