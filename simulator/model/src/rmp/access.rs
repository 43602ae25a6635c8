//! What the processor checks when a guest touches memory (APM vol. 2 §15.36.9, §15.36.10).

use super::RmpEntry;
use snp_abi::exit::{self, npf};
use snp_abi::{RmpPermissions, Vmpl};

/// What the guest was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Access {
    pub read: bool,
    pub write: bool,
    pub execute: bool,
    /// At CPL 3.
    pub user: bool,
    /// The processor's own access to a page table: always private, always supervisor.
    pub table_walk: bool,
}

impl Access {
    /// A supervisor load.
    pub const READ: Access = Access {
        read: true,
        write: false,
        execute: false,
        user: false,
        table_walk: false,
    };
    /// A supervisor store.
    pub const WRITE: Access = Access {
        write: true,
        read: false,
        ..Access::READ
    };
    /// A supervisor fetch.
    pub const EXECUTE: Access = Access {
        execute: true,
        read: false,
        ..Access::READ
    };
    /// A page-table read.
    pub const TABLE_READ: Access = Access {
        table_walk: true,
        ..Access::READ
    };
    /// A page-table read that also sets accessed or dirty.
    pub const TABLE_WRITE: Access = Access {
        read: true,
        write: true,
        table_walk: true,
        ..Access::READ
    };

    /// The same at CPL 3 if `user`.
    pub const fn at(self, user: bool) -> Access {
        Access { user, ..self }
    }

    /// From EXITINFO1 of a nested page fault. QEMU reports every nested access as a user access, so CPL is asked for.
    pub const fn from_npf(exit_info_1: u64, cpl: u8) -> Access {
        let table_walk = exit_info_1 & npf::TABLE_WALK != 0;
        let execute = exit_info_1 & npf::FETCH != 0;
        let write = exit_info_1 & npf::WRITE != 0;
        Access {
            read: table_walk || (!write && !execute),
            write,
            execute,
            user: cpl == 3 && !table_walk,
            table_walk,
        }
    }

    /// EXITINFO1 of a nested fault on this access, without the bits that say what was wrong. Every nested walk is a user
    /// access (APM vol. 2 §15.25.5).
    pub const fn exit_info_1(self, private: bool) -> u64 {
        let mut bits = npf::USER;
        if self.write {
            bits |= npf::WRITE;
        }
        if self.execute {
            bits |= npf::FETCH;
        }
        bits |= if self.table_walk {
            npf::TABLE_WALK
        } else {
            npf::FINAL
        };
        if private || self.execute || self.table_walk {
            bits |= npf::ENCRYPTED;
        }
        bits
    }
}

/// Which rule an access broke; for the diagnosis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Rule {
    #[error("private access to a page that is not assigned to the guest")]
    NotAssigned,
    #[error("access to a page that is still immutable (launch)")]
    Immutable,
    #[error("the RMP has this page at another GPA, {rmp:#x}: it was remapped or mapped twice")]
    WrongGpa { rmp: u64 },
    #[error("private access to a page that the guest has not validated")]
    NotValidated,
    #[error("VMPL{vmpl} may not {what} this page (permissions {has:#x})")]
    VmplPermission {
        vmpl: u8,
        what: &'static str,
        has: u8,
    },
    #[error("shared write to a page that is assigned to the guest")]
    SharedWriteToPrivate,
    #[error("write to a VMSA that a processor is running")]
    VmsaInUse,
    #[error("no memory is mapped at this GPA")]
    NotMapped,
    #[error("the GPA is MMIO")]
    Mmio,
    #[error("the instruction asked for 4 KiB within a 2 MiB RMP entry")]
    SizeMismatch,
}

/// What the processor does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Effect {
    /// VMEXIT_NPF with this EXITINFO1: the hypervisor's to solve.
    NestedFault { exit_info_1: u64 },
    /// #VC in the guest with this error code.
    Vc { error_code: u32 },
}

/// An access that did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("GPA {gpa:#x}: {rule}")]
pub struct Violation {
    /// Where (no C-bit).
    pub gpa: u64,
    /// Why.
    pub rule: Rule,
    /// What follows.
    pub effect: Effect,
}

