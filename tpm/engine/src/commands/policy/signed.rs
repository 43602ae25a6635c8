//! Assertions by somebody else: by a signature, by a secret, by the ticket of an earlier one (Part 3 §23.2).

use super::{is_trial, read_digest, restrict, session, session_mut, update};
use crate::codec::Reader;
use crate::context::Context;
use crate::crypto::hash::digest;
use crate::limits::MAX_NAME;
use crate::nv::nt;
use crate::rc::{Rc, Result};
use crate::session::{Restriction, Session};
use crate::signing;
use crate::state::State;
use crate::ticket;
use crate::types::{Signature, Ticket, cc, hr, rh, st};

/// Of a ticket's timeout: it is no longer good after a TPM Reset, because it was not given for one session.
const UNTIL_RESET: u64 = 1 << 63;

/// The parameters that both commands have.
struct Assertion<'a> {
    nonce_tpm: &'a [u8],
    cp_hash: &'a [u8],
    policy_ref: &'a [u8],
    expiration: i32,
}

/// Which parameters are at fault.
struct Numbers {
    cp_hash: usize,
    timeout: usize,
}

impl<'a> Assertion<'a> {
    fn read(cx: &mut Context<'a>) -> Result<Assertion<'a>> {
        Ok(Assertion {
            nonce_tpm: read_digest(cx)?,
            cp_hash: read_digest(cx)?,
            policy_ref: read_digest(cx)?,
            expiration: i32::from_be_bytes(cx.params.get::<u32>()?.to_be_bytes()),
        })
    }

    /// When it expires: seconds from the session's beginning where it is for this session, else from power on. Zero: never.
    fn timeout(&self, session: &Session) -> u64 {
        let ms = u64::from(self.expiration.unsigned_abs()).saturating_mul(1000);
        match (ms, self.nonce_tpm.is_empty()) {
            (0, _) | (_, true) => ms,
            (_, false) => session.policy.start.saturating_add(ms),
        }
    }

    /// Part 3 §23.2.2. Returns the timeout.
    fn check(&self, s: &State, session: &Session) -> Result<u64> {
        if !self.nonce_tpm.is_empty() && session.nonce_tpm != *self.nonce_tpm {
            return Err(Rc::NONCE.param(1));
        }
        let timeout = self.timeout(session);
        let numbers = Numbers {
            cp_hash: 2,
            timeout: 4,
        };
        check(s, session, timeout, self.cp_hash, &numbers)?;
        Ok(timeout)
    }

    /// The response: timeout and ticket where the caller wants them.
    fn respond(&self, cx: &mut Context<'_>, tag: u16, authority: u32, timeout: Option<u64>) {
        let Some(timeout) = timeout.filter(|_| self.expiration < 0) else {
            cx.out.sized_bytes(&[]);
            cx.out.put(&Ticket::null(tag));
            return;
        };
        let timeout = if self.nonce_tpm.is_empty() {
            timeout | UNTIL_RESET
        } else {
            timeout
        };
        let name = cx.s.name(authority);
        let ticket = make_ticket(
            cx.s,
            tag,
            hierarchy_of(cx.s, authority),
            timeout,
            [self.cp_hash, self.policy_ref, &name],
        );
        cx.out.sized_bytes(&timeout.to_be_bytes());
        cx.out.put(&ticket);
    }
}

fn check(
    s: &State,
    session: &Session,
    timeout: u64,
    cp_hash: &[u8],
    numbers: &Numbers,
) -> Result<()> {
    let policy = &session.policy;
    if timeout != 0 && (timeout < s.clock.time || policy.epoch != s.clock.epoch) {
        return Err(Rc::EXPIRED.param(numbers.timeout));
    }
    if !cp_hash.is_empty() {
        if cp_hash.len() != session.hash.size() {
            return Err(Rc::SIZE.param(numbers.cp_hash));
        }
        if policy.restriction != Restriction::None && policy.bound_to != *cp_hash {
            return Err(Rc::CPHASH);
        }
    }
    Ok(())
}

/// Part 3 §23.2.3 and §23.2.4.
fn apply(
    session: &mut Session,
    code: u32,
    name: &[u8],
    policy_ref: &[u8],
    cp_hash: &[u8],
    timeout: u64,
) -> Result<()> {
    update(session, code, name, policy_ref);
    if !cp_hash.is_empty() {
        restrict(session, Restriction::CpHash, cp_hash)?;
    }
    let old = session.policy.timeout;
    if timeout != 0 && (old == 0 || timeout < old) {
        session.policy.timeout = timeout;
    }
    Ok(())
}

/// The ticket of Part 3 §23.2.5. The lengths of its parts are in it, so that no two sets of parts look the same.
fn make_ticket(s: &State, tag: u16, hierarchy: u32, timeout: u64, parts: [&[u8]; 3]) -> Ticket {
    let [cp_hash, policy_ref, name] = parts;
    let lengths = [
        cp_hash.len() as u8,
        policy_ref.len() as u8,
        name.len() as u8,
    ];
    let epoch = s.clock.epoch.to_be_bytes();
    let resets = s.perm.total_reset_count.to_be_bytes();
    let until_reset = timeout & UNTIL_RESET != 0;
    ticket::make(
        s,
        tag,
        hierarchy,
        &[
            &lengths,
            cp_hash,
            policy_ref,
            name,
            &timeout.to_be_bytes(),
            if timeout & !UNTIL_RESET == 0 {
                &[]
            } else {
                &epoch
            },
            if until_reset { &resets } else { &[] },
        ],
    )
}

/// The hierarchy whose proof makes tickets of `authority`.
fn hierarchy_of(s: &State, authority: u32) -> u32 {
    match hr::of(authority) {
        hr::PERMANENT => match authority {
            rh::PLATFORM | rh::ENDORSEMENT | rh::NULL => authority,
            // Lockout is the owner's.
            _ => rh::OWNER,
        },
        hr::TRANSIENT | hr::PERSISTENT => s
            .objects
            .get(authority)
            .map_or(rh::NULL, |object| object.hierarchy),
        hr::NV_INDEX => {
            let platform = crate::types::NvAttributes::PLATFORMCREATE;
            match s.nv.get(authority) {
                Some(index) if index.has(platform) => rh::PLATFORM,
                _ => rh::OWNER,
            }
        }
        _ => rh::OWNER,
    }
}

/// TPM2_PolicySigned.
pub(crate) fn policy_signed(cx: &mut Context<'_>) -> Result<()> {
    let assertion = Assertion::read(cx)?;
    let signature: Signature = cx.params.get()?;
    cx.params.end()?;
    let key = cx.handle(0);
    let session = session(cx, 1)?;
    let timeout = if is_trial(session) {
        None
    } else {
        let timeout = assertion.check(cx.s, session)?;
        let hash = signature.hash().ok_or(Rc::SCHEME.param(5))?;
        let signed = digest(
            hash,
            &[
                assertion.nonce_tpm,
                &assertion.expiration.to_be_bytes(),
                assertion.cp_hash,
                assertion.policy_ref,
            ],
        );
        let object = cx.s.objects.get(key).ok_or(Rc::KEY.handle(1))?;
        signing::verify(object, &signed, &signature).map_err(|rc| rc.param(5))?;
        Some(timeout)
    };
    finish(cx, &assertion, cc::POLICY_SIGNED, timeout)?;
    assertion.respond(cx, st::AUTH_SIGNED, key, timeout);
    Ok(())
}

/// Extends the policy of the session in handle 1 by the authority in handle 0.
fn finish(
    cx: &mut Context<'_>,
    assertion: &Assertion<'_>,
    code: u32,
    timeout: Option<u64>,
) -> Result<()> {
    let name = cx.s.name(cx.handle(0));
    apply(
        session_mut(cx, 1)?,
        code,
        &name,
        assertion.policy_ref,
        assertion.cp_hash,
        timeout.unwrap_or(0),
    )
}

/// TPM2_PolicySecret: the authorization of handle 0 is the assertion.
pub(crate) fn policy_secret(cx: &mut Context<'_>) -> Result<()> {
    let assertion = Assertion::read(cx)?;
    cx.params.end()?;
    let session = session(cx, 1)?;
    let timeout = if is_trial(session) {
        None
    } else {
        Some(assertion.check(cx.s, session)?)
    };
    finish(cx, &assertion, cc::POLICY_SECRET, timeout)?;
    let authority = cx.handle(0);
    // A ticket would be a way around the limit of a PIN Pass index.
    let pin_pass =
        cx.s.nv
            .get(authority)
            .is_some_and(|index| index.kind() == nt::PIN_PASS);
    let timeout = timeout.filter(|_| !pin_pass);
    assertion.respond(cx, st::AUTH_SECRET, authority, timeout);
    Ok(())
}

/// TPM2_PolicyTicket.
pub(crate) fn policy_ticket(cx: &mut Context<'_>) -> Result<()> {
    let timeout = cx.params.with(|r| r.sized_bytes(8))?;
    let cp_hash = read_digest(cx)?;
    let policy_ref = read_digest(cx)?;
    let name = cx.params.with(|r| r.sized_bytes(MAX_NAME))?;
    let ticket = cx.params.with(Ticket::auth)?;
    cx.params.end()?;
    let session = session(cx, 0)?;
    if is_trial(session) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let timeout = Reader::new(timeout).u64().map_err(|_| Rc::SIZE.param(1))?;
    let expires = timeout & !UNTIL_RESET;
    let numbers = Numbers {
        cp_hash: 2,
        timeout: 1,
    };
    check(cx.s, session, expires, cp_hash, &numbers)?;
    let parts = [cp_hash, policy_ref, name];
    let expected = make_ticket(cx.s, ticket.tag, ticket.hierarchy, timeout, parts);
    if !crate::buf::ct_eq(&expected.digest, &ticket.digest) {
        return Err(Rc::TICKET.param(5));
    }
    let code = if ticket.tag == st::AUTH_SECRET {
        cc::POLICY_SECRET
    } else {
        cc::POLICY_SIGNED
    };
    let session = session_mut(cx, 0)?;
    apply(session, code, name, policy_ref, cp_hash, expires)
}
