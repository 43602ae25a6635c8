//! Part 3 §25: dictionary attack.

use crate::context::Context;
use crate::rc::{Rc, Result};

/// TPM2_DictionaryAttackLockReset.
pub(crate) fn dictionary_attack_lock_reset(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}

/// TPM2_DictionaryAttackParameters.
pub(crate) fn dictionary_attack_parameters(cx: &mut Context<'_>) -> Result<()> {
    let _ = cx;
    Err(Rc::COMMAND_CODE)
}
