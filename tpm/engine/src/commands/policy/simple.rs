//! Assertions that need nothing but their parameters.

use super::{extend, is_trial, read_digest, reset, restrict, session, session_mut};
use crate::command_table;
use crate::context::Context;
use crate::crypto::hash::digest;
use crate::limits::MAX_NAME;
use crate::rc::{Rc, Result};
use crate::session::{Restriction, Session};
use crate::types::{DigestList, cc};

/// TPM2_PolicyOR.
pub(crate) fn policy_or(cx: &mut Context<'_>) -> Result<()> {
    let list: DigestList = cx.params.get()?;
    cx.params.end()?;
    let session = session_mut(cx, 0)?;
    let digests = list.as_slice();
    if !is_trial(session) && !digests.contains(&session.policy.digest) {
        return Err(Rc::VALUE.param(1));
    }
    reset(session);
    let mut hasher = crate::crypto::hash::Hasher::new(session.hash);
    hasher.update(&session.policy.digest);
    hasher.update(&cc::POLICY_OR.to_be_bytes());
    for digest in digests {
        hasher.update(digest);
    }
    session.policy.digest = hasher.finish();
    Ok(())
}

/// Localities above this one are extended ones: a number, not a set.
const LAST_SET: u8 = 31;
/// Localities 0 to 4.
const ALL_LOCALITIES: u8 = 0x1F;

/// TPM2_PolicyLocality.
pub(crate) fn policy_locality(cx: &mut Context<'_>) -> Result<()> {
    let locality: u8 = cx.params.get()?;
    cx.params.end()?;
    let session = session_mut(cx, 0)?;
    let old = match session.policy.locality {
        0 => None,
        set => Some(set),
    };
    let new = if locality > LAST_SET {
        if old.is_some_and(|old| old != locality) {
            return Err(Rc::RANGE.param(1));
        }
        locality
    } else {
        let old = old.unwrap_or(ALL_LOCALITIES);
        if old > LAST_SET || old & locality == 0 {
            return Err(Rc::RANGE.param(1));
        }
        old & locality
    };
    extend(session, cc::POLICY_LOCALITY, &[&[locality]]);
    session.policy.locality = new;
    Ok(())
}

/// TPM2_PolicyCommandCode.
pub(crate) fn policy_command_code(cx: &mut Context<'_>) -> Result<()> {
    let code: u32 = cx.params.get()?;
    cx.params.end()?;
    let session = session_mut(cx, 0)?;
    if session.policy.command_code != 0 && session.policy.command_code != code {
        return Err(Rc::VALUE.param(1));
    }
    if command_table::find(code).is_none() {
        return Err(Rc::POLICY_CC.param(1));
    }
    extend(session, cc::POLICY_COMMAND_CODE, &[&code.to_be_bytes()]);
    session.policy.command_code = code;
    Ok(())
}

/// TPM2_PolicyPhysicalPresence.
pub(crate) fn policy_physical_presence(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let session = session_mut(cx, 0)?;
    extend(session, cc::POLICY_PHYSICAL_PRESENCE, &[]);
    session.policy.presence_required = true;
    Ok(())
}

/// TPM2_PolicyAuthValue.
pub(crate) fn policy_auth_value(cx: &mut Context<'_>) -> Result<()> {
    needs_auth(cx, false)
}

/// TPM2_PolicyPassword: the same digest, so that the policy does not say how the value is proved.
pub(crate) fn policy_password(cx: &mut Context<'_>) -> Result<()> {
    needs_auth(cx, true)
}

fn needs_auth(cx: &mut Context<'_>, password: bool) -> Result<()> {
    cx.params.end()?;
    let session = session_mut(cx, 0)?;
    extend(session, cc::POLICY_AUTH_VALUE, &[]);
    session.policy.password_needed = password;
    session.policy.auth_value_needed = !password;
    Ok(())
}

