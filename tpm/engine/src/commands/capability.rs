//! Part 3 §30: capabilities.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_GetCapability.
pub(crate) fn get_capability(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_TestParms.
pub(crate) fn test_parms(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
