//! Part 3 §25: dictionary attack.

use crate::context::Context;
use crate::rc::Result;

/// TPM2_DictionaryAttackLockReset.
pub(crate) fn dictionary_attack_lock_reset(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let da = &mut cx.s.perm.da;
    da.failed_tries = 0;
    da.lockout_auth_enabled = true;
    cx.s.dirty.permanent();
    Ok(())
}

/// TPM2_DictionaryAttackParameters.
pub(crate) fn dictionary_attack_parameters(cx: &mut Context<'_>) -> Result<()> {
    let max_tries = cx.params.get()?;
    let recovery_time = cx.params.get()?;
    let lockout_recovery = cx.params.get()?;
    cx.params.end()?;
    let da = &mut cx.s.perm.da;
    if recovery_time == 0 {
        // Without protection there is nothing to count.
        da.failed_tries = 0;
    }
    da.max_tries = max_tries;
    da.recovery_time = recovery_time;
    da.lockout_recovery = lockout_recovery;
    cx.s.dirty.permanent();
    Ok(())
}
