//! The authorization area of a command (Part 1 §16.6.2, Part 3 §5.5 and §5.6): which sessions it has, what each is for, and
//! whether each authorizes what it is meant to.

mod hmac;
mod policy;
mod read;
mod response;

use crate::buf::{Secret, ct_eq};
use crate::command_table::{CommandInfo, FLUSHED, Role};
use crate::limits::{MAX_AUTH, MAX_HANDLES, MAX_SESSIONS_PER_COMMAND};
use crate::platform::Platform;
use crate::rc::{Rc, Result};
use crate::session::{Session, SessionKind};
use crate::state::State;
use crate::types::{Digest, SessionAttributes as A, SymDef, cc, hr, rh};
use crate::{audit, da, entity};

pub(crate) use hmac::cp_hash;

/// Smallest authorization area: a handle, an empty nonce, attributes, an empty HMAC.
pub(crate) const SMALLEST_AREA: usize = 9;
/// Largest authorization area of a response.
pub(crate) const LARGEST_RESPONSE: usize =
    MAX_SESSIONS_PER_COMMAND * (5 + 2 * crate::limits::MAX_DIGEST);

/// The command that is being authorized.
pub(crate) struct Command<'a> {
    /// Its row of the table.
    pub info: &'static CommandInfo,
    /// Where it came from.
    pub locality: u8,
    /// Its handle area.
    pub handles: [u32; MAX_HANDLES],
    /// Its parameters as they came.
    pub params: &'a [u8],
}

impl Command<'_> {
    /// The handles that there are.
    pub fn handles(&self) -> &[u32] {
        self.handles.get(..self.info.handles.len()).unwrap_or(&[])
    }

    fn role(&self, n: usize) -> Role {
        self.info
            .handles
            .get(n)
            .map_or(Role::None, |(_, role)| *role)
    }
}

/// One session of a command.
#[derive(Clone, Copy)]
pub(crate) struct AuthSession<'a> {
    /// Its handle, or TPM_RS_PW.
    pub handle: u32,
    /// nonceCaller.
    pub nonce_caller: &'a [u8],
    /// What the session does for this command.
    pub attributes: A,
    /// The HMAC, or a password.
    pub auth: &'a [u8],
    /// What it authorizes.
    pub entity: Option<u32>,
    /// Whether the entity's authorization value is part of the HMAC's key.
    include_auth: bool,
}

impl AuthSession<'_> {
    /// Nothing.
    const EMPTY: AuthSession<'static> = AuthSession {
        handle: rh::PW,
        nonce_caller: &[],
        attributes: A::empty(),
        auth: &[],
        entity: None,
        include_auth: false,
    };

    const fn is_password(&self) -> bool {
        self.handle == rh::PW
    }
}

/// The sessions of one command.
pub(crate) struct AuthArea<'a> {
    sessions: [AuthSession<'a>; MAX_SESSIONS_PER_COMMAND],
    len: usize,
    /// Which session decrypts the first parameter.
    decrypt: Option<usize>,
    /// Which session encrypts the response's first parameter.
    encrypt: Option<usize>,
    /// Which session audits, and the cpHash that it audits.
    audit: Option<(usize, Digest)>,
    /// cpHash for command audit.
    command_audit: Option<Digest>,
    /// Authorization value of the sequence that the command ends, for the response's HMAC.
    flushed: Option<Secret<MAX_AUTH>>,
}

