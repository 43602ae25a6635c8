//! Objects in the TPM: loaded ones, sequences, persistent ones.

pub(crate) mod checks;
pub(crate) mod create;
pub(crate) mod creation;
pub(crate) mod name;
pub(crate) mod primary;
pub(crate) mod saved;
pub(crate) mod secret;
pub(crate) mod store;
#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod tests;
pub(crate) mod wrap;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::buf::Secret;
use crate::crypto::hash::Hasher;
use crate::crypto::hmac::Hmac;
use crate::crypto::rsa;
use crate::limits::{MAX_ACTIVE_SESSIONS, MAX_AUTH, MAX_LOADED_OBJECTS};
use crate::pcr;
use crate::rc::{Rc, Result};
use crate::types::{Name, ObjectAttributes, ObjectType, Parameters, Public, Sensitive, Unique, hr};

/// An object with what is computed once when it is loaded.
#[derive(Clone)]
pub struct Object {
    /// Public area.
    pub public: Public,
    /// Sensitive area; `None`: only the public area is loaded.
    pub sensitive: Option<Sensitive>,
    /// Name.
    pub name: Name,
    /// Qualified Name.
    pub qualified_name: Name,
    /// TPM_RH of its hierarchy.
    pub hierarchy: u32,
    /// Whether it is a primary object.
    pub primary: bool,
    /// Whether it came by TPM2_LoadExternal.
    pub external: bool,
    /// Whether it, or an ancestor, has stClear: it does not outlast a TPM Reset or Restart, saved or not.
    pub st_clear: bool,
    /// An RSA private key, made ready for use.
    pub rsa: Option<rsa::PrivateKey>,
}

impl Object {
    /// The attributes.
    pub const fn attributes(&self) -> ObjectAttributes {
        self.public.attributes
    }

    /// Whether attribute `bit` is set.
    pub const fn has(&self, bit: ObjectAttributes) -> bool {
        self.public.attributes.contains(bit)
    }

    /// Whether it is a restricted decryption key, which protects others (Part 1 §20).
    const fn protects(&self) -> bool {
        self.has(ObjectAttributes::RESTRICTED.union(ObjectAttributes::DECRYPT))
            && self.public.name_alg.is_some()
    }

    /// Whether objects can be created, loaded or imported under it, and duplicated to it.
    pub fn is_storage_parent(&self) -> bool {
        self.protects() && self.public.parameters.symmetric().is_some()
    }

    /// Whether objects can be derived from it.
    pub fn is_derivation_parent(&self) -> bool {
        self.protects() && self.public.object_type() == ObjectType::KeyedHash
    }

    /// Whether it is an asymmetric storage parent, and so can open a credential (Part 3 §12.5).
    pub fn opens_credentials(&self) -> bool {
        self.protects() && self.public.object_type().is_asymmetric()
    }

    /// An object that is to be loaded under `parent`, or in `hierarchy`; its RSA key is made ready.
    ///
    /// # Errors
    /// BINDING: the RSA prime does not divide the modulus.
    pub(crate) fn assemble(
        public: Public,
        mut sensitive: Option<Sensitive>,
        parent: Ancestor<'_>,
    ) -> Result<Object> {
        if let Some(sensitive) = &mut sensitive {
            sensitive.auth.buf_mut().strip_trailing_zeros();
        }
        let name = name::of(&public);
        let alg = public.name_alg;
        let own_st_clear = public.attributes.contains(ObjectAttributes::ST_CLEAR);
        let (qualified_name, hierarchy, primary, st_clear) = match parent {
            Ancestor::Hierarchy(handle) => (
                name::qualified(alg, &handle.to_be_bytes(), &name),
                handle,
                true,
                own_st_clear,
            ),
            Ancestor::Object(parent) => (
                name::qualified(alg, &parent.qualified_name, &name),
                parent.hierarchy,
                false,
                own_st_clear || parent.st_clear,
            ),
        };
        Ok(Object {
            rsa: ready(&public, sensitive.as_ref())?,
            public,
            sensitive,
            name,
            qualified_name,
            hierarchy,
            primary,
            external: false,
            st_clear,
        })
    }

    /// Its authorization value; empty where only the public area is loaded.
    pub fn auth(&self) -> &[u8] {
        self.sensitive
            .as_ref()
            .map_or(&[], |sensitive| &sensitive.auth)
    }
}

/// What an object is under.
#[derive(Clone, Copy)]
pub(crate) enum Ancestor<'a> {
    /// A hierarchy's seed, or, for an external object, just the hierarchy.
    Hierarchy(u32),
    /// A parent.
    Object(&'a Object),
}

/// Whether `handle` is one that a session can have.
pub(crate) const fn is_session(handle: u32) -> bool {
    matches!(hr::of(handle), hr::HMAC_SESSION | hr::POLICY_SESSION)
        && (hr::index(handle) as usize) < MAX_ACTIVE_SESSIONS
}

/// The public exponent that a template's means.
pub(crate) const fn exponent(given: u32) -> u32 {
    if given == 0 { 65537 } else { given }
}

/// The RSA key of these areas, ready for use.
fn ready(public: &Public, sensitive: Option<&Sensitive>) -> Result<Option<rsa::PrivateKey>> {
    match (&public.parameters, &public.unique, sensitive) {
        (Parameters::Rsa { exponent: e, .. }, Unique::Rsa(n), Some(sensitive)) => {
            rsa::PrivateKey::from_prime(n, exponent(*e), &sensitive.secret)
                .map(Some)
                .map_err(|_| Rc::BINDING)
        }
        _ => Ok(None),
    }
}

