//! Whether a policy session authorizes a command (Part 3 §5.6, item 8).

use super::{Command, cp_hash, hmac};
use crate::buf::ct_eq;
use crate::codec::Reader;
use crate::command_table::Role;
use crate::crypto::hash::{Hasher, digest};
use crate::entity;
use crate::platform::Platform;
use crate::rc::{Rc, Result};
use crate::session::{Restriction, Session};
use crate::state::State;
use crate::types::{Digest, HashAlg, NvAttributes, cc};

/// Whether the policy of `session` is that of `entity`, and lets `command` through.
///
/// # Errors
/// PCR_CHANGED, POLICY_FAIL, EXPIRED, POLICY_CC, LOCALITY, PP.
pub(super) fn check(
    s: &State,
    platform: &mut dyn Platform,
    command: &Command<'_>,
    session: &Session,
    entity: u32,
    role: Role,
) -> Result<()> {
    let state = &session.policy;
    if state
        .pcr_counter
        .is_some_and(|counter| counter != s.reset.pcr_counter)
    {
        return Err(Rc::PCR_CHANGED);
    }
    let matches = entity::policy(s, entity)
        .is_some_and(|(hash, digest)| hash == session.hash && ct_eq(digest, &state.digest));
    if !matches {
        return Err(Rc::POLICY_FAIL);
    }
    if state.timeout != 0 && (s.clock.time > state.timeout || s.clock.epoch != state.epoch) {
        return Err(Rc::EXPIRED);
    }
    if state.command_code == 0 {
        if matches!(role, Role::Admin | Role::Dup) {
            return Err(Rc::POLICY_FAIL);
        }
    } else if state.command_code != command.info.cc {
        return Err(Rc::POLICY_CC);
    }
    if !at_locality(state.locality, command.locality) {
        return Err(Rc::LOCALITY);
    }
    if state.presence_required && !platform.physical_presence() {
        return Err(Rc::PP);
    }
    let restricted = match state.restriction {
        Restriction::None => None,
        Restriction::CpHash => Some(cp_hash(s, session.hash, command)),
        Restriction::NameHash => {
            let mut hasher = Hasher::new(session.hash);
            hmac::hash_names(s, &mut hasher, command);
            Some(hasher.finish())
        }
        Restriction::Template => Some(template_hash(session.hash, command)?),
    };
    if restricted.is_some_and(|hash| !ct_eq(&hash, &state.bound_to)) {
        return Err(Rc::POLICY_FAIL);
    }
    if let Some(written) = state.nv_written {
        let index = s.nv.get(entity).ok_or(Rc::POLICY_FAIL)?;
        if index.has(NvAttributes::WRITTEN) != written {
            return Err(Rc::POLICY_FAIL);
        }
    }
    Ok(())
}

/// Whether `locality` is one of those that TPMA_LOCALITY `allowed` names; zero names all.
fn at_locality(allowed: u8, locality: u8) -> bool {
    match (allowed, locality) {
        (0, _) => true,
        (1..32, 0..5) => allowed & 1u8.wrapping_shl(u32::from(locality)) != 0,
        (32.., 32..) => allowed == locality,
        _ => false,
    }
}

/// The hash of the template that one of the commands that create objects has.
fn template_hash(hash: HashAlg, command: &Command<'_>) -> Result<Digest> {
    if !matches!(
        command.info.cc,
        cc::CREATE | cc::CREATE_PRIMARY | cc::CREATE_LOADED
    ) {
        return Err(Rc::POLICY_FAIL);
    }
    let mut r = Reader::new(command.params);
    let read = r
        .sized_bytes(usize::from(u16::MAX))
        .and_then(|_| r.sized_bytes(usize::from(u16::MAX)));
    read.map(|template| digest(hash, &[template]))
        .map_err(|_| Rc::POLICY_FAIL)
}
