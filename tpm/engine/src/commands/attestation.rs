//! Part 3 §18: attestation.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_GetCommandAuditDigest.
pub(crate) fn get_command_audit_digest(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Certify.
pub(crate) fn certify(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_CertifyCreation.
pub(crate) fn certify_creation(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_GetTime.
pub(crate) fn get_time(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_GetSessionAuditDigest.
pub(crate) fn get_session_audit_digest(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Quote.
pub(crate) fn quote(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_NvCertify.
pub(crate) fn nv_certify(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
