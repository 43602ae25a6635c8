//! Part 3 §28: contexts and persistent objects.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_EvictControl.
pub(crate) fn evict_control(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_ContextLoad.
pub(crate) fn context_load(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_ContextSave.
pub(crate) fn context_save(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_FlushContext.
pub(crate) fn flush_context(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
