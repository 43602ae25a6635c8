//! Who may define, read, and write an index (Part 3 §31).

use super::nt;
use crate::limits::MAX_NV_BUFFER;
use crate::rc::{Rc, Result};
use crate::state::State;
use crate::types::{NvAttributes as A, NvPublic, rh};

/// Whether `auth` may be the source of the authorization for the index `handle`, whose `attributes` let the owner and the
/// platform in by `owner` and `platform`. (Whether the index' own value or policy will do was seen with the session.)
fn source(attributes: A, auth: u32, handle: u32, owner: A, platform: A) -> Result<()> {
    let allowed = match auth {
        rh::OWNER => attributes.contains(owner),
        rh::PLATFORM => attributes.contains(platform),
        _ => auth == handle,
    };
    if allowed {
        Ok(())
    } else {
        Err(Rc::NV_AUTHORIZATION)
    }
}

/// Whether the data of index `handle` may be read with the authorization of `auth`.
///
/// # Errors
/// NV_LOCKED, NV_AUTHORIZATION, NV_UNINITIALIZED.
pub(crate) fn read_access(s: &State, auth: u32, handle: u32) -> Result<()> {
    let attributes = s.nv.get(handle).ok_or(Rc::HANDLE)?.public().attributes;
    if attributes.contains(A::READLOCKED) {
        return Err(Rc::NV_LOCKED);
    }
    source(attributes, auth, handle, A::OWNERREAD, A::PPREAD)?;
    if attributes.contains(A::WRITTEN) {
        Ok(())
    } else {
        Err(Rc::NV_UNINITIALIZED)
    }
}

/// Whether the data of index `handle` may be written with the authorization of `auth`.
///
/// # Errors
/// NV_LOCKED, NV_AUTHORIZATION.
pub(crate) fn write_access(s: &State, auth: u32, handle: u32) -> Result<()> {
    let attributes = s.nv.get(handle).ok_or(Rc::HANDLE)?.public().attributes;
    if attributes.contains(A::WRITELOCKED) {
        return Err(Rc::NV_LOCKED);
    }
    source(attributes, auth, handle, A::OWNERWRITE, A::PPWRITE)
}

/// Whether an index of `public` can be defined with the authorization of `auth`. (The policy's size was seen before.)
///
/// # Errors
/// SIZE and ATTRIBUTES; of a PLATFORMCREATE that does not fit `auth`, about handle 1 as with other implementations.
pub(crate) fn check_public(public: &NvPublic, auth: u32) -> Result<()> {
    let attributes = public.attributes;
    let kind = attributes.kind();
    let has = |bits| attributes.contains(bits);
    let any = |bits| attributes.intersects(bits);
    let size = usize::from(public.data_size);
    let fits = match kind {
        nt::ORDINARY => true,
        nt::EXTEND => size == public.name_alg.size(),
        nt::COUNTER | nt::BITS | nt::PIN_FAIL | nt::PIN_PASS => size == 8,
        _ => return Err(Rc::ATTRIBUTES),
    };
    if !fits {
        return Err(Rc::SIZE);
    }
    let suits_kind = match kind {
        nt::COUNTER => !has(A::CLEAR_STCLEAR),
        nt::PIN_FAIL | nt::PIN_PASS => {
            !any(A::AUTHWRITE | A::GLOBALLOCK | A::WRITEDEFINE)
                && (has(A::NO_DA) || kind == nt::PIN_PASS)
        }
        _ => true,
    };
    // Locked for ever once it is written, but not written after the next start: libtpms has it that one cannot have both.
    let contradictory = has(A::CLEAR_STCLEAR | A::WRITEDEFINE);
    if !suits_kind
        || contradictory
        || any(A::WRITTEN | A::READLOCKED | A::WRITELOCKED)
        || !any(A::PPREAD | A::OWNERREAD | A::AUTHREAD | A::POLICYREAD)
        || !any(A::PPWRITE | A::OWNERWRITE | A::AUTHWRITE | A::POLICYWRITE)
    {
        return Err(Rc::ATTRIBUTES);
    }
    if has(A::PLATFORMCREATE) != (auth == rh::PLATFORM) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    if has(A::POLICY_DELETE) && auth != rh::PLATFORM {
        return Err(Rc::ATTRIBUTES);
    }
    if has(A::WRITEALL) && size > MAX_NV_BUFFER {
        return Err(Rc::SIZE);
    }
    Ok(())
}
