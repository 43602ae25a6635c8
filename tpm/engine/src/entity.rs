//! What a handle stands for, as far as authorization is concerned: whether it is there, its authorization value, its policy
//! (Part 3 §5.4, §5.6).

use crate::command_table::{HandleKind, Role};
use crate::limits::{MAX_ACTIVE_SESSIONS, MAX_LOADED_OBJECTS, PCR_COUNT};
use crate::nv::{NvIndex, nt};
use crate::object::Slot;
use crate::platform::Platform;
use crate::rc::{Rc, Result};
use crate::state::{Policy, State};
use crate::types::{Digest, HashAlg, NvAttributes, ObjectAttributes, cc, hr, rh};
use crate::{pcr, persist, startup};

/// Whether a command whose table says `kind` takes `handle` at all.
pub(crate) const fn is_kind(kind: HandleKind, handle: u32) -> bool {
    use HandleKind as K;
    let index = hr::index(handle) as usize;
    let transient = hr::of(handle) == hr::TRANSIENT && index < MAX_LOADED_OBJECTS;
    let object = transient || hr::of(handle) == hr::PERSISTENT;
    let session = index < MAX_ACTIVE_SESSIONS;
    let pcr = hr::of(handle) == hr::PCR && index < PCR_COUNT;
    let nv = hr::of(handle) == hr::NV_INDEX;
    let null = handle == rh::NULL;
    let base = matches!(handle, rh::OWNER | rh::ENDORSEMENT | rh::PLATFORM);
    let entity = object || pcr || nv || base || handle == rh::LOCKOUT;
    match kind {
        K::Object => object,
        K::ObjectOrNull => object || null,
        K::Parent => object || base || null,
        K::Hierarchy => base || null,
        K::BaseHierarchy => base,
        K::HierarchyAuth => base || handle == rh::LOCKOUT,
        K::Provision => matches!(handle, rh::OWNER | rh::PLATFORM),
        K::Clear => matches!(handle, rh::LOCKOUT | rh::PLATFORM),
        K::Platform => handle == rh::PLATFORM,
        K::Endorsement => handle == rh::ENDORSEMENT,
        K::Lockout => handle == rh::LOCKOUT,
        K::Pcr => pcr,
        K::PcrOrNull => pcr || null,
        K::NvIndex => nv,
        K::NvAuth => nv || matches!(handle, rh::OWNER | rh::PLATFORM),
        K::Entity => entity,
        K::EntityOrNull => entity || null,
        K::Policy => hr::of(handle) == hr::POLICY_SESSION && session,
        K::HmacSession => hr::of(handle) == hr::HMAC_SESSION && session,
        K::Saveable => {
            transient || matches!(hr::of(handle), hr::HMAC_SESSION | hr::POLICY_SESSION) && session
        }
    }
}

/// Whether what `handle`, handle `n` of a command from 0, stands for is in the TPM and usable.
///
/// # Errors
/// REFERENCE_H0 + n, HANDLE, HIERARCHY.
pub(crate) fn check(s: &State, handle: u32, n: usize) -> Result<()> {
    let present = match hr::of(handle) {
        hr::TRANSIENT => return there(s.objects.transient(handle).is_some(), n),
        hr::HMAC_SESSION | hr::POLICY_SESSION => {
            return if s.sessions.get(handle).is_none() && s.sessions.is_loaded(handle) {
                // Under this number there is one of the other kind.
                Err(Rc::HANDLE)
            } else {
                there(s.sessions.get(handle).is_some(), n)
            };
        }
        hr::PERSISTENT => {
            let owner = if handle < hr::PLATFORM_PERSISTENT {
                rh::OWNER
            } else {
                rh::PLATFORM
            };
            s.hierarchy_enabled(owner)
                && s.objects
                    .get(handle)
                    .is_some_and(|object| s.hierarchy_enabled(object.hierarchy))
        }
        hr::NV_INDEX => s.nv.get(handle).is_some_and(|index| {
            if index.has(NvAttributes::PLATFORMCREATE) {
                s.clear.platform_nv_enabled
            } else {
                s.clear.owner_enabled
            }
        }),
        hr::PERMANENT => {
            let enabled = match handle {
                rh::OWNER | rh::ENDORSEMENT | rh::PLATFORM => s.hierarchy_enabled(handle),
                rh::PLATFORM_NV => s.clear.platform_nv_enabled,
                _ => true,
            };
            return if enabled { Ok(()) } else { Err(Rc::HIERARCHY) };
        }
        _ => true,
    };
    if present { Ok(()) } else { Err(Rc::HANDLE) }
}

