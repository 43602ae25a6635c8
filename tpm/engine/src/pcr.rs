//! Platform Configuration Registers (Part 1 §14), with the attributes of the TCG PC Client Platform TPM Profile §4.6.

use crate::buf::Buf;
use crate::codec::{Reader, Writer};
use crate::crypto::hash::{Digest, HashAlg, Hasher, digest};
use crate::limits::PCR_COUNT;
use crate::rc::{Rc, Result};
use crate::types::{PcrSelection, PcrSelections};

/// How many algorithms can have a bank.
pub const BANKS: usize = 3;

/// The algorithms that can have a bank.
pub const BANK_ALGS: [HashAlg; BANKS] = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384];

/// The banks of a new TPM, in the order of [`BANK_ALGS`]: SHA-1 is off.
pub const DEFAULT_BANKS: [u32; BANKS] = [0, ALL, ALL];

/// All PCRs.
pub const ALL: u32 = 0x00FF_FFFF;
/// Those that TPM2_Shutdown(STATE) saves.
const SAVED: u32 = 0x0000_FFFF;
/// Those that can be extended at each locality.
const EXTEND: [u32; 5] = [0x81_FFFF, 0x91_FFFF, 0xFF_FFFF, 0x9F_FFFF, 0x87_FFFF];
/// Those that can be reset at each locality.
const RESET: [u32; 5] = [0x81_0000, 0x81_0000, 0xF1_0000, 0x81_0000, 0x7E_0000];
/// Those whose change does not count in pcrUpdateCounter.
const NO_INCREMENT: u32 = 0xE1_0000;
/// Those that _TPM_Hash_Start resets, which are all ones until then.
const DRTM: u32 = 0x7E_0000;
/// The group that has an authorization value and a policy.
const GROUP: u32 = 0x70_0000;
/// PCR of the D-RTM.
pub const DRTM_PCR: usize = 17;
/// PCR of the H-CRTM.
pub const HCRTM_PCR: usize = 0;

/// Where an algorithm's bank is.
pub fn bank_of(hash: HashAlg) -> Option<usize> {
    BANK_ALGS.iter().position(|alg| *alg == hash)
}

const fn bit(mask: u32, pcr: usize) -> bool {
    pcr < PCR_COUNT && (mask >> (pcr & 31)) & 1 != 0
}

fn at_locality(masks: &[u32; 5], locality: u8, pcr: usize) -> bool {
    masks
        .get(usize::from(locality))
        .is_some_and(|mask| bit(*mask, pcr))
}

/// Whether `pcr` can be extended at `locality`.
pub fn can_extend(pcr: usize, locality: u8) -> bool {
    at_locality(&EXTEND, locality, pcr)
}

/// Whether `pcr` can be reset at `locality`.
pub fn can_reset(pcr: usize, locality: u8) -> bool {
    at_locality(&RESET, locality, pcr)
}

/// Whether `pcr` belongs to the group that has an authorization value and a policy.
pub const fn in_group(pcr: usize) -> bool {
    bit(GROUP, pcr)
}

/// Whether a change of `pcr` counts.
pub const fn counts(pcr: usize) -> bool {
    !bit(NO_INCREMENT, pcr)
}

/// TPM_PT_PCR: which PCRs have property `tag`; `None` for a tag that is none.
pub fn property(tag: u32) -> Option<u32> {
    let of = |masks: &[u32; 5], index| masks.get::<usize>(index).copied();
    match tag {
        0x00 => Some(SAVED),
        0x01 => of(&EXTEND, 0),
        0x02 => of(&RESET, 0),
        0x03 => of(&EXTEND, 1),
        0x04 => of(&RESET, 1),
        0x05 => of(&EXTEND, 2),
        0x06 => of(&RESET, 2),
        0x07 => of(&EXTEND, 3),
        0x08 => of(&RESET, 3),
        0x09 => of(&EXTEND, 4),
        0x0A => of(&RESET, 4),
        0x11 => Some(NO_INCREMENT),
        0x12 => Some(DRTM),
        0x13 | 0x14 => Some(GROUP),
        _ => None,
    }
}

/// The tags that [`property`] knows, in rising order.
pub const PROPERTIES: [u32; 15] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x11, 0x12, 0x13, 0x14,
];

/// The kinds of start-up (Part 1 §12.2.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartupKind {
    /// Startup(CLEAR) without a preceding Shutdown(STATE).
    Reset,
    /// Startup(CLEAR) after Shutdown(STATE).
    Restart,
    /// Startup(STATE) after Shutdown(STATE).
    Resume,
}

/// All PCRs.
#[derive(Clone)]
pub struct Pcrs {
    /// Values; of a PCR without a bank, empty.
    pub values: [[Digest; PCR_COUNT]; BANKS],
    /// Which PCRs each bank has since the last TPM Reset.
    pub allocated: [u32; BANKS],
    /// Whether TPM2_PCR_Allocate was used since TPM2_Startup.
    pub reallocated: bool,
}

impl Pcrs {
    /// Without values: TPM2_Startup sets them.
    pub const fn new() -> Self {
        Pcrs {
            values: [const { [const { Digest::new() }; PCR_COUNT] }; BANKS],
            allocated: DEFAULT_BANKS,
            reallocated: false,
        }
    }

