//! Part 3 §20: signatures.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_Sign.
pub(crate) fn sign(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_VerifySignature.
pub(crate) fn verify_signature(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
