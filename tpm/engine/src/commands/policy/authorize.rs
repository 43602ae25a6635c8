//! Assertions that put another policy in the place of the one so far.

use super::{extend, is_trial, read_digest, reset, session, session_mut, update};
use crate::codec::Reader;
use crate::context::Context;
use crate::crypto::hash::digest;
use crate::limits::MAX_NAME;
use crate::nv;
use crate::rc::{Rc, Result};
use crate::ticket;
use crate::types::{HashAlg, HashValue, Ticket, cc, st};

/// TPM2_PolicyAuthorize.
pub(crate) fn policy_authorize(cx: &mut Context<'_>) -> Result<()> {
    let approved = read_digest(cx)?;
    let policy_ref = read_digest(cx)?;
    let key = cx.params.with(|r| r.sized_bytes(MAX_NAME))?;
    let ticket = cx.params.with(|r| Ticket::read(r, &[st::VERIFIED]))?;
    cx.params.end()?;
    let hash: HashAlg = Reader::new(key).get().map_err(|_| Rc::HASH.param(3))?;
    if key.len() != hash.size().saturating_add(2) {
        return Err(Rc::SIZE.param(3));
    }
    let session = session(cx, 0)?;
    if !is_trial(session) {
        if session.policy.digest != *approved {
            return Err(Rc::VALUE.param(1));
        }
        let signed = digest(hash, &[approved, policy_ref]);
        ticket::check(cx.s, &ticket, &[&signed, key]).map_err(|_| Rc::VALUE.param(4))?;
    }
    let session = session_mut(cx, 0)?;
    reset(session);
    update(session, cc::POLICY_AUTHORIZE, key, policy_ref);
    Ok(())
}

/// TPM2_PolicyAuthorizeNV.
pub(crate) fn policy_authorize_nv(cx: &mut Context<'_>) -> Result<()> {
    cx.params.end()?;
    let index = cx.handle(1);
    let session = session(cx, 2)?;
    if !is_trial(session) {
        nv::read_access(cx.s, cx.handle(0), index)?;
        let data = cx.s.nv.data(index).ok_or(Rc::NV_UNINITIALIZED)?;
        let approved: HashValue = Reader::new(data).get()?;
        if approved.hash != session.hash {
            return Err(Rc::HASH);
        }
        if approved.digest != session.policy.digest {
            return Err(Rc::VALUE);
        }
    }
    let name = cx.s.name(index);
    let session = session_mut(cx, 2)?;
    reset(session);
    extend(session, cc::POLICY_AUTHORIZE_NV, &[&name]);
    Ok(())
}