impl<'a> AuthArea<'a> {
    /// No sessions.
    pub const EMPTY: AuthArea<'static> = AuthArea {
        sessions: [AuthSession::EMPTY; MAX_SESSIONS_PER_COMMAND],
        len: 0,
        decrypt: None,
        encrypt: None,
        audit: None,
        command_audit: None,
        flushed: None,
    };

    /// The sessions.
    pub fn sessions(&self) -> &[AuthSession<'a>] {
        self.sessions.get(..self.len).unwrap_or(&[])
    }

    /// Checks that every handle that needs a session has one, and that every session does what it should.
    ///
    /// # Errors
    /// Those of Part 3 §5.6, with the session's number.
    pub fn authorize(
        &mut self,
        s: &mut State,
        platform: &mut dyn Platform,
        command: &Command<'_>,
    ) -> Result<()> {
        for (n, (handle, (_, role))) in command.handles.iter().zip(command.info.handles).enumerate()
        {
            if *role != Role::None {
                if n >= self.len {
                    return Err(Rc::AUTH_MISSING);
                }
                if let Some(session) = self.sessions.get_mut(n) {
                    session.entity = Some(*handle);
                }
            }
        }
        for n in 0..self.len {
            self.authorize_one(s, platform, command, n)
                .map_err(|rc| rc.session(n.saturating_add(1)))?;
        }
        if let Some((n, _)) = self.audit {
            let hash = self.state_of(s, n)?.hash;
            self.audit = Some((n, cp_hash(s, hash, command)));
        }
        if audit::is_audited(s, command.info.cc) {
            self.command_audit = Some(cp_hash(s, s.perm.audit_hash, command));
        }
        if command.info.has(FLUSHED) {
            let ended = command
                .handles()
                .iter()
                .find(|h| hr::of(**h) == hr::TRANSIENT);
            self.flushed = ended
                .map(|handle| Secret::from_slice(entity::auth_value(s, *handle)))
                .transpose()?;
        }
        Ok(())
    }

    fn get(&self, n: usize) -> Result<&AuthSession<'a>> {
        self.sessions().get(n).ok_or(Rc::FAILURE)
    }

    fn state_of<'s>(&self, s: &'s State, n: usize) -> Result<&'s Session> {
        s.sessions.get(self.get(n)?.handle).ok_or(Rc::FAILURE)
    }

    fn authorize_one(
        &mut self,
        s: &mut State,
        platform: &mut dyn Platform,
        command: &Command<'_>,
        n: usize,
    ) -> Result<()> {
        let session = *self.get(n)?;
        let Some(entity) = session.entity else {
            if session.is_password() {
                return Err(Rc::HANDLE);
            }
            self.usable(s, platform, n)?;
            if !session
                .attributes
                .intersects(A::AUDIT | A::DECRYPT | A::ENCRYPT)
            {
                return Err(Rc::ATTRIBUTES);
            }
            return self.check_hmac(s, command, n);
        };
        if !session.is_password() {
            self.usable(s, platform, n)?;
        }
        if entity == rh::PLATFORM
            && audit::bit(&s.perm.pp_commands, command.info.cc)
            && !platform.physical_presence()
        {
            return Err(Rc::PP);
        }
        let role = command.role(n);
        let (is_policy, is_password, include_auth) = if session.is_password() {
            (false, true, true)
        } else {
            let state = self.state_of(s, n)?;
            let policy = &state.policy;
            match state.kind {
                SessionKind::Hmac => (false, false, !is_bound_to(s, state, entity)),
                _ => (
                    true,
                    policy.password_needed,
                    policy.auth_value_needed || policy.password_needed,
                ),
            }
        };
        if let Some(place) = self.sessions.get_mut(n) {
            place.include_auth = include_auth;
        }
        if include_auth && !entity::da_exempt(s, entity) {
            check_lockout(s, platform, entity == rh::LOCKOUT)?;
        }
        let code = command.info.cc;
        if is_policy {
            if !entity::policy_available(s, entity, code, role) {
                return Err(Rc::AUTH_UNAVAILABLE);
            }
            if code == cc::POLICY_SECRET && !include_auth {
                // Nothing would be proved.
                return Err(Rc::MODE);
            }
            policy::check(s, platform, command, self.state_of(s, n)?, entity, role)?;
        } else if entity::policy_required(s, entity, role) {
            return Err(Rc::AUTH_TYPE);
        } else if !entity::auth_value_available(s, entity, code, role) {
            return Err(Rc::AUTH_UNAVAILABLE);
        }
        let pin = include_auth && hr::of(entity) == hr::NV_INDEX;
        if pin {
            entity::before_pin(s, platform, entity)?;
        }
        let result = if is_password {
            let given = entity::stripped(session.auth);
            if ct_eq(given, entity::auth_value(s, entity)) {
                Ok(())
            } else {
                Err(self.failed(s, n))
            }
        } else {
            self.check_hmac(s, command, n)
        };
        if pin && result.is_ok() {
            entity::after_pin(s, entity);
        }
        result
    }

    /// Checks that session `n` is one that can be used now.
    fn usable(&self, s: &mut State, platform: &mut dyn Platform, n: usize) -> Result<()> {
        let state = self.state_of(s, n)?;
        if state.kind == SessionKind::Trial {
            return Err(Rc::ATTRIBUTES);
        }
        // A session that is bound to a protected entity could be used to guess that entity's value.
        if state.da_bound {
            let lockout = state.lockout_bound;
            check_lockout(s, platform, lockout)?;
        }
        Ok(())
    }

    /// Counts a wrong password or HMAC of session `n`, and says which code that is.
    fn failed(&self, s: &mut State, n: usize) -> Rc {
        let Ok(session) = self.get(n) else {
            return Rc::FAILURE;
        };
        let exempt = session
            .entity
            .is_none_or(|entity| entity::da_exempt(s, entity));
        let mut lockout = session.entity == Some(rh::LOCKOUT);
        if let Some(state) = s.sessions.get(session.handle) {
            lockout |= state.lockout_bound;
            if !state.da_bound && (exempt || !session.include_auth) {
                return Rc::BAD_AUTH;
            }
        } else if exempt {
            return Rc::BAD_AUTH;
        }
        da::failed(s, lockout);
        Rc::AUTH_FAIL
    }
}

/// Whether `state` is bound to `entity` as it is now.
fn is_bound_to(s: &State, state: &Session, entity: u32) -> bool {
    state.bound.as_ref().is_some_and(|bound| {
        bound.name == s.name(entity) && ct_eq(&bound.auth, entity::auth_value(s, entity))
    })
}

/// # Errors
/// LOCKOUT; FAILURE where the store does not work.
fn check_lockout(s: &mut State, platform: &mut dyn Platform, lockout_auth: bool) -> Result<()> {
    let usable = if lockout_auth {
        da::lockout_auth_usable(s)
    } else {
        !da::in_lockout(s)
    };
    if !usable {
        return Err(Rc::LOCKOUT);
    }
    da::before_use(s, platform, lockout_auth)
}

/// Whether a session can encrypt parameters.
const fn can_encrypt(state: &Session) -> bool {
    !matches!(state.symmetric, SymDef::Null)
}
