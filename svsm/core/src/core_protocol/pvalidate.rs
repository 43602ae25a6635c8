//! PVALIDATE: a list of pages to validate or to rescind (58019 §7.2).
//!
//! The list is copied once and only the copy is looked at. Entries take effect one after the other; `next` in the
//! guest's list tells how many did, so that a call which fails or is cut short can be resumed.

use super::CoreProtocol;
use crate::machine::{GuestMemory, MemoryFault, PageOpError, PageOps, Validation, adjust};
use crate::page_map::{PageState, Refused};
use crate::request::{CallResult, Registers};
use crate::vcpu::VmsaAccess;
use core::mem::offset_of;
use snp_abi::rmp::result::FAIL_SIZEMISMATCH;
use snp_abi::{PAGE_SIZE, PageSize, RmpPermissions, Vmpl};
use svsm_abi::{PvalidateHeader, pvalidate_entry, result};
use zerocopy::FromBytes;

/// Where video memory and firmware live below 1 MiB: launched or mapped by firmware before it is validated, so that
/// its contents are not the SVSM's to clear.
const LEGACY: core::ops::Range<u64> = 0xA_0000..0x10_0000;

/// Levels below VMPL0, all of which lose a page that is rescinded.
pub(super) const LESS_PRIVILEGED: [Vmpl; 3] = [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3];

/// The level of the guest.
pub(super) const GUEST_VMPL: Vmpl = Vmpl::Vmpl2;

/// Work that one call does before it answers INCOMPLETE, in the units of [`Entry::cost`]: a full list of small pages,
/// or 16 MiB of large ones, a few milliseconds.
const BUDGET: u64 = 4096;

/// Bytes of a page that a list can fill.
const LIST_BYTES: usize = PAGE_SIZE as usize;

/// An entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    gpa: u64,
    size: PageSize,
    validate: bool,
    ignore_cf: bool,
}

impl Entry {
    fn parse(raw: u64) -> Result<Entry, u64> {
        if raw & pvalidate_entry::RESERVED != 0 {
            return Err(result::INVALID_PARAMETER);
        }
        let size = PageSize::from_bits(raw & pvalidate_entry::SIZE_MASK)
            .ok_or(result::INVALID_PARAMETER)?;
        let gpa = raw & pvalidate_entry::GPA_MASK;
        if !gpa.is_multiple_of(size.bytes()) {
            return Err(result::INVALID_ADDRESS);
        }
        Ok(Entry {
            gpa,
            size,
            validate: raw & pvalidate_entry::VALIDATE != 0,
            ignore_cf: raw & pvalidate_entry::IGNORE_CF != 0,
        })
    }

    /// A small page costs a few instructions that may exit, a large one is cleared as well.
    fn cost(&self) -> u64 {
        match self.size {
            PageSize::Size4K => 8,
            PageSize::Size2M => 512,
        }
    }

    /// What a page that is in the state asked for already is answered with.
    fn no_change(&self) -> CallResult {
        if self.ignore_cf {
            Ok(())
        } else {
            Err(result::PVALIDATE_NO_CHANGE)
        }
    }
}

