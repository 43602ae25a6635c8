//! Protection against dictionary attacks (Part 1 §16.8).
//!
//! Its times are those while the TPM is powered: they are measured with Clock, which the store keeps, and moved along where a
//! command sets it.

use crate::persist;
use crate::platform::Platform;
use crate::rc::Result;
use crate::state::State;

/// Whether authorizations that are subject to the protection are refused now (TPM_RC_LOCKOUT).
pub(crate) const fn in_lockout(s: &State) -> bool {
    s.perm.da.failed_tries >= s.perm.da.max_tries
}

/// Whether lockoutAuth can be used now.
pub(crate) const fn lockout_auth_usable(s: &State) -> bool {
    s.perm.da.lockout_auth_enabled
}

/// Must come before a look at an authorization value that is subject to the protection, so that who makes the store fail, or cuts
/// the power, before a failure is counted has gained nothing. The first use since the start is noted in the store, and counts as
/// a failure if the end is not orderly. lockoutAuth has failed, as far as the store knows, until the command is through.
///
/// # Errors
/// FAILURE: the store does not work.
pub(crate) fn before_use(s: &mut State, platform: &mut dyn Platform, lockout: bool) -> Result<()> {
    if lockout {
        failed(s, true);
        let noted = persist::commit(s, platform);
        s.perm.da.lockout_auth_enabled = true;
        s.dirty.permanent();
        return noted;
    }
    if s.perm.da.used {
        return Ok(());
    }
    s.perm.da.used = true;
    crate::startup::not_orderly(s);
    s.dirty.permanent();
    persist::commit(s, platform)
}

/// Counts a failure of an authorization that is subject to the protection, or of lockoutAuth; the record of the permanent
/// state is dirty afterwards, and is committed before the response.
pub(crate) fn failed(s: &mut State, lockout: bool) {
    let da = &mut s.perm.da;
    if lockout {
        da.lockout_auth_enabled = false;
        da.lockout_timer = s.clock.clock;
    } else if da.recovery_time != 0 {
        // Without a recovery time there is no protection.
        da.failed_tries = da.failed_tries.saturating_add(1);
        da.self_heal_timer = s.clock.clock;
    }
    s.dirty.permanent();
}

/// Forgets failures that are old enough.
pub(crate) fn self_heal(s: &mut State) {
    let da = &mut s.perm.da;
    let now = s.clock.clock;
    let ms = |seconds: u32| u64::from(seconds).wrapping_mul(1000);
    if da.failed_tries != 0 && da.recovery_time != 0 {
        let passed = now.saturating_sub(da.self_heal_timer);
        let forgotten = passed.checked_div(ms(da.recovery_time)).unwrap_or(0);
        if forgotten != 0 {
            da.failed_tries = da
                .failed_tries
                .saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
            let used = forgotten.saturating_mul(ms(da.recovery_time));
            da.self_heal_timer = da.self_heal_timer.saturating_add(used);
            s.dirty.permanent();
        }
    }
    if !da.lockout_auth_enabled
        && da.lockout_recovery != 0
        && now.saturating_sub(da.lockout_timer) >= ms(da.lockout_recovery)
    {
        da.lockout_auth_enabled = true;
        s.dirty.permanent();
    }
}

/// What TPM2_Startup does.
pub(crate) const fn startup(s: &mut State, orderly: bool) {
    let da = &mut s.perm.da;
    if da.lockout_recovery == 0 {
        da.lockout_auth_enabled = true;
    }
    if da.used && !orderly && da.recovery_time != 0 && da.failed_tries < da.max_tries {
        da.failed_tries = da.failed_tries.saturating_add(1);
        da.self_heal_timer = s.clock.clock;
    }
    da.used = false;
}

/// Clock moves forward by `ms` without time having passed.
pub(crate) const fn clock_moved(s: &mut State, ms: u64) {
    let da = &mut s.perm.da;
    da.self_heal_timer = da.self_heal_timer.saturating_add(ms);
    da.lockout_timer = da.lockout_timer.saturating_add(ms);
}
