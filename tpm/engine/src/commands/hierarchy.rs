//! Part 3 §24: hierarchies. (TPM2_CreatePrimary is in `primary`.)

use crate::buf::Secret;
use crate::context::Context;
use crate::limits::MAX_AUTH;
use crate::object::Slot;
use crate::persist::{new_secret, new_seeds};
use crate::rc::{Rc, Result};
use crate::state::{Authorization, DictionaryAttack, Policy, State};
use crate::types::{Digest, HashAlg, NvAttributes, rh};

/// Removes what is loaded of `hierarchy`.
fn flush(s: &mut State, hierarchy: u32) {
    s.objects
        .flush_where(|slot| matches!(slot, Slot::Object(object) if object.hierarchy == hierarchy));
}

/// Removes what is loaded or persistent of `hierarchy`.
fn flush_and_evict(s: &mut State, hierarchy: u32) {
    flush(s, hierarchy);
    let dirty = &mut s.dirty;
    s.objects.persistent.retain(|(handle, object)| {
        let stays = object.hierarchy != hierarchy;
        if !stays {
            dirty.mark(*handle);
        }
        stays
    });
}

/// TPM2_HierarchyControl.
pub(crate) fn hierarchy_control(cx: &mut Context<'_>) -> Result<()> {
    // TPMI_RH_ENABLES.
    let which = cx.params.with(|r| match r.u32()? {
        which @ (rh::OWNER | rh::ENDORSEMENT | rh::PLATFORM | rh::PLATFORM_NV) => Ok(which),
        _ => Err(Rc::VALUE),
    })?;
    let enable: bool = cx.params.get()?;
    cx.params.end()?;
    let by = cx.handle(0);
    // That a hierarchy, which is enabled if it authorizes, enables itself changes nothing.
    let own = matches!(which, rh::OWNER | rh::ENDORSEMENT) && by == which;
    if by != rh::PLATFORM && !own {
        return Err(Rc::AUTH_TYPE);
    }
    let s = &mut *cx.s;
    let enabled = match which {
        rh::OWNER => &mut s.clear.owner_enabled,
        rh::ENDORSEMENT => &mut s.clear.endorsement_enabled,
        rh::PLATFORM => &mut s.platform_enabled,
        _ => &mut s.clear.platform_nv_enabled,
    };
    let changes = *enabled != enable;
    *enabled = enable;
    if changes && !enable {
        flush(s, which);
    }
    Ok(())
}

/// TPM2_SetPrimaryPolicy.
pub(crate) fn set_primary_policy(cx: &mut Context<'_>) -> Result<()> {
    let digest: Digest = cx.params.get()?;
    let hash: Option<HashAlg> = cx.params.get()?;
    cx.params.end()?;
    if digest.len() != hash.map_or(0, HashAlg::size) {
        return Err(Rc::SIZE.param(1));
    }
    let handle = cx.handle(0);
    let authorization = cx.s.authorization_mut(handle);
    authorization.ok_or(Rc::VALUE.handle(1))?.policy = Policy { hash, digest };
    changed(cx);
    Ok(())
}

/// TPM2_HierarchyChangeAuth.
pub(crate) fn hierarchy_change_auth(cx: &mut Context<'_>) -> Result<()> {
    let mut auth: Secret<MAX_AUTH> = cx.params.get()?;
    cx.params.end()?;
    auth.buf_mut().strip_trailing_zeros();
    let handle = cx.handle(0);
    let authorization = cx.s.authorization_mut(handle);
    authorization.ok_or(Rc::VALUE.handle(1))?.auth = auth;
    changed(cx);
    Ok(())
}

/// Authorization value or policy of handle 0 changed. The platform's are not in the permanent state.
fn changed(cx: &mut Context<'_>) {
    if cx.handle(0) != rh::PLATFORM {
        cx.s.dirty.permanent();
    }
}

/// TPM2_ChangePPS.
pub(crate) fn change_pps(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    cx.rng()?;
    let s = &mut *cx.s;
    new_seeds(&mut s.perm.platform_seeds, &mut s.drbg);
    s.clear.platform.policy = Policy::NONE;
    s.perm.pcr_policy = Policy::NONE;
    flush_and_evict(s, rh::PLATFORM);
    s.dirty.permanent();
    Ok(())
}

/// TPM2_ChangeEPS.
pub(crate) fn change_eps(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    cx.rng()?;
    let s = &mut *cx.s;
    new_seeds(&mut s.perm.endorsement_seeds, &mut s.drbg);
    s.clear.endorsement_enabled = true;
    s.perm.endorsement = Authorization::EMPTY;
    flush_and_evict(s, rh::ENDORSEMENT);
    s.dirty.permanent();
    Ok(())
}

/// TPM2_Clear.
pub(crate) fn clear(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    if cx.s.perm.disable_clear {
        return Err(Rc::DISABLED);
    }
    cx.rng()?;
    let s = &mut *cx.s;
    new_seeds(&mut s.perm.owner_seeds, &mut s.drbg);
    new_secret(&mut s.perm.endorsement_seeds.proof, &mut s.drbg);
    s.clear.owner_enabled = true;
    s.clear.endorsement_enabled = true;
    s.perm.owner = Authorization::EMPTY;
    s.perm.endorsement = Authorization::EMPTY;
    s.perm.lockout = Authorization::EMPTY;
    flush_and_evict(s, rh::OWNER);
    flush_and_evict(s, rh::ENDORSEMENT);
    s.nv.remove_where(
        |index| !index.has(NvAttributes::PLATFORMCREATE),
        &mut s.perm.max_counter,
        &mut s.dirty,
    );
    s.perm.da = DictionaryAttack {
        used: s.perm.da.used,
        ..DictionaryAttack::DEFAULT
    };
    s.perm.reset_count = 0;
    s.reset.restart_count = 0;
    s.perm.audit_counter = 0;
    s.clock.clock = 0;
    s.perm.clock = 0;
    s.perm.clock_safe = true;
    s.reset.pcr_counter = s.reset.pcr_counter.wrapping_add(1);
    s.dirty.permanent();
    Ok(())
}

/// TPM2_ClearControl.
pub(crate) fn clear_control(cx: &mut Context<'_>) -> Result<()> {
    let disable: bool = cx.params.get()?;
    cx.params.end()?;
    if cx.handle(0) == rh::LOCKOUT && !disable {
        return Err(Rc::AUTH_FAIL);
    }
    cx.s.perm.disable_clear = disable;
    cx.s.dirty.permanent();
    Ok(())
}
