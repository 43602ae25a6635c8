//! NV indices (Part 1 §34.2): what there is, and how it changes.
//!
//! Every change notes which records of the store differ then; data of an orderly index are in RAM only until a shutdown.

mod access;
mod startup;

use alloc::vec::Vec;

use zeroize::Zeroize;

use crate::buf::Secret;
use crate::codec::{Reader, Writer, build};
use crate::crypto::hash;
use crate::limits::{MAX_AUTH, MAX_NV_INDICES, MAX_NV_ORDERLY, MAX_NV_TOTAL};
use crate::persist::{Dirty, nv_data_key};
use crate::rc::{Rc, Result};
use crate::types::{Name, NvAttributes, NvPublic};

pub(crate) use access::{check_public, read_access, write_access};

/// TPM_NT: the types of indices.
pub mod nt {
    #![allow(missing_docs, reason = "the names are the specification's")]
    pub const ORDINARY: u32 = 0;
    pub const COUNTER: u32 = 1;
    pub const BITS: u32 = 2;
    pub const EXTEND: u32 = 4;
    pub const PIN_FAIL: u32 = 8;
    pub const PIN_PASS: u32 = 9;
}

/// An NV index.
pub struct NvIndex {
    /// Public area. Whoever changes it keeps the Name.
    public: NvPublic,
    /// Authorization value, without zeros at its end.
    pub auth: Secret<MAX_AUTH>,
    /// As many bytes as the public area says; zero as long as they are not written.
    data: Vec<u8>,
    name: Name,
    /// Whether `data` came from the store.
    loaded: bool,
}

/// All NV indices.
pub struct NvStore {
    /// In order of their handles.
    list: Vec<NvIndex>,
}

impl NvIndex {
    /// A new one.
    ///
    /// # Errors
    /// NV_SPACE: no memory.
    pub fn new(public: NvPublic, auth: Secret<MAX_AUTH>) -> Result<NvIndex> {
        let mut data = Vec::new();
        let size = usize::from(public.data_size);
        data.try_reserve_exact(size).map_err(|_| Rc::NV_SPACE)?;
        data.resize(size, 0);
        let mut index = NvIndex {
            public,
            auth,
            data,
            name: Name::new(),
            loaded: false,
        };
        index.rename();
        Ok(index)
    }

    /// The public area.
    pub const fn public(&self) -> &NvPublic {
        &self.public
    }

    /// The Name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Its type: one of [`nt`].
    pub const fn kind(&self) -> u32 {
        self.public.attributes.kind()
    }

    /// Whether attribute `bit` is set.
    pub const fn has(&self, bit: NvAttributes) -> bool {
        self.public.attributes.contains(bit)
    }

    /// The data, if they are written.
    pub fn data(&self) -> Option<&[u8]> {
        self.has(NvAttributes::WRITTEN)
            .then_some(self.data.as_slice())
    }

    /// The data as a number, of a counter or bit field that is written.
    pub fn number(&self) -> Option<u64> {
        self.data()?
            .first_chunk()
            .map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Sets or clears attribute bits. A bit of the public area is part of the Name.
    pub fn mark(&mut self, bits: NvAttributes, set: bool, dirty: &mut Dirty) {
        let mut attributes = self.public.attributes;
        attributes.set(bits, set);
        if attributes != self.public.attributes {
            self.public.attributes = attributes;
            self.rename();
            dirty.mark(self.public.index);
        }
    }

    /// Writes `bytes` at `offset`, which must fit. The first time, what is around them becomes all ones in an ordinary index, zero in
    /// one of another type (the specification leaves that open for the former).
    pub fn write(&mut self, offset: usize, bytes: &[u8], dirty: &mut Dirty) {
        let end = offset.saturating_add(bytes.len());
        let first = !self.has(NvAttributes::WRITTEN);
        if first && self.kind() == nt::ORDINARY && !self.has(NvAttributes::ORDERLY) {
            self.data.fill(0xFF);
        }
        let Some(place) = self.data.get_mut(offset..end) else {
            return;
        };
        if !first && place == bytes {
            return;
        }
        place.copy_from_slice(bytes);
        self.mark(NvAttributes::WRITTEN, true, dirty);
        // Of an orderly index only counters are in the store, and those only each time they come to a round number.
        let stored = !self.has(NvAttributes::ORDERLY)
            || self.kind() == nt::COUNTER
                && (first || self.number().is_some_and(startup::is_round));
        if stored {
            dirty.mark(nv_data_key(self.public.index));
        }
    }

    /// Makes the data unwritten.
    fn clear(&mut self, dirty: &mut Dirty) {
        if self.has(NvAttributes::WRITTEN) {
            self.data.as_mut_slice().zeroize();
            self.mark(NvAttributes::WRITTEN, false, dirty);
            dirty.mark(nv_data_key(self.public.index));
        }
    }

    fn rename(&mut self) {
        let alg = self.public.name_alg;
        let digest = build::<{ 14 + 64 }>(|w| w.put(&self.public))
            .map(|public| hash::digest(alg, &[&public]))
            .unwrap_or_default();
        self.name = build(|w| {
            w.put(&alg);
            w.bytes(&digest);
        })
        .unwrap_or_default();
    }

    /// Writes the record: public area and authorization value.
    pub fn store(&self, w: &mut Writer<'_>) {
        w.sized(|w| w.put(&self.public));
        w.put(&self.auth);
    }

    /// Reads the record `key`.
    ///
    /// # Errors
    /// It is malformed.
    pub fn restore(key: u32, r: &mut Reader<'_>) -> Result<NvIndex> {
        let public: NvPublic = r.get()?;
        if public.index != key {
            return Err(Rc::VALUE);
        }
        NvIndex::new(public, r.get()?)
    }
}

impl Drop for NvIndex {
    fn drop(&mut self) {
        self.data.zeroize();
    }
}

impl NvStore {
    /// None.
    pub const fn new() -> NvStore {
        NvStore { list: Vec::new() }
    }

