//! The table and what the host does with it: RMPUPDATE, PSMASH, the firmware's launch commands, VMRUN's in-use mark.

use super::RmpEntry;
use snp_abi::rmp::result;
use snp_abi::{PAGES_PER_LARGE_PAGE, PageSize, RmpPermissions, Vmpl};

/// A table over a borrowed slice; the entry of system physical frame `first_frame + i` is `entries[i]`.
pub struct Rmp<'a> {
    first_frame: u64,
    entries: &'a mut [RmpEntry],
}

/// RMPUPDATE's operand (Linux `struct rmp_state`, without the ASID).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RmpUpdate {
    /// Give to the guest, or take back.
    pub assigned: bool,
    /// Where the guest sees it; zero when not assigned.
    pub gpa: u64,
    /// How much.
    pub size: PageSize,
    /// Only for launch: hand it to the firmware first.
    pub immutable: bool,
}

/// What RMPUPDATE and PSMASH return in EAX when they do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFailure {
    /// FAIL_INPUT.
    #[error("frame or operand outside the RMP, or not aligned to its size")]
    Input,
    /// FAIL_PERMISSION.
    #[error("the entry is immutable or the new contents break a rule")]
    Permission,
    /// FAIL_INUSE.
    #[error("the entry is in use")]
    InUse,
    /// FAIL_OVERLAP.
    #[error("an entry of the other size overlaps")]
    Overlap,
}

impl HostFailure {
    /// EAX.
    pub const fn code(self) -> u64 {
        match self {
            HostFailure::Input => result::FAIL_INPUT,
            HostFailure::Permission => result::FAIL_PERMISSION,
            HostFailure::InUse => result::FAIL_INUSE,
            HostFailure::Overlap => result::FAIL_OVERLAP,
        }
    }
}

/// Why VMRUN did not take a page as VMSA (APM vol. 2 §15.36.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum VmsaPageFailure {
    /// VMEXIT_INVALID.
    #[error("frame {frame:#x} is outside the RMP")]
    OutsideRmp { frame: u64 },
    /// VMEXIT_INVALID.
    #[error("the page is not assigned to the guest")]
    NotAssigned,
    /// VMEXIT_INVALID.
    #[error("the page is immutable")]
    Immutable,
    /// VMEXIT_INVALID.
    #[error("the page is not validated")]
    NotValidated,
    /// VMEXIT_INVALID.
    #[error("the page is not marked as a VMSA in the RMP")]
    NotVmsa,
    /// VMEXIT_BUSY: another processor runs it.
    #[error("the VMSA is in use")]
    Busy,
}

impl VmsaPageFailure {
    /// The exit code that VMRUN gives.
    pub const fn exit_code(self) -> u64 {
        match self {
            VmsaPageFailure::Busy => snp_abi::exit::BUSY,
            _ => snp_abi::exit::INVALID,
        }
    }
}

