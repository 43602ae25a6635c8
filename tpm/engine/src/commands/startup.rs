//! Part 3 §9: start-up and shutdown.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_Startup.
pub(crate) fn startup(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Shutdown.
pub(crate) fn shutdown(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
