//! Part 3 §13: duplication.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_Duplicate.
pub(crate) fn duplicate(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Rewrap.
pub(crate) fn rewrap(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Import.
pub(crate) fn import(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