impl Violation {
    /// A fault because nothing is mapped at `gpa`: goes to the hypervisor, which may map something and retry.
    pub fn not_mapped(gpa: u64, access: Access, private: bool) -> Violation {
        Violation {
            gpa,
            rule: Rule::NotMapped,
            effect: Effect::NestedFault {
                exit_info_1: access.exit_info_1(private),
            },
        }
    }

    /// A fault because `gpa` is a device's: #VC 0x400 in the guest (nested entry with a reserved bit).
    pub fn mmio(gpa: u64) -> Violation {
        Violation {
            gpa,
            rule: Rule::Mmio,
            effect: Effect::Vc {
                error_code: exit::NPF as u32,
            },
        }
    }

    /// A nested fault by an RMP check: the nested entry was present, and RMP is set with `more`.
    pub(super) fn rmp(gpa: u64, rule: Rule, access: Access, private: bool, more: u64) -> Violation {
        Violation {
            gpa,
            rule,
            effect: Effect::NestedFault {
                exit_info_1: access.exit_info_1(private) | npf::PRESENT | npf::RMP | more,
            },
        }
    }

    /// #VC 0x404: the page is private and assigned, but not validated.
    pub(super) fn not_validated(gpa: u64) -> Violation {
        Violation {
            gpa,
            rule: Rule::NotValidated,
            effect: Effect::Vc {
                error_code: exit::PAGE_NOT_VALIDATED as u32,
            },
        }
    }
}

/// An access that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It sees the page's contents.
    Plain,
    /// A shared load from a private page: allowed, but it reads ciphertext (APM checks only shared writes).
    Ciphertext,
}

/// Checks one access to the page at `gpa`, whose frame has `entry` (the governing one, see [`super::Rmp::entry`]).
///
/// `private` is the guest's effective C-bit; fetches and page-table walks count as private whatever it says
/// (Linux `Documentation/arch/x86/amd-memory-encryption.rst`). The order is APM's: owner and GPA, then validated
/// (#VC 0x404), then the VMPL's rights.
pub fn check_access(
    entry: RmpEntry,
    vmpl: Vmpl,
    gpa: u64,
    access: Access,
    private: bool,
) -> Result<Grant, Violation> {
    if !(private || access.execute || access.table_walk) {
        return check_shared(entry, gpa, access);
    }
    check_owner(entry, gpa, access)?;
    if !entry.validated() {
        return Err(Violation::not_validated(gpa));
    }
    let has = entry.permissions(vmpl);
    for (wanted, right, what) in [
        (access.read, RmpPermissions::READ, "read"),
        (access.write, RmpPermissions::WRITE, "write"),
        (
            access.execute && access.user,
            RmpPermissions::EXECUTE_USER,
            "execute at CPL 3",
        ),
        (
            access.execute && !access.user,
            RmpPermissions::EXECUTE_SUPERVISOR,
            "execute at CPL 0",
        ),
    ] {
        if wanted && !has.contains(right) {
            let rule = Rule::VmplPermission {
                vmpl: vmpl as u8,
                what,
                has: has.bits(),
            };
            return Err(Violation::rmp(gpa, rule, access, true, npf::VMPL));
        }
    }
    if access.write && entry.in_use() {
        return Err(Violation::rmp(gpa, Rule::VmsaInUse, access, true, 0));
    }
    Ok(Grant::Plain)
}

/// The checks that come first for every private access and every SNP instruction: assigned, not immutable, at this GPA.
pub(super) fn check_owner(entry: RmpEntry, gpa: u64, access: Access) -> Result<(), Violation> {
    let rule = if !entry.assigned() {
        Rule::NotAssigned
    } else if entry.immutable() {
        Rule::Immutable
    } else if entry.gpa() != gpa & !(entry.size().bytes() - 1) {
        Rule::WrongGpa { rmp: entry.gpa() }
    } else {
        return Ok(());
    };
    Err(Violation::rmp(gpa, rule, access, true, 0))
}

/// Shared accesses: only writes are checked.
fn check_shared(entry: RmpEntry, gpa: u64, access: Access) -> Result<Grant, Violation> {
    if !entry.assigned() {
        return Ok(Grant::Plain);
    }
    if access.write {
        let rule = Rule::SharedWriteToPrivate;
        return Err(Violation::rmp(gpa, rule, access, false, 0));
    }
    Ok(Grant::Ciphertext)
}
