//! Part 3 §23: policies.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_PolicyNv.
pub(crate) fn policy_nv(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicySecret.
pub(crate) fn policy_secret(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicySigned.
pub(crate) fn policy_signed(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyAuthorize.
pub(crate) fn policy_authorize(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyAuthValue.
pub(crate) fn policy_auth_value(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyCommandCode.
pub(crate) fn policy_command_code(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyCounterTimer.
pub(crate) fn policy_counter_timer(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyCpHash.
pub(crate) fn policy_cp_hash(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyLocality.
pub(crate) fn policy_locality(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyNameHash.
pub(crate) fn policy_name_hash(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyOr.
pub(crate) fn policy_or(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyTicket.
pub(crate) fn policy_ticket(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyPcr.
pub(crate) fn policy_pcr(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyPhysicalPresence.
pub(crate) fn policy_physical_presence(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyDuplicationSelect.
pub(crate) fn policy_duplication_select(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyGetDigest.
pub(crate) fn policy_get_digest(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyPassword.
pub(crate) fn policy_password(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyNvWritten.
pub(crate) fn policy_nv_written(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyTemplate.
pub(crate) fn policy_template(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_PolicyAuthorizeNv.
pub(crate) fn policy_authorize_nv(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
