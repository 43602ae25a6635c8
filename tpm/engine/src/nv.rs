//! NV indices (Part 1 §34.2).

use alloc::vec::Vec;

use crate::buf::Secret;
use crate::codec::{Reader, Writer, build};
use crate::crypto::hash;
use crate::limits::{MAX_AUTH, MAX_NV_INDICES};
use crate::rc::{Rc, Result};
use crate::types::{Name, NvAttributes, NvPublic};

/// An NV index.
pub struct NvIndex {
    /// Public area; changed through [`NvIndex::set`] and [`NvIndex::unset`], which keep the Name.
    public: NvPublic,
    /// Authorization value, without zeros at its end.
    pub auth: Secret<MAX_AUTH>,
    /// As many bytes as the public area says; only meaningful once they are written.
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

    /// Whether attribute `bit` is set.
    pub const fn has(&self, bit: NvAttributes) -> bool {
        self.public.attributes.contains(bit)
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

    /// Adds `index`.
    ///
    /// # Errors
    /// NV_DEFINED: there is one of this handle; NV_SPACE.
    pub fn insert(&mut self, index: NvIndex) -> Result<()> {
        let Err(at) = self.find(index.public.index) else {
            return Err(Rc::NV_DEFINED);
        };
        if self.list.len() >= MAX_NV_INDICES {
            return Err(Rc::NV_SPACE);
        }
        self.list.try_reserve(1).map_err(|_| Rc::NV_SPACE)?;
        self.list.insert(at, index);
        Ok(())
    }

    /// The Name of index `handle`.
    pub fn name(&self, handle: u32) -> Option<Name> {
        self.get(handle).map(|index| index.name.clone())
    }

    /// The handles of all indices in rising order, for TPM2_GetCapability.
    pub fn handles(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        self.list.iter().map(|index| index.public.index)
    }

    /// How many of them are counters.
    pub fn counters(&self) -> usize {
        self.list
            .iter()
            .filter(|index| index.public.attributes.kind() == 1)
            .count()
    }

    /// The data of index `handle`, if they are written.
    pub fn data(&self, handle: u32) -> Option<&[u8]> {
        self.get(handle)
            .filter(|index| index.has(NvAttributes::WRITTEN))
            .map(|index| index.data.as_slice())
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
        self.list.iter().all(|index| {
            index.loaded || index.has(NvAttributes::ORDERLY) || !index.has(NvAttributes::WRITTEN)
        })
    }
}

impl NvStore {
    /// What TPM2_Startup does.
    pub fn startup(
        &mut self,
        _kind: crate::pcr::StartupKind,
        _orderly: bool,
        _dirty: &mut crate::persist::Dirty,
    ) {
    }

    /// What TPM2_Shutdown does.
    pub fn shutdown(&mut self, _dirty: &mut crate::persist::Dirty) {}
}
