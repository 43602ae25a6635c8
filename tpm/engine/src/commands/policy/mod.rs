//! Part 3 §23: policies. What an assertion adds to a policy's digest, and what it leaves in the session to be checked when the
//! policy is used.

mod authorize;
mod conditions;
mod signed;
mod simple;

pub(crate) use authorize::{policy_authorize, policy_authorize_nv};
pub(crate) use conditions::{policy_counter_timer, policy_nv, policy_pcr};
pub(crate) use signed::{policy_secret, policy_signed, policy_ticket};
pub(crate) use simple::{
    policy_auth_value, policy_command_code, policy_cp_hash, policy_duplication_select,
    policy_get_digest, policy_locality, policy_name_hash, policy_nv_written, policy_or,
    policy_password, policy_physical_presence, policy_template,
};

use crate::context::Context;
use crate::crypto::hash::digest;
use crate::limits::MAX_DIGEST;
use crate::rc::{Rc, Result};
use crate::session::{Restriction, Session, SessionKind};
use crate::types::Digest;

/// The policy session in the command's handle `n`.
fn session<'a>(cx: &'a Context<'_>, n: usize) -> Result<&'a Session> {
    cx.s.sessions.get(cx.handle(n)).ok_or(Rc::HANDLE)
}

/// The same, to change.
fn session_mut<'a>(cx: &'a mut Context<'_>, n: usize) -> Result<&'a mut Session> {
    let handle = cx.handle(n);
    cx.s.sessions.get_mut(handle).ok_or(Rc::HANDLE)
}

fn is_trial(session: &Session) -> bool {
    session.kind == SessionKind::Trial
}

/// policyDigest becomes the digest of itself, `code` and `parts`.
fn extend(session: &mut Session, code: u32, parts: &[&[u8]]) {
    let mut all: [&[u8]; 6] = [&[]; 6];
    let code = code.to_be_bytes();
    let old = session.policy.digest.clone();
    let head: [&[u8]; 2] = [&old, &code];
    for (place, part) in all.iter_mut().zip(head.iter().chain(parts)) {
        *place = part;
    }
    session.policy.digest = digest(session.hash, &all);
}

/// policyDigest becomes zero.
fn reset(session: &mut Session) {
    session.policy.digest = Digest::zeroed(session.hash.size());
}

/// PolicyUpdate() of Part 3 §23.2.3.
fn update(session: &mut Session, code: u32, name: &[u8], policy_ref: &[u8]) {
    extend(session, code, &[name]);
    session.policy.digest = digest(session.hash, &[&session.policy.digest, policy_ref]);
}

/// Binds the policy to a hash.
fn restrict(session: &mut Session, restriction: Restriction, hash: &[u8]) -> Result<()> {
    session.policy.restriction = restriction;
    session.policy.bound_to = Digest::from_slice(hash)?;
    Ok(())
}

/// A digest among the parameters.
fn read_digest<'a>(cx: &mut Context<'a>) -> Result<&'a [u8]> {
    cx.params.with(|r| r.sized_bytes(MAX_DIGEST))
}
