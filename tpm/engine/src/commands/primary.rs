//! Part 3 §24.1: primary objects.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_CreatePrimary.
pub(crate) fn create_primary(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
