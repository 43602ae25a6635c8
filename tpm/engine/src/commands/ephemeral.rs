//! Part 3 §19: ephemeral EC keys.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_Commit.
pub(crate) fn commit(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_EcEphemeral.
pub(crate) fn ec_ephemeral(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