/// Whether `hash` is as long as a digest of the session.
fn check_size(session: &Session, hash: &[u8]) -> Result<()> {
    if hash.len() == session.hash.size() {
        Ok(())
    } else {
        Err(Rc::SIZE.param(1))
    }
}

/// Whether the session may be restricted to `hash`: it is not yet, or to the same already.
fn check_free(session: &Session, restriction: Restriction, hash: &[u8]) -> Result<()> {
    let policy = &session.policy;
    let same = policy.restriction == restriction && policy.bound_to == *hash;
    if policy.restriction == Restriction::None || same {
        Ok(())
    } else {
        Err(Rc::CPHASH)
    }
}

/// TPM2_PolicyCpHash.
pub(crate) fn policy_cp_hash(cx: &mut Context<'_>) -> Result<()> {
    let hash = read_digest(cx)?;
    cx.params.end()?;
    let session = session_mut(cx, 0)?;
    check_size(session, hash)?;
    check_free(session, Restriction::CpHash, hash)?;
    extend(session, cc::POLICY_CP_HASH, &[hash]);
    restrict(session, Restriction::CpHash, hash)
}

/// TPM2_PolicyTemplate.
pub(crate) fn policy_template(cx: &mut Context<'_>) -> Result<()> {
    let hash = read_digest(cx)?;
    cx.params.end()?;
    let session = session_mut(cx, 0)?;
    let policy = &session.policy;
    if policy.restriction == Restriction::Template && policy.bound_to != *hash {
        return Err(Rc::VALUE.param(1));
    }
    check_free(session, Restriction::Template, hash)?;
    check_size(session, hash)?;
    extend(session, cc::POLICY_TEMPLATE, &[hash]);
    restrict(session, Restriction::Template, hash)
}

/// TPM2_PolicyNameHash.
pub(crate) fn policy_name_hash(cx: &mut Context<'_>) -> Result<()> {
    let hash = read_digest(cx)?;
    cx.params.end()?;
    let session = session_mut(cx, 0)?;
    check_size(session, hash)?;
    if session.policy.restriction != Restriction::None {
        return Err(Rc::CPHASH);
    }
    extend(session, cc::POLICY_NAME_HASH, &[hash]);
    restrict(session, Restriction::NameHash, hash)
}

/// TPM2_PolicyDuplicationSelect.
pub(crate) fn policy_duplication_select(cx: &mut Context<'_>) -> Result<()> {
    let object = cx.params.with(|r| r.sized_bytes(MAX_NAME))?;
    let parent = cx.params.with(|r| r.sized_bytes(MAX_NAME))?;
    let include: bool = cx.params.get()?;
    cx.params.end()?;
    let session = session_mut(cx, 0)?;
    if session.policy.restriction != Restriction::None {
        return Err(Rc::CPHASH);
    }
    if session.policy.command_code != 0 {
        return Err(Rc::COMMAND_CODE);
    }
    let hash = digest(session.hash, &[object, parent]);
    let included = if include { object } else { &[] };
    let parts: [&[u8]; 3] = [included, parent, &[u8::from(include)]];
    extend(session, cc::POLICY_DUPLICATION_SELECT, &parts);
    session.policy.command_code = cc::DUPLICATE;
    restrict(session, Restriction::NameHash, &hash)
}

/// TPM2_PolicyNvWritten.
pub(crate) fn policy_nv_written(cx: &mut Context<'_>) -> Result<()> {
    let written: bool = cx.params.get()?;
    cx.params.end()?;
    let session = session_mut(cx, 0)?;
    if session.policy.nv_written.is_some_and(|old| old != written) {
        return Err(Rc::VALUE.param(1));
    }
    extend(session, cc::POLICY_NV_WRITTEN, &[&[u8::from(written)]]);
    session.policy.nv_written = Some(written);
    Ok(())
}

/// TPM2_PolicyGetDigest.
pub(crate) fn policy_get_digest(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let digest = session(cx, 0)?.policy.digest.clone();
    cx.out.put(&digest);
    Ok(())
}
