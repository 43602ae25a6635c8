//! One entry: 16 bytes, all zero for a page that belongs to the hypervisor.

use snp_abi::{PageSize, RmpPermissions, Vmpl};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const ASSIGNED: u64 = 1 << 0;
const SIZE_2M: u64 = 1 << 1;
const IMMUTABLE: u64 = 1 << 2;
const GPA_MASK: u64 = 0x0007_FFFF_FFFF_F000;
const VMSA: u64 = 1 << 61;
const VALIDATED: u64 = 1 << 62;
const IN_USE: u64 = 1 << 63;

/// An RMP entry. The bit positions follow Zen 3 (Linux `arch/x86/virt/svm/sev.c`), which nothing depends on. The
/// ASID (60:51) is left out, as there is one guest.
#[derive(Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(16))]
pub struct RmpEntry {
    state: u64,
    permissions: [u8; 4],
    reserved: u32,
}

const _: () = assert!(core::mem::size_of::<RmpEntry>() == 16);

impl RmpEntry {
    /// A page of the hypervisor: what a zeroed table holds.
    pub const HYPERVISOR: RmpEntry = RmpEntry {
        state: 0,
        permissions: [0; 4],
        reserved: 0,
    };

    /// A page newly assigned to the guest: not validated, all rights for VMPL0, none for others (APM vol. 3 RMPUPDATE).
    pub const fn assigned_to(gpa: u64, size: PageSize, immutable: bool) -> RmpEntry {
        let mut state = ASSIGNED | (gpa & GPA_MASK);
        if matches!(size, PageSize::Size2M) {
            state |= SIZE_2M;
        }
        if immutable {
            state |= IMMUTABLE;
        }
        RmpEntry {
            state,
            permissions: [ALL_PERMISSIONS.bits(), 0, 0, 0],
            reserved: 0,
        }
    }

    /// Whether the page belongs to the guest.
    pub const fn assigned(self) -> bool {
        self.state & ASSIGNED != 0
    }

    /// The entry's size.
    pub const fn size(self) -> PageSize {
        if self.state & SIZE_2M != 0 {
            PageSize::Size2M
        } else {
            PageSize::Size4K
        }
    }

    /// Whether only the firmware may change the entry.
    pub const fn immutable(self) -> bool {
        self.state & IMMUTABLE != 0
    }

    /// Where the guest sees the page.
    pub const fn gpa(self) -> u64 {
        self.state & GPA_MASK
    }

    /// Whether the page may be run as a VMSA.
    pub const fn vmsa(self) -> bool {
        self.state & VMSA != 0
    }

    /// Whether the guest has accepted the page.
    pub const fn validated(self) -> bool {
        self.state & VALIDATED != 0
    }

    /// Whether a processor runs from this VMSA right now.
    pub const fn in_use(self) -> bool {
        self.state & IN_USE != 0
    }

    /// What this VMPL may do with the page.
    pub const fn permissions(self, vmpl: Vmpl) -> RmpPermissions {
        RmpPermissions::from_bits_retain(self.permissions[vmpl as usize])
    }

    /// Sets the validated bit.
    pub fn set_validated(&mut self, value: bool) {
        self.set(VALIDATED, value);
    }

    /// Sets the immutable bit: the firmware's doing.
    pub(super) fn set_immutable(&mut self, value: bool) {
        self.set(IMMUTABLE, value);
    }

    /// Sets the VMSA bit.
    pub fn set_vmsa(&mut self, value: bool) {
        self.set(VMSA, value);
    }

    /// Marks the VMSA as run by a processor.
    pub fn set_in_use(&mut self, value: bool) {
        self.set(IN_USE, value);
    }

    /// Sets what this VMPL may do.
    pub fn set_permissions(&mut self, vmpl: Vmpl, permissions: RmpPermissions) {
        self.permissions[vmpl.index()] = permissions.bits();
    }

    /// The 4 KiB entry of the page `index` within this 2 MiB entry: what PSMASH writes.
    pub(super) fn smashed(self, index: u64) -> RmpEntry {
        let mut entry = self;
        entry.state = (self.state & !(SIZE_2M | GPA_MASK))
            | ((self.gpa() + index * snp_abi::PAGE_SIZE) & GPA_MASK);
        entry
    }

    fn set(&mut self, bit: u64, value: bool) {
        if value {
            self.state |= bit;
        } else {
            self.state &= !bit;
        }
    }
}

/// Every right there is: what VMPL0 starts with.
pub(super) const ALL_PERMISSIONS: RmpPermissions = RmpPermissions::RWX;

impl core::fmt::Debug for RmpEntry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if !self.assigned() {
            return f.write_str("hypervisor");
        }
        write!(f, "guest gpa={:#x} {:?}", self.gpa(), self.size())?;
        for (name, on) in [
            ("validated", self.validated()),
            ("immutable", self.immutable()),
            ("vmsa", self.vmsa()),
            ("in-use", self.in_use()),
        ] {
            if on {
                write!(f, " {name}")?;
            }
        }
        for vmpl in Vmpl::ALL {
            write!(
                f,
                " vmpl{}={:#x}",
                vmpl.index(),
                self.permissions(vmpl).bits()
            )?;
        }
        Ok(())
    }
}
