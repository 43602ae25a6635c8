//! Protection against dictionary attacks (Part 1 §17.8).

use crate::state::State;

/// Whether authorizations that are subject to the protection are refused now (TPM_RC_LOCKOUT).
pub(crate) fn in_lockout(s: &State) -> bool {
    let _ = s;
    false
}

/// Whether lockoutAuth can be used now.
pub(crate) fn lockout_auth_usable(s: &State) -> bool {
    s.perm.da.lockout_auth_enabled
}

/// Counts a failure of an authorization that is subject to the protection, or of lockoutAuth; the record of the permanent
/// state is dirty afterwards, and is committed before the response.
pub(crate) fn failed(s: &mut State, lockout: bool) {
    let _ = (s, lockout);
}

/// Forgets failures that are old enough.
pub(crate) fn self_heal(s: &mut State) {
    let _ = s;
}

/// What TPM2_Startup does.
pub(crate) fn startup(s: &mut State, orderly: bool) {
    let _ = (s, orderly);
}
