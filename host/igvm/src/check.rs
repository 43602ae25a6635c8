//! Rules for images.

use anyhow::Result;

/// Refuses an image that breaks a rule.
pub fn refuse_bad(bytes: &[u8]) -> Result<()> {
    crate::measure::measure(bytes).map(|_| ())
}
