//! Part 3 §26: physical presence, algorithm set.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_PpCommands.
pub(crate) fn pp_commands(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_SetAlgorithmSet.
pub(crate) fn set_algorithm_set(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
