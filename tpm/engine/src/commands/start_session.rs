//! Part 3 §11: sessions.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_StartAuthSession.
pub(crate) fn start_auth_session(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyRestart.
pub(crate) fn policy_restart(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