    fn find(&self, handle: u32) -> Result<usize, usize> {
        self.list
            .binary_search_by_key(&handle, |index| index.public.index)
    }

    /// The index `handle`.
    pub fn get(&self, handle: u32) -> Option<&NvIndex> {
        self.list.get(self.find(handle).ok()?)
    }

    /// The index `handle`, to change.
    pub fn get_mut(&mut self, handle: u32) -> Option<&mut NvIndex> {
        let at = self.find(handle).ok()?;
        self.list.get_mut(at)
    }

    /// All of them, in order of their handles.
    pub fn iter(&self) -> impl Iterator<Item = &NvIndex> {
        self.list.iter()
    }

    /// All of them, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut NvIndex> {
        self.list.iter_mut()
    }

    /// The handles of all indices in rising order, for TPM2_GetCapability.
    pub fn handles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.list.iter().map(|index| index.public.index)
    }

    /// How many of them are counters.
    pub fn counters(&self) -> usize {
        self.iter()
            .filter(|index| index.kind() == nt::COUNTER)
            .count()
    }

    /// Whether there is room for an index of `public`.
    ///
    /// # Errors
    /// NV_SPACE.
    pub fn check_room(&self, public: &NvPublic) -> Result<()> {
        let sum = |of: fn(&NvIndex) -> bool| {
            self.iter()
                .filter(|index| of(index))
                .map(|index| index.data.len())
                .fold(usize::from(public.data_size), usize::saturating_add)
        };
        let orderly = public.attributes.contains(NvAttributes::ORDERLY);
        if self.list.len() >= MAX_NV_INDICES
            || sum(|_| true) > MAX_NV_TOTAL
            || orderly && sum(|index| index.has(NvAttributes::ORDERLY)) > MAX_NV_ORDERLY
        {
            return Err(Rc::NV_SPACE);
        }
        Ok(())
    }

    /// Adds `index`.
    ///
    /// # Errors
    /// NV_DEFINED: there is one of this handle; NV_SPACE.
    pub fn insert(&mut self, index: NvIndex) -> Result<()> {
        let Err(at) = self.find(index.public.index) else {
            return Err(Rc::NV_DEFINED);
        };
        self.check_room(&index.public)?;
        self.list.try_reserve(1).map_err(|_| Rc::NV_SPACE)?;
        self.list.insert(at, index);
        Ok(())
    }

    /// Removes all indices for which `condition` holds. `max_counter` becomes the greatest value that any counter among them
    /// had, if it is greater: a counter that is defined later starts above it.
    pub fn remove_where(
        &mut self,
        condition: impl Fn(&NvIndex) -> bool,
        max_counter: &mut u64,
        dirty: &mut Dirty,
    ) {
        self.list.retain(|index| {
            let gone = condition(index);
            if gone {
                dirty.mark(index.public.index);
                dirty.mark(nv_data_key(index.public.index));
                let last = index.number().filter(|_| index.kind() == nt::COUNTER);
                if let Some(last) = last.filter(|last| *last > *max_counter) {
                    *max_counter = last;
                    dirty.permanent();
                }
            }
            !gone
        });
    }

    /// The Name of index `handle`.
    pub fn name(&self, handle: u32) -> Option<Name> {
        self.get(handle).map(|index| index.name.clone())
    }

    /// The data of index `handle`, if they are written.
    pub fn data(&self, handle: u32) -> Option<&[u8]> {
        self.get(handle)?.data()
    }

    /// Reads the record of the data of index `handle`.
    ///
    /// # Errors
    /// There is no such index, or its data have another size.
    pub fn load_data(&mut self, handle: u32, r: &mut Reader<'_>) -> Result<()> {
        let index = self.get_mut(handle).ok_or(Rc::VALUE)?;
        let bytes = r.bytes(index.data.len())?;
        index.data.copy_from_slice(bytes);
        index.loaded = true;
        Ok(())
    }

    /// Whether all data that the store must have came from it.
    pub fn is_whole(&self) -> bool {
        self.iter().all(|index| {
            index.loaded
                || !index.has(NvAttributes::WRITTEN)
                || index.has(NvAttributes::ORDERLY) && index.kind() != nt::COUNTER
        })
    }
}
