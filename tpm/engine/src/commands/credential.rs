//! Part 3 §12.5, §12.6: credentials.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_ActivateCredential.
pub(crate) fn activate_credential(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_MakeCredential.
pub(crate) fn make_credential(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