const fn there(present: bool, n: usize) -> Result<()> {
    if present {
        Ok(())
    } else {
        Err(Rc::REFERENCE_H0.nth(n))
    }
}

/// Without the zeros at its end (Part 1 §16.6.4.3).
pub(crate) fn stripped(auth: &[u8]) -> &[u8] {
    let len = auth
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last.saturating_add(1));
    auth.get(..len).unwrap_or(&[])
}

/// The authorization value of `handle`; empty where there is none.
pub(crate) fn auth_value(s: &State, handle: u32) -> &[u8] {
    stripped(match hr::of(handle) {
        hr::PERMANENT => s
            .authorization(handle)
            .map_or(&[], |authorization| authorization.auth.as_slice()),
        hr::TRANSIENT => match s.objects.transient(handle) {
            Some(Slot::Object(object)) => object.auth(),
            Some(Slot::Sequence(sequence)) => &sequence.auth,
            None => &[],
        },
        hr::PERSISTENT => s.objects.get(handle).map_or(&[], |object| object.auth()),
        hr::NV_INDEX => s.nv.get(handle).map_or(&[], |index| index.auth.as_slice()),
        hr::PCR if pcr::in_group(handle as usize) => &s.clear.pcr_auth,
        _ => &[],
    })
}

/// The policy of `handle`: its digest and the hash it was made with.
pub(crate) fn policy(s: &State, handle: u32) -> Option<(HashAlg, &[u8])> {
    let (hash, digest) = match hr::of(handle) {
        hr::PERMANENT => of_policy(&s.authorization(handle)?.policy)?,
        hr::TRANSIENT | hr::PERSISTENT => {
            let public = &s.objects.get(handle)?.public;
            (public.name_alg?, &public.auth_policy)
        }
        hr::NV_INDEX => {
            let public = s.nv.get(handle)?.public();
            (public.name_alg, &public.auth_policy)
        }
        hr::PCR if pcr::in_group(handle as usize) => of_policy(&s.perm.pcr_policy)?,
        _ => return None,
    };
    (!digest.is_empty()).then_some((hash, digest.as_slice()))
}

fn of_policy(policy: &Policy) -> Option<(HashAlg, &Digest)> {
    Some((policy.hash?, &policy.digest))
}

/// Whether authorizations with the index' value are counted in it.
pub(crate) const fn is_pin(index: &NvIndex) -> bool {
    matches!(index.kind(), nt::PIN_FAIL | nt::PIN_PASS)
}

/// Whether failures of its authorization value do not count as a dictionary attack.
pub(crate) fn da_exempt(s: &State, handle: u32) -> bool {
    match hr::of(handle) {
        hr::PERMANENT => handle != rh::LOCKOUT,
        hr::TRANSIENT | hr::PERSISTENT => s
            .objects
            .get(handle)
            .is_none_or(|object| object.has(ObjectAttributes::NO_DA)),
        hr::NV_INDEX => {
            s.nv.get(handle)
                .is_none_or(|index| index.has(NvAttributes::NO_DA))
        }
        _ => true,
    }
}

/// Whether `command` changes the data of an NV index, so that its write attributes rule its authorization.
const fn writes_nv(command: u32) -> bool {
    matches!(
        command,
        cc::NV_WRITE | cc::NV_INCREMENT | cc::NV_SET_BITS | cc::NV_EXTEND | cc::NV_WRITE_LOCK
    )
}

/// Whether the authorization value of `handle` may authorize `command` in `role`.
pub(crate) fn auth_value_available(s: &State, handle: u32, command: u32, role: Role) -> bool {
    match hr::of(handle) {
        hr::PERMANENT => s.authorization(handle).is_some() || handle == rh::NULL,
        hr::TRANSIENT if s.objects.sequence(handle).is_some() => true,
        hr::TRANSIENT | hr::PERSISTENT => s.objects.get(handle).is_some_and(|object| {
            object.sensitive.is_some()
                && (object.has(ObjectAttributes::USER_WITH_AUTH) || role == Role::Admin)
        }),
        hr::NV_INDEX => s.nv.get(handle).is_some_and(|index| {
            if writes_nv(command) {
                index.has(NvAttributes::AUTHWRITE)
            } else if is_pin(index) {
                // Part 1 §34.2.6.6: as long as it was not used too often.
                pin(s, handle).is_some_and(|(count, limit)| count < limit)
            } else {
                index.has(NvAttributes::AUTHREAD)
            }
        }),
        hr::PCR => true,
        _ => false,
    }
}

