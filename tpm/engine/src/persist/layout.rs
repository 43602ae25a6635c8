//! The records byte by byte: structures as a list of their fields, each big-endian, in the order in which they stand here.
//! A change of any of this is a new [`super::FORMAT`].

use crate::buf::{Buf, Secret};
use crate::codec::{Marshal, Reader, Unmarshal, Writer};
use crate::rc::{Rc, Result};
use crate::state::{
    Authorization, ClearData, DictionaryAttack, Permanent, Policy, ResetData, Seeds, Shutdown,
    State,
};
use crate::types::HashAlg;

/// Something that is part of a record; read in place.
pub(crate) trait Field {
    fn put(&self, w: &mut Writer<'_>);
    fn take(&mut self, r: &mut Reader<'_>) -> Result<()>;
}

macro_rules! plain {
    ($($type:ty)*) => {$(
        impl Field for $type {
            fn put(&self, w: &mut Writer<'_>) {
                self.marshal(w);
            }
            fn take(&mut self, r: &mut Reader<'_>) -> Result<()> {
                *self = <$type>::unmarshal(r)?;
                Ok(())
            }
        }
    )*};
}
plain!(u8 u16 u32 u64 bool HashAlg Option<HashAlg>);

impl<const N: usize> Field for Buf<N> {
    fn put(&self, w: &mut Writer<'_>) {
        self.marshal(w);
    }
    fn take(&mut self, r: &mut Reader<'_>) -> Result<()> {
        *self = r.get()?;
        Ok(())
    }
}

impl<const N: usize> Field for Secret<N> {
    fn put(&self, w: &mut Writer<'_>) {
        self.marshal(w);
    }
    fn take(&mut self, r: &mut Reader<'_>) -> Result<()> {
        *self = r.get()?;
        Ok(())
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    fn put(&self, w: &mut Writer<'_>) {
        for item in self {
            item.put(w);
        }
    }
    fn take(&mut self, r: &mut Reader<'_>) -> Result<()> {
        self.iter_mut().try_for_each(|item| item.take(r))
    }
}

impl Field for Shutdown {
    fn put(&self, w: &mut Writer<'_>) {
        w.u8(*self as u8);
    }
    fn take(&mut self, r: &mut Reader<'_>) -> Result<()> {
        *self = match r.u8()? {
            0 => Shutdown::None,
            1 => Shutdown::Clear,
            2 => Shutdown::State,
            _ => return Err(Rc::VALUE),
        };
        Ok(())
    }
}

macro_rules! structure {
    ($type:ident: $($field:ident)*) => {
        impl Field for $type {
            fn put(&self, w: &mut Writer<'_>) {
                $(Field::put(&self.$field, w);)*
            }
            fn take(&mut self, r: &mut Reader<'_>) -> Result<()> {
                $(Field::take(&mut self.$field, r)?;)*
                Ok(())
            }
        }
    };
}

structure!(Policy: hash digest);
structure!(Authorization: auth policy);
structure!(Seeds: seed proof);
structure!(DictionaryAttack: failed_tries max_tries recovery_time lockout_recovery lockout_auth_enabled used
    self_heal_timer lockout_timer);
structure!(Permanent: derivation_version owner endorsement lockout endorsement_seeds owner_seeds platform_seeds disable_clear
    da pcr_allocated pcr_policy reset_count total_reset_count max_counter audit_hash audit_counter audit_commands
    pp_commands algorithm_set shutdown startup_locality clock clock_safe);
structure!(ResetData: null_seeds clear_count restart_count object_context_id pcr_counter audit_digest commit_counter
    commit_nonce commit_array);
structure!(ClearData: owner_enabled endorsement_enabled platform_nv_enabled platform pcr_auth);

/// The record [`super::PERMANENT`].
pub(crate) fn put_permanent(perm: &Permanent, w: &mut Writer<'_>) {
    w.u16(super::FORMAT);
    perm.put(w);
}

/// Reads it.
///
/// # Errors
/// It is not one of this version.
pub(crate) fn take_permanent(perm: &mut Permanent, r: &mut Reader<'_>) -> Result<()> {
    if r.u16()? != super::FORMAT {
        return Err(Rc::FAILURE);
    }
    perm.take(r)
}

/// The record [`super::ORDERLY`].
pub(crate) fn put_orderly(s: &State, w: &mut Writer<'_>) {
    s.reset.put(w);
    s.clear.put(w);
    s.pcr.put(w);
    s.sessions.put(w);
}

/// Reads it.
///
/// # Errors
/// It is malformed.
pub(crate) fn take_orderly(s: &mut State, r: &mut Reader<'_>) -> Result<()> {
    s.reset.take(r)?;
    s.clear.take(r)?;
    s.pcr.take(r)?;
    s.sessions.take(r)
}
