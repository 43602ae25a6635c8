//! Tickets: HMACs with a hierarchy's proof value (Part 2 §10.7).

use crate::buf::{Secret, ct_eq};
use crate::crypto::hash::HashAlg;
use crate::crypto::hmac::Hmac;
use crate::limits::MAX_AUTH;
use crate::rc::{Rc, Result};
use crate::state::State;
use crate::types::Ticket;

/// The hash of tickets and contexts (TPM_PT_CONTEXT_HASH).
pub const CONTEXT_HASH: HashAlg = HashAlg::Sha512;

/// The proof value of the last ticket as a key that is set up, which is half of a ticket's work.
pub struct Key {
    proof: Secret<MAX_AUTH>,
    hmac: Hmac,
}

/// The key of `hierarchy`.
fn key(s: &State, hierarchy: u32) -> Hmac {
    let proof = &s.seeds(hierarchy).proof;
    // Nobody else borrows it; if somebody did, the key would only be set up once more.
    let Ok(mut last) = s.ticket_key.try_borrow_mut() else {
        return Hmac::new(CONTEXT_HASH, proof);
    };
    // Compared by value, so that a proof that is replaced needs no thought here.
    let same = last.take().filter(|key| ct_eq(&key.proof, proof));
    let key = same.unwrap_or_else(|| Key {
        proof: proof.clone(),
        hmac: Hmac::new(CONTEXT_HASH, proof),
    });
    last.insert(key).hmac.clone()
}

/// A ticket over `parts`. In the null hierarchy no creation, verification or hash ticket is worth anything, but it is made.
pub(crate) fn make(s: &State, tag: u16, hierarchy: u32, parts: &[&[u8]]) -> Ticket {
    let mut hmac = key(s, hierarchy);
    hmac.update(&tag.to_be_bytes());
    for part in parts {
        hmac.update(part);
    }
    Ticket {
        tag,
        hierarchy,
        digest: hmac.finish(),
    }
}

/// Whether `ticket` was made over `parts` by this TPM.
///
/// # Errors
/// TICKET.
pub(crate) fn check(s: &State, ticket: &Ticket, parts: &[&[u8]]) -> Result<()> {
    let expected = make(s, ticket.tag, ticket.hierarchy, parts);
    if s.hierarchy_enabled(ticket.hierarchy) && ct_eq(&expected.digest, &ticket.digest) {
        return Ok(());
    }
    Err(Rc::TICKET)
}
