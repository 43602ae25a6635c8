//! Creation data and its ticket (Part 1 §24.8; Part 2 §15).

use crate::buf::Buf;
use crate::codec::{Marshal, Writer, build};
use crate::crypto::hash::{self, HashAlg};
use crate::limits::MAX_DATA;
use crate::object::{Ancestor, name};
use crate::rc::Result;
use crate::state::State;
use crate::ticket;
use crate::types::{Digest, Name, PcrSelections, Ticket, st};

/// Longest TPMS_CREATION_DATA.
const MAX_CREATION: usize = 448;

/// TPM2B_CREATION_DATA, its hash and the ticket.
pub(crate) struct Creation {
    data: Buf<MAX_CREATION>,
    hash: Digest,
    ticket: Ticket,
}

impl Marshal for Creation {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.put(&self.data);
        w.put(&self.hash);
        w.put(&self.ticket);
    }
}

/// TPMA_LOCALITY of a locality.
pub(crate) const fn locality_attribute(locality: u8) -> u8 {
    match locality {
        0..=4 => 1 << locality,
        other => other,
    }
}

/// Describes the environment in which the object `object`, whose Name has the algorithm `alg`, is created now.
///
/// # Errors
/// None for inputs within their bounds.
pub(crate) fn describe(
    s: &State,
    locality: u8,
    parent: Ancestor<'_>,
    (alg, object): (HashAlg, &Name),
    outside: &Buf<MAX_DATA>,
    mut pcrs: PcrSelections,
) -> Result<Creation> {
    s.pcr.filter(&mut pcrs);
    let digest = s.pcr.composite(alg, &pcrs);
    let (parent_alg, parent_name, qualified, hierarchy) = match parent {
        Ancestor::Hierarchy(handle) => {
            let name = name::of_handle(handle);
            (None, name.clone(), name, handle)
        }
        Ancestor::Object(parent) => (
            parent.public.name_alg,
            parent.name.clone(),
            parent.qualified_name.clone(),
            parent.hierarchy,
        ),
    };
    let data: Buf<MAX_CREATION> = build(|w| {
        w.put(&pcrs);
        w.put(&digest);
        w.u8(locality_attribute(locality));
        w.put(&parent_alg);
        w.put(&parent_name);
        w.put(&qualified);
        w.put(outside);
    })?;
    let hash = hash::digest(alg, &[&data]);
    let ticket = ticket::make(s, st::CREATION, hierarchy, &[object, &hash]);
    Ok(Creation { data, hash, ticket })
}
