//! Mutated commands to the engine alone.

use std::time::Duration;

use anyhow::Result;

/// Placeholder.
///
/// # Errors
/// None yet.
pub fn fuzz(time: Duration, seed: u64, heap: &dyn Fn() -> usize) -> Result<String> {
    let _ = (time, seed, heap());
    Ok(String::new())
}