impl<M: GuestMemory + PageOps + VmsaAccess> CoreProtocol<'_, M> {
    /// RCX: GPA of the list.
    pub(super) fn pvalidate(&self, registers: &Registers) -> CallResult {
        let _shared = self.lock.read().ok_or(result::BUSY)?;
        let gpa = registers.rcx;
        // The only copy, and a large one: it stays in this frame.
        let mut list = [0; LIST_BYTES];
        let header = self.copy_list(gpa, &mut list)?;
        let entries = header.entries.get();
        let mut next = header.next.get();
        let mut spent = 0;
        let mut outcome = Ok(());
        while next < entries {
            let raw = u64::read_from_prefix(&list[next as usize * 8..]).map_or(0, |(raw, _)| raw);
            let entry = Entry::parse(raw);
            if spent >= BUDGET {
                outcome = Err(result::INCOMPLETE);
                break;
            }
            outcome = entry.and_then(|entry| {
                spent += entry.cost();
                if entry.validate {
                    self.validate(&entry)
                } else {
                    self.rescind(&entry)
                }
            });
            if outcome.is_err() {
                break;
            }
            next += 1;
        }
        let at = gpa + offset_of!(PvalidateHeader, next) as u64;
        // An entry may have rescinded the list's own page: then there is nowhere to write.
        let told = if self.pages.is_guest_readable(at, 2) {
            self.machine.write(at, &next.to_le_bytes())
        } else {
            Err(MemoryFault)
        };
        outcome.and(told.map_err(|MemoryFault| result::INVALID_ADDRESS))
    }

    /// Copies the list's header and then the entries it announces: both lie in one page of the guest's.
    fn copy_list(&self, gpa: u64, list: &mut [u8; LIST_BYTES]) -> Result<PvalidateHeader, u64> {
        const HEADER: usize = size_of::<PvalidateHeader>();
        let offset = (gpa % PAGE_SIZE) as usize;
        if !gpa.is_multiple_of(8) || !self.pages.is_guest_readable(gpa, HEADER as u64) {
            return Err(result::INVALID_ADDRESS);
        }
        let mut header = [0; HEADER];
        let fault = |MemoryFault| result::INVALID_ADDRESS;
        self.machine.read(gpa, &mut header).map_err(fault)?;
        let header =
            PvalidateHeader::read_from_bytes(&header).map_err(|_| result::INVALID_PARAMETER)?;
        let entries = header.entries.get() as usize;
        let room = (PAGE_SIZE as usize - offset - HEADER) / 8;
        if entries == 0 || entries > room || header.next.get() as usize >= entries {
            return Err(result::INVALID_PARAMETER);
        }
        self.machine
            .read(gpa + HEADER as u64, &mut list[..entries * 8])
            .map_err(fault)?;
        Ok(header)
    }

    /// Validates a page, clears it and gives it to the guest.
    fn validate(&self, entry: &Entry) -> CallResult {
        let &Entry { gpa, size, .. } = entry;
        let claim = match self.pages.claim(gpa, size, PageState::Unvalidated) {
            Ok(claim) => claim,
            Err(Refused::State(PageState::Validated | PageState::CallingArea)) => {
                return entry.no_change();
            }
            Err(refused) => return Err(Self::refused(refused)),
        };
        match self.machine.pvalidate(gpa, size, true) {
            Ok(Validation::Changed) => {}
            Ok(Validation::Unchanged) => entry.no_change()?,
            Err(error) => return Err(Self::failed(error)),
        }
        // The page is private from here on, with contents of the host's choosing: the guest must not see them.
        let given = self
            .clear(gpa, size)
            .map_err(|MemoryFault| PageOpError::Fault)
            .and_then(|()| adjust(self.machine, gpa, size, GUEST_VMPL, RmpPermissions::RWX));
        match given {
            Ok(()) => {
                claim.settle(PageState::Validated);
                Ok(())
            }
            Err(error) => {
                // The host changed it under our hands. Whether a validated page is left behind it cannot be known, so
                // this address is never validated again.
                claim.settle(PageState::Lost);
                Err(Self::failed(error))
            }
        }
    }

    /// Clears a page, apart from what lies in the legacy area.
    fn clear(&self, gpa: u64, size: PageSize) -> Result<(), MemoryFault> {
        let end = gpa + size.bytes();
        for (start, end) in [(gpa, end.min(LEGACY.start)), (gpa.max(LEGACY.end), end)] {
            if start < end {
                self.machine.zero(start, end - start)?;
            }
        }
        Ok(())
    }

    /// Takes a page from all lower levels and rescinds its validation.
    fn rescind(&self, entry: &Entry) -> CallResult {
        let &Entry { gpa, size, .. } = entry;
        let claim = match self.pages.claim(gpa, size, PageState::Validated) {
            Ok(claim) => claim,
            Err(Refused::State(PageState::Unvalidated)) => return entry.no_change(),
            Err(refused) => return Err(Self::refused(refused)),
        };
        // The first RMPADJUST tells whether the RMP has the page in the size named; nothing is changed if not.
        self.machine
            .rmpadjust(
                gpa,
                size,
                LESS_PRIVILEGED[0],
                RmpPermissions::empty(),
                false,
            )
            .map_err(Self::failed)?;
        for vmpl in &LESS_PRIVILEGED[1..] {
            adjust(self.machine, gpa, size, *vmpl, RmpPermissions::empty())
                .map_err(Self::failed)?;
        }
        match self.rescind_split(gpa, size) {
            Ok(Validation::Changed) => {
                claim.settle(PageState::Unvalidated);
                Ok(())
            }
            // Ours by the map, yet not validated: the host put another page there, and the validated one may come
            // back. It must not be validated again.
            Ok(Validation::Unchanged) => {
                claim.settle(PageState::Lost);
                entry.no_change()
            }
            Err(error) => {
                claim.settle(PageState::Lost);
                Err(Self::failed(error))
            }
        }
    }

    /// PVALIDATE that rescinds, by small pages if the host has split the large one meanwhile.
    fn rescind_split(&self, gpa: u64, size: PageSize) -> Result<Validation, PageOpError> {
        match self.machine.pvalidate(gpa, size, false) {
            Err(PageOpError::Code(FAIL_SIZEMISMATCH)) if size == PageSize::Size2M => {}
            other => return other,
        }
        for page in 0..size.pages() {
            let small = gpa + page * PAGE_SIZE;
            match self.machine.pvalidate(small, PageSize::Size4K, false)? {
                Validation::Changed => {}
                Validation::Unchanged => return Ok(Validation::Unchanged),
            }
        }
        Ok(Validation::Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_decoded_as_the_specification_lays_them_out() {
        assert_eq!(
            Entry::parse(0x20_0000 | 1 | 1 << 2 | 1 << 3),
            Ok(Entry {
                gpa: 0x20_0000,
                size: PageSize::Size2M,
                validate: true,
                ignore_cf: true
            })
        );
        assert!(!Entry::parse(0x1000).unwrap().validate);
        for bit in 4..12 {
            assert_eq!(Entry::parse(1 << bit), Err(result::INVALID_PARAMETER));
        }
        for size in [2, 3] {
            assert_eq!(Entry::parse(0x1000 | size), Err(result::INVALID_PARAMETER));
        }
        assert_eq!(Entry::parse(0x1000 | 1), Err(result::INVALID_ADDRESS));
    }
}
