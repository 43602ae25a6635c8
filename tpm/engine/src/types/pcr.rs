//! TPML_PCR_SELECTION (Part 2 §10.6.2, §10.9.7).

use super::HashAlg;
use crate::codec::{Marshal, Reader, Unmarshal, Writer};
use crate::limits::{HASH_COUNT, PCR_COUNT, PCR_SELECT};
use crate::rc::{Rc, Result};

/// TPMS_PCR_SELECTION: PCRs of one bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcrSelection {
    /// The bank.
    pub hash: HashAlg,
    /// Octets that the caller sent, and gets back: at most three.
    pub octets: u8,
    /// Bit n is PCR n.
    pub bits: u32,
}

impl PcrSelection {
    /// Whether PCR `index` is selected.
    pub const fn has(&self, index: usize) -> bool {
        index < PCR_COUNT && (self.bits >> (index & 31)) & 1 != 0
    }

    /// The selected PCRs in rising order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..PCR_COUNT).filter(|index| self.has(*index))
    }
}

impl Unmarshal for PcrSelection {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        let hash = r.get()?;
        let octets = r.u8()?;
        // At least as many octets as the platform's PCRs need, at most as many as the TPM has.
        if usize::from(octets) != PCR_SELECT {
            return Err(Rc::VALUE);
        }
        let bits = r
            .bytes(usize::from(octets))?
            .iter()
            .rev()
            .fold(0u32, |bits, octet| (bits << 8) | u32::from(*octet));
        Ok(PcrSelection { hash, octets, bits })
    }
}

impl Marshal for PcrSelection {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.put(&self.hash);
        w.u8(self.octets);
        for octet in self
            .bits
            .to_le_bytes()
            .iter()
            .take(usize::from(self.octets))
        {
            w.u8(*octet);
        }
    }
}

/// TPML_PCR_SELECTION.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PcrSelections {
    items: [Option<PcrSelection>; HASH_COUNT],
}

impl PcrSelections {
    /// The selections in their order.
    pub fn iter(&self) -> impl Iterator<Item = &PcrSelection> {
        self.items.iter().flatten()
    }

    /// The selections in their order, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut PcrSelection> {
        self.items.iter_mut().flatten()
    }

    /// Appends.
    ///
    /// # Errors
    /// SIZE: there are as many as fit.
    pub fn push(&mut self, selection: PcrSelection) -> Result<()> {
        let place = self
            .items
            .iter_mut()
            .find(|item| item.is_none())
            .ok_or(Rc::SIZE)?;
        *place = Some(selection);
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.iter().count()
    }
}

impl Unmarshal for PcrSelections {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self> {
        let count = r.u32()?;
        if usize::try_from(count).map_or(true, |count| count > HASH_COUNT) {
            return Err(Rc::SIZE);
        }
        let mut list = PcrSelections::default();
        for _ in 0..count {
            list.push(r.get()?)?;
        }
        Ok(list)
    }
}

impl Marshal for PcrSelections {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.u32(u32::try_from(self.count()).unwrap_or(0));
        for selection in self.iter() {
            w.put(selection);
        }
    }
}
