//! A session as bytes: the inside of a saved context.

use super::{Bound, PolicyState, Restriction, Session, SessionKind};
use crate::codec::{Reader, Writer};
use crate::rc::{Rc, Result};

impl Session {
    /// Writes it.
    pub fn write(&self, w: &mut Writer<'_>) {
        w.u8(match self.kind {
            SessionKind::Hmac => 0,
            SessionKind::Policy => 1,
            SessionKind::Trial => 3,
        });
        w.put(&self.hash);
        w.put(&self.symmetric);
        w.put(&self.key);
        w.put(&self.nonce_tpm);
        w.put(&self.bound.is_some());
        if let Some(bound) = &self.bound {
            w.put(&bound.name);
            w.put(&bound.auth);
        }
        w.put(&self.da_bound);
        w.put(&self.lockout_bound);
        w.put(&self.audit.is_some());
        if let Some(audit) = &self.audit {
            w.put(audit);
        }
        if self.kind == SessionKind::Hmac {
            return;
        }
        let policy = &self.policy;
        w.put(&policy.digest);
        w.u32(policy.command_code);
        w.u8(match policy.restriction {
            Restriction::None => 0,
            Restriction::CpHash => 1,
            Restriction::NameHash => 2,
            Restriction::Template => 3,
        });
        w.put(&policy.bound_to);
        w.u8(policy.locality);
        w.u64(policy.start);
        w.u32(policy.epoch);
        w.u64(policy.timeout);
        w.put(&policy.pcr_counter.is_some());
        w.u32(policy.pcr_counter.unwrap_or(0));
        w.put(&policy.auth_value_needed);
        w.put(&policy.password_needed);
        w.put(&policy.presence_required);
        w.u8(match policy.nv_written {
            None => 0,
            Some(false) => 1,
            Some(true) => 2,
        });
    }

    /// What [`Session::write`] wrote.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Session> {
        let mut session = Session {
            kind: match r.u8()? {
                0 => SessionKind::Hmac,
                1 => SessionKind::Policy,
                3 => SessionKind::Trial,
                _ => return Err(Rc::VALUE),
            },
            hash: r.get()?,
            symmetric: r.get()?,
            key: r.get()?,
            nonce_tpm: r.get()?,
            bound: if r.get()? {
                Some(Bound {
                    name: r.get()?,
                    auth: r.get()?,
                })
            } else {
                None
            },
            da_bound: r.get()?,
            lockout_bound: r.get()?,
            audit: if r.get()? { Some(r.get()?) } else { None },
            policy: PolicyState::default(),
        };
        if session.kind != SessionKind::Hmac {
            session.policy = PolicyState {
                digest: r.get()?,
                command_code: r.u32()?,
                restriction: match r.u8()? {
                    0 => Restriction::None,
                    1 => Restriction::CpHash,
                    2 => Restriction::NameHash,
                    3 => Restriction::Template,
                    _ => return Err(Rc::VALUE),
                },
                bound_to: r.get()?,
                locality: r.u8()?,
                start: r.u64()?,
                epoch: r.u32()?,
                timeout: r.u64()?,
                pcr_counter: {
                    let some: bool = r.get()?;
                    let counter = r.u32()?;
                    some.then_some(counter)
                },
                auth_value_needed: r.get()?,
                password_needed: r.get()?,
                presence_required: r.get()?,
                nv_written: match r.u8()? {
                    0 => None,
                    1 => Some(false),
                    2 => Some(true),
                    _ => return Err(Rc::VALUE),
                },
            };
        }
        Ok(session)
    }
}
