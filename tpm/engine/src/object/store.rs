//! Objects and sequences as bytes, for records of the store and for saved contexts: a format of this engine's own.

use alloc::boxed::Box;

use crate::codec::{Reader, Writer};
use crate::crypto::hash::{self, HashAlg, Hasher};
use crate::crypto::hmac::{self, Hmac};
use crate::object::{Object, Sequence, SequenceKind, Slot, ready};
use crate::pcr::BANK_ALGS;
use crate::rc::{Rc, Result};
use crate::types::{Public, Sensitive};

/// Bytes that [`Object::store`] writes at most.
pub(crate) const MAX_STORED: usize = 1024;

const PRIMARY: u8 = 1;
const EXTERNAL: u8 = 2;
const ST_CLEAR: u8 = 4;
const SENSITIVE: u8 = 8;

const OBJECT: u8 = 0;
const HASH: u8 = 1;
const HMAC: u8 = 2;
const EVENT: u8 = 3;

impl Object {
    /// Writes it, sensitive area included.
    pub fn store(&self, w: &mut Writer<'_>) {
        let bit = |set, bit| if set { bit } else { 0 };
        w.u8(bit(self.primary, PRIMARY)
            | bit(self.external, EXTERNAL)
            | bit(self.st_clear, ST_CLEAR)
            | bit(self.sensitive.is_some(), SENSITIVE));
        w.u32(self.hierarchy);
        w.put(&self.public);
        w.put(&self.name);
        w.put(&self.qualified_name);
        if let Some(sensitive) = &self.sensitive {
            w.put(sensitive);
        }
    }

    /// Reads what [`Object::store`] wrote, and makes its RSA key ready.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn restore(r: &mut Reader<'_>) -> Result<Box<Object>> {
        let flags = r.u8()?;
        let hierarchy = r.u32()?;
        let public = Public::read(r, true)?;
        let (name, qualified_name) = (r.get()?, r.get()?);
        let sensitive: Option<Sensitive> = match flags & SENSITIVE {
            0 => None,
            _ => Some(r.get()?),
        };
        Ok(Box::new(Object {
            rsa: ready(&public, sensitive.as_ref())?,
            public,
            sensitive,
            name,
            qualified_name,
            hierarchy,
            primary: flags & PRIMARY != 0,
            external: flags & EXTERNAL != 0,
            st_clear: flags & ST_CLEAR != 0,
        }))
    }
}

fn put_hasher(w: &mut Writer<'_>, hasher: &Hasher) {
    let mut state = zeroize::Zeroizing::new([0; hash::MAX_SAVED_SIZE]);
    let len = hasher.save(state.as_mut());
    w.sized_bytes(state.get(..len).unwrap_or(&[]));
}

fn get_hasher(r: &mut Reader<'_>, alg: HashAlg) -> Result<Hasher> {
    Hasher::restore(alg, r.sized_bytes(hash::MAX_SAVED_SIZE)?).ok_or(Rc::SIZE)
}

/// Writes what a transient handle stands for.
pub(crate) fn put_slot(w: &mut Writer<'_>, slot: &Slot) {
    let sequence = match slot {
        Slot::Object(object) => {
            w.u8(OBJECT);
            object.store(w);
            return;
        }
        Slot::Sequence(sequence) => sequence,
    };
    match &sequence.kind {
        SequenceKind::Hash {
            hasher,
            first,
            ticket,
        } => {
            w.u8(HASH);
            w.put(&sequence.auth);
            w.put(first);
            w.put(ticket);
            w.put(&hasher.alg());
            put_hasher(w, hasher);
        }
        SequenceKind::Hmac(hmac) => {
            w.u8(HMAC);
            w.put(&sequence.auth);
            w.put(&hmac.alg());
            let mut state = zeroize::Zeroizing::new([0; hmac::MAX_SAVED_SIZE]);
            let len = hmac.save(state.as_mut());
            w.sized_bytes(state.get(..len).unwrap_or(&[]));
        }
        SequenceKind::Event(hashers) => {
            w.u8(EVENT);
            w.put(&sequence.auth);
            for hasher in hashers {
                put_hasher(w, hasher);
            }
        }
    }
}

/// Reads what [`put_slot`] wrote.
///
/// # Errors
/// The bytes are something else.
pub(crate) fn get_slot(bytes: &[u8]) -> Result<Slot> {
    let mut r = Reader::new(bytes);
    let tag = r.u8()?;
    if tag == OBJECT {
        return Object::restore(&mut r).map(|object| Slot::Object(*object));
    }
    let auth = r.get()?;
    let kind = match tag {
        HASH => {
            let (first, ticket, alg) = (r.get()?, r.get()?, r.get()?);
            SequenceKind::Hash {
                hasher: get_hasher(&mut r, alg)?,
                first,
                ticket,
            }
        }
        HMAC => {
            let alg = r.get()?;
            let state = r.sized_bytes(hmac::MAX_SAVED_SIZE)?;
            SequenceKind::Hmac(Hmac::restore(alg, state).ok_or(Rc::SIZE)?)
        }
        _ => {
            let mut hashers = BANK_ALGS.map(Hasher::new);
            for (hasher, alg) in hashers.iter_mut().zip(BANK_ALGS) {
                *hasher = get_hasher(&mut r, alg)?;
            }
            SequenceKind::Event(hashers)
        }
    };
    Ok(Slot::Sequence(Sequence { auth, kind }))
}
