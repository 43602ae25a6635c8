//! Part 3 §12: objects.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_ObjectChangeAuth.
pub(crate) fn object_change_auth(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Create.
pub(crate) fn create(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Load.
pub(crate) fn load(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Unseal.
pub(crate) fn unseal(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_LoadExternal.
pub(crate) fn load_external(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_ReadPublic.
pub(crate) fn read_public(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_CreateLoaded.
pub(crate) fn create_loaded(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
