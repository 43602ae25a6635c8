//! Tickets: HMACs with a hierarchy's proof value (Part 2 §10.7).

use crate::buf::ct_eq;
use crate::crypto::hash::HashAlg;
use crate::crypto::hmac::hmac;
use crate::rc::{Rc, Result};
use crate::state::State;
use crate::types::Ticket;

/// The hash of tickets and contexts (TPM_PT_CONTEXT_HASH).
pub const CONTEXT_HASH: HashAlg = HashAlg::Sha512;

/// A ticket over `parts`. In the null hierarchy no creation, verification or hash ticket is worth anything, but it is made.
pub(crate) fn make(s: &State, tag: u16, hierarchy: u32, parts: &[&[u8]]) -> Ticket {
    let mut all: [&[u8]; 8] = [&[]; 8];
    let tag_bytes = tag.to_be_bytes();
    for (place, part) in all
        .iter_mut()
        .zip(core::iter::once(&tag_bytes[..]).chain(parts.iter().copied()))
    {
        *place = part;
    }
    Ticket {
        tag,
        hierarchy,
        digest: hmac(CONTEXT_HASH, s.proof(hierarchy), &all),
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
