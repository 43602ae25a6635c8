//! Part 3 §15: symmetric primitives.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_Hmac.
pub(crate) fn hmac(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_EncryptDecrypt.
pub(crate) fn encrypt_decrypt(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_Hash.
pub(crate) fn hash(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_EncryptDecrypt2.
pub(crate) fn encrypt_decrypt_2(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
