//! Part 3 §22: PCRs.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_PcrAllocate.
pub(crate) fn pcr_allocate(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PcrSetAuthPolicy.
pub(crate) fn pcr_set_auth_policy(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PcrEvent.
pub(crate) fn pcr_event(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PcrReset.
pub(crate) fn pcr_reset(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PcrRead.
pub(crate) fn pcr_read(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PcrExtend.
pub(crate) fn pcr_extend(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PcrSetAuthValue.
pub(crate) fn pcr_set_auth_value(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
