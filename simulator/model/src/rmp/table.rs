//! The table and what the host does with it: RMPUPDATE, PSMASH, the firmware's launch commands, VMRUN's in-use mark.

use super::RmpEntry;
use snp_abi::rmp::result;
use snp_abi::{PageSize, RmpPermissions, Vmpl};

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
    /// VMEXIT_INVALID.
    #[error("the RMP has the page at GPA {rmp:#x}, not at {asked:#x}")]
    WrongGpa { rmp: u64, asked: u64 },
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
        let _ = (frame, &self.entries);
        todo!()
    }

    /// RMPUPDATE on `frame`. On success the page is not validated and only VMPL0 has rights.
    pub fn rmpupdate(&mut self, frame: u64, update: RmpUpdate) -> Result<(), HostFailure> {
        let _ = (frame, update, self.first_frame);
        todo!()
    }

    /// PSMASH: splits the 2 MiB entry at `frame` into 512 of 4 KiB with the same rights.
    pub fn psmash(&mut self, frame: u64) -> Result<(), HostFailure> {
        let _ = frame;
        todo!()
    }

    /// What SNP_LAUNCH_UPDATE does to a page's entry (56860 §8.17): validated, changeable again, VMPL1-3's rights as
    /// asked. The page must be assigned and immutable.
    pub fn launch_update(
        &mut self,
        frame: u64,
        vmsa: bool,
        lower_permissions: [RmpPermissions; 3],
    ) -> Result<(), HostFailure> {
        let _ = (frame, vmsa, lower_permissions);
        todo!()
    }

    /// VMRUN's checks on a VMSA page; marks it in use.
    pub fn begin_vmrun(&mut self, frame: u64, gpa: u64) -> Result<(), VmsaPageFailure> {
        let _ = (frame, gpa);
        todo!()
    }

    /// #VMEXIT's part: the VMSA is no longer in use.
    pub fn end_vmrun(&mut self, frame: u64) {
        let _ = frame;
        todo!()
    }

    pub(super) fn entry_mut(&mut self, frame: u64) -> Option<&mut RmpEntry> {
        let _ = (frame, Vmpl::Vmpl0);
        todo!()
    }
}
