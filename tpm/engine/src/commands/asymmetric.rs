//! Part 3 §14: asymmetric primitives.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_EcdhZgen.
pub(crate) fn ecdh_zgen(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_RsaDecrypt.
pub(crate) fn rsa_decrypt(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_EcdhKeygen.
pub(crate) fn ecdh_keygen(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_RsaEncrypt.
pub(crate) fn rsa_encrypt(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_EccParameters.
pub(crate) fn ecc_parameters(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Zgen2phase.
pub(crate) fn zgen_2phase(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
