//! Part 3 §21: command audit.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_SetCommandCodeAuditStatus.
pub(crate) fn set_command_code_audit_status(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