/// Whether a policy may authorize `command` on `handle`.
pub(crate) fn policy_available(s: &State, handle: u32, command: u32, role: Role) -> bool {
    match hr::of(handle) {
        // The policy of an object may be empty: no session's digest is then.
        hr::TRANSIENT | hr::PERSISTENT => s.objects.get(handle).is_some(),
        hr::NV_INDEX => s.nv.get(handle).is_some_and(|index| {
            !index.public().auth_policy.is_empty()
                && (policy_required(s, handle, role)
                    || index.has(if writes_nv(command) {
                        NvAttributes::POLICYWRITE
                    } else {
                        NvAttributes::POLICYREAD
                    }))
        }),
        hr::PCR => pcr::in_group(handle as usize),
        _ => policy(s, handle).is_some(),
    }
}

/// Whether only a policy can authorize in `role` on `handle`.
pub(crate) fn policy_required(s: &State, handle: u32, role: Role) -> bool {
    match role {
        Role::Dup => true,
        Role::Admin if s.objects.sequence(handle).is_some() => false,
        Role::Admin => s
            .objects
            .get(handle)
            .is_none_or(|object| object.has(ObjectAttributes::ADMIN_WITH_POLICY)),
        _ => hr::of(handle) == hr::PCR && policy(s, handle).is_some(),
    }
}

/// pinCount and pinLimit of a PIN index that is written.
pub(crate) fn pin(s: &State, handle: u32) -> Option<(u32, u32)> {
    let (count, rest) = s.nv.data(handle)?.split_first_chunk()?;
    let limit = rest.first_chunk()?;
    Some((u32::from_be_bytes(*count), u32::from_be_bytes(*limit)))
}

/// Before a look at the authorization value of an index: a PIN Fail index counts a failure (Part 1 §34.2.6.6), and the store knows
/// it, so that making the store fail does not help to guess.
///
/// # Errors
/// AUTH_UNAVAILABLE: it was used too often, or is not written; FAILURE: the store does not work.
pub(crate) fn before_pin(s: &mut State, platform: &mut dyn Platform, handle: u32) -> Result<()> {
    if !s.nv.get(handle).is_some_and(is_pin) {
        return Ok(());
    }
    let (count, limit) = pin(s, handle).ok_or(Rc::AUTH_UNAVAILABLE)?;
    if count >= limit {
        return Err(Rc::AUTH_UNAVAILABLE);
    }
    if s.nv.get(handle).map(NvIndex::kind) != Some(nt::PIN_FAIL) {
        return Ok(());
    }
    set_pin(s, handle, count.saturating_add(1));
    persist::commit(s, platform)
}

/// The authorization value of an index was right: a PIN Pass index counts that, a PIN Fail index forgets its failures.
pub(crate) fn after_pin(s: &mut State, handle: u32) {
    let kind = s.nv.get(handle).map(NvIndex::kind);
    match (kind, pin(s, handle)) {
        (Some(nt::PIN_PASS), Some((count, _))) => set_pin(s, handle, count.saturating_add(1)),
        (Some(nt::PIN_FAIL), Some(_)) => set_pin(s, handle, 0),
        _ => {}
    }
}

fn set_pin(s: &mut State, handle: u32, count: u32) {
    if let Some(index) = s.nv.get_mut(handle) {
        index.write(0, &count.to_be_bytes(), &mut s.dirty);
    }
    // The command may still fail, but of an orderly index what a shutdown wrote is not true any more.
    startup::not_orderly(s);
}

/// Gives the Name of `handle` (Part 1 §16) to `each`.
pub(crate) fn with_name(s: &State, handle: u32, each: impl FnOnce(&[u8])) {
    match hr::of(handle) {
        hr::TRANSIENT | hr::PERSISTENT => {
            each(s.objects.get(handle).map_or(&[], |object| &object.name));
        }
        hr::NV_INDEX => each(&s.nv.name(handle).unwrap_or_default()),
        _ => each(&handle.to_be_bytes()),
    }
}
