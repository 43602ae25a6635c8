//! Part 3 §24: hierarchies.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_HierarchyControl.
pub(crate) fn hierarchy_control(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_ChangeEps.
pub(crate) fn change_eps(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_ChangePps.
pub(crate) fn change_pps(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Clear.
pub(crate) fn clear(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_ClearControl.
pub(crate) fn clear_control(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_HierarchyChangeAuth.
pub(crate) fn hierarchy_change_auth(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_SetPrimaryPolicy.
pub(crate) fn set_primary_policy(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