impl<'a> Rmp<'a> {
    /// A table for the frames from `first_frame` on, as many as there are entries.
    pub fn new(first_frame: u64, entries: &'a mut [RmpEntry]) -> Rmp<'a> {
        Rmp {
            first_frame,
            entries,
        }
    }

    /// The entry that governs `frame`: its own, or the 2 MiB entry that covers it. `None` outside the table.
    pub fn entry(&self, frame: u64) -> Option<RmpEntry> {
        self.entries.get(self.governing(frame)?).copied()
    }

    /// RMPUPDATE on `frame`. On success the page is not validated, not a VMSA, and only VMPL0 has rights, also when
    /// the new contents equal the old ones (snp-semantics C8: the conservative reading).
    pub fn rmpupdate(&mut self, frame: u64, update: RmpUpdate) -> Result<(), HostFailure> {
        let range = self.range(frame, update.size)?;
        if update.assigned && !update.gpa.is_multiple_of(update.size.bytes()) {
            return Err(HostFailure::Input);
        }
        // A hypervisor's page has nothing that could be immutable (MSVC __rmpupdate: code 2).
        if !update.assigned && update.immutable {
            return Err(HostFailure::Permission);
        }
        let current = self.entry(frame).ok_or(HostFailure::Input)?;
        if current.immutable() {
            return Err(HostFailure::Permission);
        }
        if current.in_use() {
            return Err(HostFailure::InUse);
        }
        let overlaps = match (update.size, current.size()) {
            (PageSize::Size4K, size) => size == PageSize::Size2M,
            (PageSize::Size2M, PageSize::Size2M) => false,
            // No 2 MiB entry to replace: any assigned one is smaller.
            (PageSize::Size2M, PageSize::Size4K) => {
                let covered = self.entries.get(range.clone()).unwrap_or_default();
                covered.iter().any(|entry| entry.assigned())
            }
        };
        if overlaps {
            return Err(HostFailure::Overlap);
        }
        let new = if update.assigned {
            RmpEntry::assigned_to(update.gpa, update.size, update.immutable)
        } else {
            RmpEntry::HYPERVISOR
        };
        if let Some([first, rest @ ..]) = self.entries.get_mut(range) {
            *first = new;
            rest.fill(RmpEntry::HYPERVISOR);
        }
        Ok(())
    }

    /// PSMASH: splits the 2 MiB entry at `frame` into 512 of 4 KiB; validated bit and rights are kept.
    pub fn psmash(&mut self, frame: u64) -> Result<(), HostFailure> {
        let range = self.range(frame, PageSize::Size2M)?;
        let entry = self.entry(frame).ok_or(HostFailure::Input)?;
        if !entry.assigned() || entry.size() != PageSize::Size2M {
            return Err(HostFailure::Input);
        }
        if entry.immutable() {
            return Err(HostFailure::Permission);
        }
        if entry.in_use() {
            return Err(HostFailure::InUse);
        }
        if let Some(all) = self.entries.get_mut(range) {
            for (slot, index) in all.iter_mut().zip(0..) {
                *slot = entry.smashed(index);
            }
        }
        Ok(())
    }

    /// What SNP_LAUNCH_UPDATE does to a page's entry (56860 §8.17): validated, changeable again, VMPL1-3's rights as
    /// asked. The page must be assigned and immutable (state PRE_GUEST), else nothing happens.
    pub fn launch_update(
        &mut self,
        frame: u64,
        vmsa: bool,
        lower_permissions: [RmpPermissions; 3],
    ) -> Result<(), HostFailure> {
        let entry = self.entry_mut(frame).ok_or(HostFailure::Input)?;
        if !entry.assigned() || !entry.immutable() {
            return Err(HostFailure::Permission);
        }
        if vmsa && entry.size() != PageSize::Size4K {
            return Err(HostFailure::Input);
        }
        entry.set_immutable(false);
        entry.set_validated(true);
        entry.set_vmsa(vmsa);
        for (vmpl, permissions) in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3]
            .into_iter()
            .zip(lower_permissions)
        {
            entry.set_permissions(vmpl, permissions);
        }
        Ok(())
    }

    /// VMRUN's checks on a VMSA page; marks it in use.
    pub fn begin_vmrun(&mut self, frame: u64) -> Result<(), VmsaPageFailure> {
        let entry = self
            .entry_mut(frame)
            .ok_or(VmsaPageFailure::OutsideRmp { frame })?;
        if !entry.assigned() {
            return Err(VmsaPageFailure::NotAssigned);
        }
        if entry.immutable() {
            return Err(VmsaPageFailure::Immutable);
        }
        if !entry.validated() {
            return Err(VmsaPageFailure::NotValidated);
        }
        if !entry.vmsa() {
            return Err(VmsaPageFailure::NotVmsa);
        }
        if entry.in_use() {
            return Err(VmsaPageFailure::Busy);
        }
        entry.set_in_use(true);
        Ok(())
    }

    /// #VMEXIT's part: the VMSA is no longer in use.
    pub fn end_vmrun(&mut self, frame: u64) {
        if let Some(entry) = self.entry_mut(frame) {
            entry.set_in_use(false);
        }
    }

    /// The governing entry, to be changed.
    pub(super) fn entry_mut(&mut self, frame: u64) -> Option<&mut RmpEntry> {
        let index = self.governing(frame)?;
        self.entries.get_mut(index)
    }

    /// Index of the entry that governs `frame`.
    fn governing(&self, frame: u64) -> Option<usize> {
        let own = self.index(frame)?;
        // 2 MiB entries sit at aligned frames, whatever frame the table starts with.
        let large = self
            .index(frame & !(PAGES_PER_LARGE_PAGE - 1))
            .filter(|&index| {
                self.entries
                    .get(index)
                    .is_some_and(|entry| entry.assigned() && entry.size() == PageSize::Size2M)
            });
        Some(large.unwrap_or(own))
    }

    fn index(&self, frame: u64) -> Option<usize> {
        let index = usize::try_from(frame.checked_sub(self.first_frame)?).ok()?;
        (index < self.entries.len()).then_some(index)
    }

    /// The indexes of an aligned range of frames that lies in the table.
    fn range(&self, frame: u64, size: PageSize) -> Result<core::ops::Range<usize>, HostFailure> {
        let pages = size.pages();
        if !frame.is_multiple_of(pages) {
            return Err(HostFailure::Input);
        }
        let first = self.index(frame).ok_or(HostFailure::Input)?;
        let last = frame
            .checked_add(pages - 1)
            .and_then(|last| self.index(last))
            .ok_or(HostFailure::Input)?;
        Ok(first..last + 1)
    }
}
