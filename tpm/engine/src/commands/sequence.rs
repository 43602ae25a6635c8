//! Part 3 §17: hash, HMAC and event sequences.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_SequenceComplete.
pub(crate) fn sequence_complete(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_HmacStart.
pub(crate) fn hmac_start(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_SequenceUpdate.
pub(crate) fn sequence_update(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_EventSequenceComplete.
pub(crate) fn event_sequence_complete(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_HashSequenceStart.
pub(crate) fn hash_sequence_start(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
