//! Part 3 §16: random numbers.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_StirRandom.
pub(crate) fn stir_random(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_GetRandom.
pub(crate) fn get_random(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