/// A hash or HMAC over data that comes in parts (Part 3 §17).
#[derive(Clone)]
pub struct Sequence {
    /// Its authorization value.
    pub auth: Secret<MAX_AUTH>,
    /// What is computed.
    pub kind: SequenceKind,
}

/// What a sequence computes.
#[allow(
    clippy::large_enum_variant,
    reason = "held in place: nothing allocates while a command runs"
)]
#[derive(Clone)]
pub enum SequenceKind {
    /// TPM2_HashSequenceStart with an algorithm. `first` is false once data came; `ticket` says whether the data begins
    /// with something other than TPM_GENERATED_VALUE.
    Hash {
        /// So far.
        hasher: Hasher,
        /// Whether the first block is still to come.
        first: bool,
        /// Whether a ticket may be given.
        ticket: bool,
    },
    /// TPM2_HMAC_Start.
    Hmac(Hmac),
    /// TPM2_HashSequenceStart with TPM_ALG_NULL: an event, in each bank's algorithm.
    Event([Hasher; pcr::BANKS]),
}

/// What a transient handle stands for.
#[allow(
    clippy::large_enum_variant,
    reason = "a slot is as large as its largest content"
)]
#[derive(Clone)]
pub enum Slot {
    /// An object.
    Object(Object),
    /// A sequence.
    Sequence(Sequence),
}

/// Loaded and persistent objects. Transient handle 0x8000_0000 + n is slot n.
pub struct Objects {
    slots: [Option<Box<Slot>>; MAX_LOADED_OBJECTS],
    /// Persistent objects, in order of their handles; changed by persist.rs and TPM2_EvictControl only.
    pub persistent: Vec<(u32, Box<Object>)>,
}

impl Objects {
    /// Empty.
    pub const fn new() -> Self {
        Objects {
            slots: [const { None }; MAX_LOADED_OBJECTS],
            persistent: Vec::new(),
        }
    }

    fn slot(&self, handle: u32) -> Option<&Slot> {
        if hr::of(handle) != hr::TRANSIENT {
            return None;
        }
        self.slots.get(hr::index(handle) as usize)?.as_deref()
    }

    /// The object, transient or persistent, that `handle` stands for.
    pub fn get(&self, handle: u32) -> Option<&Object> {
        if hr::of(handle) == hr::PERSISTENT {
            let at = self
                .persistent
                .binary_search_by_key(&handle, |(handle, _)| *handle)
                .ok()?;
            return self.persistent.get(at).map(|(_, object)| &**object);
        }
        match self.slot(handle)? {
            Slot::Object(object) => Some(object),
            Slot::Sequence(_) => None,
        }
    }

    /// The object behind `handle` that the dispatcher has checked to exist.
    ///
    /// # Errors
    /// HANDLE: it is a sequence, or nothing; the caller says which handle.
    pub fn object(&self, handle: u32) -> Result<&Object> {
        self.get(handle).ok_or(Rc::HANDLE)
    }

    /// The sequence that `handle` stands for.
    pub fn sequence(&self, handle: u32) -> Option<&Sequence> {
        match self.slot(handle)? {
            Slot::Sequence(sequence) => Some(sequence),
            Slot::Object(_) => None,
        }
    }

    /// The sequence that `handle` stands for, to change.
    pub fn sequence_mut(&mut self, handle: u32) -> Option<&mut Sequence> {
        if hr::of(handle) != hr::TRANSIENT {
            return None;
        }
        match self
            .slots
            .get_mut(hr::index(handle) as usize)?
            .as_deref_mut()?
        {
            Slot::Sequence(sequence) => Some(sequence),
            Slot::Object(_) => None,
        }
    }

    /// What the transient `handle` stands for.
    pub fn transient(&self, handle: u32) -> Option<&Slot> {
        self.slot(handle)
    }

    /// Whether something more can be loaded.
    ///
    /// # Errors
    /// OBJECT_MEMORY.
    pub fn check_room(&self) -> Result<()> {
        if self.slots.iter().any(Option::is_none) {
            Ok(())
        } else {
            Err(Rc::OBJECT_MEMORY)
        }
    }

    /// Loads `slot` and returns its handle.
    ///
    /// # Errors
    /// OBJECT_MEMORY.
    pub fn insert(&mut self, slot: Slot) -> Result<u32> {
        let (index, place) = (0u32..)
            .zip(self.slots.iter_mut())
            .find(|(_, place)| place.is_none())
            .ok_or(Rc::OBJECT_MEMORY)?;
        *place = Some(Box::new(slot));
        Ok(hr::TRANSIENT | index)
    }

    /// Removes what is loaded under the transient `handle`. Whether there was something.
    pub fn flush(&mut self, handle: u32) -> bool {
        hr::of(handle) == hr::TRANSIENT
            && self
                .slots
                .get_mut(hr::index(handle) as usize)
                .is_some_and(|slot| slot.take().is_some())
    }

    /// Removes all transient objects for which `condition` holds; sequences count as of the null hierarchy.
    pub fn flush_where(&mut self, condition: impl Fn(&Slot) -> bool) {
        for place in &mut self.slots {
            if place.as_deref().is_some_and(&condition) {
                *place = None;
            }
        }
    }

    /// The handles of what is loaded.
    pub fn transient_handles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        (hr::TRANSIENT..)
            .zip(self.slots.iter())
            .filter(|(_, slot)| slot.is_some())
            .map(|(handle, _)| handle)
    }
}
