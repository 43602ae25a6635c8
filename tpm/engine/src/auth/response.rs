//! The authorization area of a response: new nonces, encryption, audit, HMACs, the end of sessions (Part 3 §5.9).

use super::{AuthArea, hmac};
use crate::audit;
use crate::codec::Writer;
use crate::command_table::{CommandInfo, NO_SESSIONS};
use crate::context::rng;
use crate::platform::Platform;
use crate::rc::{Rc, Result};
use crate::session::{PolicyState, SessionKind};
use crate::state::State;
use crate::types::{Digest, HashAlg, SessionAttributes as A, hr};

/// rpHash, computed when it is first needed, and again only for another algorithm.
pub(crate) struct RpHash<'a> {
    cc: u32,
    params: &'a [u8],
    known: Option<(HashAlg, Digest)>,
}

impl RpHash<'_> {
    pub(super) fn get(&mut self, hash: HashAlg) -> &Digest {
        if self.known.as_ref().is_some_and(|(alg, _)| *alg != hash) {
            self.known = None;
        }
        &self
            .known
            .get_or_insert_with(|| (hash, hmac::rp_hash(hash, self.cc, self.params)))
            .1
    }
}

impl AuthArea<'_> {
    /// Makes new nonces, encrypts the first of the response's parameters, audits. What it changes belongs to a command that
    /// succeeded.
    pub fn finish<'p>(
        &self,
        s: &mut State,
        platform: &mut dyn Platform,
        info: &CommandInfo,
        params: &'p mut [u8],
    ) -> Result<RpHash<'p>> {
        for session in self.sessions() {
            if !session.is_password() {
                rng(s, platform)?;
                let state = s.sessions.get_mut(session.handle).ok_or(Rc::FAILURE)?;
                s.drbg.generate(state.nonce_tpm.as_mut_slice());
            }
        }
        self.encrypt(s, params)?;
        let mut rp = RpHash {
            cc: info.cc,
            params,
            known: None,
        };
        self.audit_session(s, info, &mut rp)?;
        let hash = s.perm.audit_hash;
        // A command that changes the algorithm is not audited (Part 3 §21.1).
        if let Some(cp) = self
            .command_audit
            .as_ref()
            .filter(|cp| cp.len() == hash.size())
        {
            audit::extend(s, cp, rp.get(hash));
        }
        Ok(rp)
    }

    /// Extends the audit session's digest, and keeps track of which session is exclusive (Part 1 §17.2).
    fn audit_session(&self, s: &mut State, info: &CommandInfo, rp: &mut RpHash<'_>) -> Result<()> {
        let Some((n, cp)) = &self.audit else {
            if !info.has(NO_SESSIONS) {
                s.sessions.exclusive = 0;
            }
            return Ok(());
        };
        let session = self.get(*n)?;
        let state = s.sessions.get_mut(session.handle).ok_or(Rc::FAILURE)?;
        let hash = state.hash;
        let fresh = state.audit.is_none() || session.attributes.contains(A::AUDIT_RESET);
        let old = match &state.audit {
            Some(digest) if !fresh => digest.clone(),
            _ => Digest::zeroed(hash.size()),
        };
        // Part 1 §17.1: a session that audits is bound no longer.
        state.bound = None;
        state.audit = Some(crate::crypto::hash::digest(hash, &[&old, cp, rp.get(hash)]));
        if fresh {
            s.sessions.exclusive = session.handle;
        } else if s.sessions.exclusive != session.handle {
            s.sessions.exclusive = 0;
        }
        Ok(())
    }

    /// Writes the area, and ends the sessions that are to end.
    pub fn respond(&self, s: &mut State, rp: &mut RpHash<'_>, w: &mut Writer<'_>) -> Result<()> {
        for (n, session) in self.sessions().iter().enumerate() {
            let Some(state) = s.sessions.get(session.handle) else {
                // A password: no nonce, no HMAC.
                w.bytes(&[0, 0, A::CONTINUE_SESSION.bits(), 0, 0]);
                continue;
            };
            let mut attributes = session.attributes;
            attributes.remove(A::AUDIT_RESET);
            attributes.set(
                A::AUDIT_EXCLUSIVE,
                attributes.contains(A::AUDIT) && s.sessions.exclusive == session.handle,
            );
            let hmac = self.response_hmac(s, n, attributes.bits(), rp)?;
            w.put(&state.nonce_tpm);
            w.put(&attributes);
            w.put(&hmac);
        }
        for session in self.sessions() {
            if session.attributes.contains(A::CONTINUE_SESSION) {
                if hr::of(session.handle) == hr::POLICY_SESSION {
                    restart_policy(s, session.handle);
                }
            } else {
                s.sessions.flush(session.handle);
            }
        }
        Ok(())
    }
}

/// A policy has been used, or TPM2_PolicyRestart came: the session is as it was when it began, with its nonce as it is now.
pub(crate) fn restart_policy(s: &mut State, handle: u32) {
    let (time, epoch) = (s.clock.time, s.clock.epoch);
    if let Some(state) = s.sessions.get_mut(handle)
        && state.kind != SessionKind::Hmac
    {
        state.policy = PolicyState::new(state.hash, time, epoch);
    }
}
