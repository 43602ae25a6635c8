//! Part 3 §31: NV indices.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_NvUndefineSpaceSpecial.
pub(crate) fn nv_undefine_space_special(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvUndefineSpace.
pub(crate) fn nv_undefine_space(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvDefineSpace.
pub(crate) fn nv_define_space(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvGlobalWriteLock.
pub(crate) fn nv_global_write_lock(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvIncrement.
pub(crate) fn nv_increment(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvSetBits.
pub(crate) fn nv_set_bits(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvExtend.
pub(crate) fn nv_extend(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvWrite.
pub(crate) fn nv_write(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvWriteLock.
pub(crate) fn nv_write_lock(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvChangeAuth.
pub(crate) fn nv_change_auth(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvRead.
pub(crate) fn nv_read(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvReadLock.
pub(crate) fn nv_read_lock(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvReadPublic.
pub(crate) fn nv_read_public(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
