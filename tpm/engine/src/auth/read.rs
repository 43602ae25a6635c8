//! The authorization area as it comes (Part 3 §5.5): which sessions there are, and what each is for.

use super::{AuthArea, AuthSession, can_encrypt};
use crate::codec::Reader;
use crate::command_table::{CommandInfo, DECRYPT, ENCRYPT, NO_SESSIONS};
use crate::limits::{MAX_ACTIVE_SESSIONS, MAX_AUTH, MAX_DIGEST, MAX_SESSIONS_PER_COMMAND};
use crate::rc::{Rc, Result};
use crate::state::State;
use crate::types::{Digest, SessionAttributes as A, hr, rh};

impl<'a> AuthArea<'a> {
    /// Reads the area of a command of `info`.
    ///
    /// # Errors
    /// Those of Part 3 §5.5, with the session's number where they are about one.
    pub fn read(s: &State, info: &CommandInfo, area: &'a [u8]) -> Result<AuthArea<'a>> {
        if info.has(NO_SESSIONS) {
            return Err(Rc::AUTH_CONTEXT);
        }
        let mut read = AuthArea { ..AuthArea::EMPTY };
        let mut r = Reader::new(area);
        while !r.is_empty() {
            let n = read.len;
            let number = n.saturating_add(1);
            if n >= MAX_SESSIONS_PER_COMMAND {
                return Err(Rc::SIZE.session(number));
            }
            let session = read_session(s, &mut r, n)?;
            let twice = |other: &AuthSession<'_>| other.handle == session.handle;
            if !session.is_password() && read.sessions().iter().any(twice) {
                return Err(Rc::HANDLE.session(number));
            }
            if let Some(place) = read.sessions.get_mut(n) {
                *place = session;
            }
            read.len = number;
            read.assign(s, info, n, session.attributes)
                .map_err(|rc| rc.session(number))?;
        }
        Ok(read)
    }

    /// Notes what session `n` is for.
    fn assign(&mut self, s: &State, info: &CommandInfo, n: usize, attributes: A) -> Result<()> {
        let Some(session) = self.sessions.get(n) else {
            return Err(Rc::FAILURE);
        };
        if session.is_password() {
            return Ok(());
        }
        let encrypts = |allowed: bool, earlier: Option<usize>| {
            if earlier.is_some() || !allowed {
                return Err(Rc::ATTRIBUTES);
            }
            match s.sessions.get(session.handle) {
                Some(state) if can_encrypt(state) => Ok(Some(n)),
                _ => Err(Rc::SYMMETRIC),
            }
        };
        if attributes.contains(A::DECRYPT) {
            self.decrypt = encrypts(info.has(DECRYPT), self.decrypt)?;
        }
        if attributes.contains(A::ENCRYPT) {
            self.encrypt = encrypts(info.has(ENCRYPT), self.encrypt)?;
        }
        if attributes.contains(A::AUDIT) {
            if self.audit.is_some() || hr::of(session.handle) != hr::HMAC_SESSION {
                return Err(Rc::ATTRIBUTES);
            }
            if attributes.contains(A::AUDIT_EXCLUSIVE) && s.sessions.exclusive != session.handle {
                return Err(Rc::EXCLUSIVE);
            }
            self.audit = Some((n, Digest::new()));
        } else if attributes.intersects(A::AUDIT_EXCLUSIVE | A::AUDIT_RESET) {
            return Err(Rc::ATTRIBUTES);
        }
        Ok(())
    }
}

fn read_session<'a>(s: &State, r: &mut Reader<'a>, n: usize) -> Result<AuthSession<'a>> {
    let number = n.saturating_add(1);
    let mut read = || -> Result<AuthSession<'a>> {
        let handle = r.u32()?;
        let session = matches!(hr::of(handle), hr::HMAC_SESSION | hr::POLICY_SESSION)
            && (hr::index(handle) as usize) < MAX_ACTIVE_SESSIONS;
        if !session && handle != rh::PW {
            return Err(Rc::VALUE);
        }
        Ok(AuthSession {
            handle,
            nonce_caller: r.sized_bytes(MAX_DIGEST)?,
            attributes: r.get()?,
            auth: r.sized_bytes(MAX_AUTH)?,
            ..AuthSession::EMPTY
        })
    };
    let session = read().map_err(|rc| rc.session(number))?;
    if session.is_password() {
        let special = session.attributes.difference(A::CONTINUE_SESSION);
        if !special.is_empty() {
            return Err(Rc::ATTRIBUTES.session(number));
        }
        if !session.nonce_caller.is_empty() {
            return Err(Rc::NONCE.session(number));
        }
    } else if s.sessions.get(session.handle).is_none() {
        return Err(if s.sessions.is_loaded(session.handle) {
            Rc::HANDLE.session(number)
        } else {
            Rc::REFERENCE_S0.nth(n)
        });
    }
    Ok(session)
}