    /// Sets the values that TPM2_Startup sets. `hcrtm`: PCR 0 already holds an H-CRTM measurement.
    pub fn startup(&mut self, kind: StartupKind, locality: u8, hcrtm: bool) {
        self.reallocated = false;
        for (bank, alg) in BANK_ALGS.iter().enumerate() {
            for pcr in 0..PCR_COUNT {
                let kept = kind == StartupKind::Resume && bit(SAVED, pcr)
                    || hcrtm && pcr == HCRTM_PCR && kind != StartupKind::Resume;
                if kept {
                    continue;
                }
                let byte = if bit(DRTM, pcr) { 0xFF } else { 0x00 };
                let last = if pcr == HCRTM_PCR && kind != StartupKind::Resume {
                    locality
                } else {
                    byte
                };
                self.fill(bank, pcr, *alg, byte, last);
            }
        }
    }

    fn fill(&mut self, bank: usize, pcr: usize, alg: HashAlg, byte: u8, last: u8) {
        let has = self.has(bank, pcr);
        if let Some(value) = self.value_mut(bank, pcr) {
            *value = Buf::zeroed(if has { alg.size() } else { 0 });
            value.as_mut_slice().fill(byte);
            if let Some(end) = value.as_mut_slice().last_mut() {
                *end = last;
            }
        }
    }

    /// Sets `pcr` to zero in every bank; with `last` as its last octet.
    pub fn zero(&mut self, pcr: usize, last: u8) {
        for (bank, alg) in BANK_ALGS.iter().enumerate() {
            self.fill(bank, pcr, *alg, 0, last);
        }
    }

    /// _TPM_Hash_Start: the D-RTM's PCRs become zero.
    pub fn drtm_reset(&mut self) {
        for pcr in (0..PCR_COUNT).filter(|pcr| bit(DRTM, *pcr)) {
            self.zero(pcr, 0);
        }
    }

    fn value_mut(&mut self, bank: usize, pcr: usize) -> Option<&mut Digest> {
        self.values.get_mut(bank)?.get_mut(pcr)
    }

    /// Whether `pcr` exists in `bank`.
    pub fn has(&self, bank: usize, pcr: usize) -> bool {
        self.allocated.get(bank).is_some_and(|mask| bit(*mask, pcr))
    }

    /// The value of `pcr` in `hash`'s bank, if it has one.
    pub fn value(&self, hash: HashAlg, pcr: usize) -> Option<&Digest> {
        let bank = bank_of(hash)?;
        if !self.has(bank, pcr) {
            return None;
        }
        self.values.get(bank)?.get(pcr)
    }

    /// Extends `pcr` in `hash`'s bank. Whether it has one.
    pub fn extend(&mut self, hash: HashAlg, pcr: usize, data: &[u8]) -> bool {
        let Some(old) = self.value(hash, pcr) else {
            return false;
        };
        let new = digest(hash, &[old, data]);
        if let Some(value) = bank_of(hash).and_then(|bank| self.value_mut(bank, pcr)) {
            *value = new;
        }
        true
    }

    /// Takes out of `selections` what does not exist.
    pub fn filter(&self, selections: &mut PcrSelections) {
        for selection in selections.iter_mut() {
            let mask = bank_of(selection.hash)
                .and_then(|bank| self.allocated.get(bank))
                .copied()
                .unwrap_or(0);
            selection.bits &= mask;
        }
    }

    /// The digest with `hash` of all values that `selections` (filtered) selects.
    pub fn composite(&self, hash: HashAlg, selections: &PcrSelections) -> Digest {
        let mut hasher = Hasher::new(hash);
        for selection in selections.iter() {
            for pcr in selection.iter() {
                if let Some(value) = self.value(selection.hash, pcr) {
                    hasher.update(value);
                }
            }
        }
        hasher.finish()
    }

    /// TPM_CAP_PCRS: TPML_PCR_SELECTION of all banks.
    pub fn write_allocation(&self, w: &mut Writer<'_>) {
        w.u32(BANKS as u32);
        for (alg, bits) in BANK_ALGS.iter().zip(&self.allocated) {
            w.put(&PcrSelection {
                hash: *alg,
                octets: crate::limits::PCR_SELECT as u8,
                bits: *bits,
            });
        }
    }

    /// Writes what outlasts Shutdown(STATE).
    pub fn put(&self, w: &mut Writer<'_>) {
        for (pcr, value) in self.values.iter().flat_map(|bank| bank.iter().enumerate()) {
            if bit(SAVED, pcr) {
                w.put(value);
            }
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is malformed.
    pub fn take(&mut self, r: &mut Reader<'_>) -> Result<()> {
        for (bank, alg) in self.values.iter_mut().zip(BANK_ALGS) {
            for (pcr, value) in bank.iter_mut().enumerate() {
                if bit(SAVED, pcr) {
                    *value = r.get()?;
                    if !value.is_empty() && value.len() != alg.size() {
                        return Err(Rc::SIZE);
                    }
                }
            }
        }
        Ok(())
    }
}
