//! PVALIDATE, RMPADJUST and RMPQUERY (APM vol. 3), the checks in the order of the processor.
//!
//! Each has two steps, because the guest's page walk lies between the checks: `Pvalidate::decode` looks at registers
//! and mode, the machine then walks RAX (`walk::translate`, an ordinary load) and finds the frame, and [`pvalidate`]
//! does the rest. Any step can give the final [`Outcome`].

use super::access::check_owner;
use super::entry::ALL_PERMISSIONS;
use super::{Access, Rmp, RmpEntry, Rule, Violation};
use snp_abi::exit::npf;
use snp_abi::msr::EFER_LMA;
use snp_abi::rmp::{RMPADJUST_VMSA, result};
use snp_abi::{LARGE_PAGE_SIZE, PageSize, RmpPermissions, SevFeatures, Vmpl};

/// Segment attribute L: 64-bit code.
const ATTRIBUTE_L: u16 = 1 << 9;
/// Page fault error code: present.
const PF_PRESENT: u32 = 1 << 0;
/// Page fault error code: reserved bit set.
const PF_RESERVED: u32 = 1 << 3;

/// Who executes the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// SEV_FEATURES has SNP_ACTIVE.
    pub snp_active: bool,
    /// Its VMPL.
    pub vmpl: Vmpl,
    /// Its privilege level.
    pub cpl: u8,
    /// CS is a 64-bit segment.
    pub long_mode_64: bool,
}

impl Caller {
    /// From the vCPU's state; `None` when its VMPL does not exist.
    pub fn from_vmsa(vmsa: &snp_abi::vmsa::Vmsa) -> Option<Caller> {
        let features = SevFeatures::from_bits_retain(vmsa.sev_features.get());
        Some(Caller {
            snp_active: features.contains(SevFeatures::SNP_ACTIVE),
            vmpl: Vmpl::new(vmsa.vmpl)?,
            cpl: vmsa.cpl,
            long_mode_64: vmsa.efer.get() & EFER_LMA != 0
                && vmsa.cs.attributes.get() & ATTRIBUTE_L != 0,
        })
    }

    /// What all three instructions check first.
    fn check(self, needs_64_bit: bool) -> Result<(), Outcome> {
        if !self.snp_active || (needs_64_bit && !self.long_mode_64) {
            return Err(Outcome::InvalidOpcode);
        }
        if self.cpl != 0 {
            return Err(Outcome::GeneralProtection);
        }
        Ok(())
    }
}

/// Where the instruction's linear address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Guest physical address of the operand's page.
    pub gpa: u64,
    /// The C-bit of the guest's mapping.
    pub private: bool,
    /// The system physical frame, if any memory is there.
    pub frame: Option<u64>,
}

/// What the instruction ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome {
    /// Completed with this EAX; RIP moves on. `carry` is rFLAGS.CF.
    Done { eax: u64, carry: bool },
    /// RMPQUERY completed with EAX 0 and these.
    Queried { rdx: u64, rcx: u64 },
    /// #GP(0).
    GeneralProtection,
    /// #UD.
    InvalidOpcode,
    /// #PF with this error code, CR2 the operand's address.
    PageFault { error_code: u32 },
    /// VMEXIT_NPF or #VC: see the violation's effect.
    Violation(Violation),
}

impl Outcome {
    /// RFLAGS after [`Outcome::Done`] or [`Outcome::Queried`]: OF, SF, ZF, AF, PF as by comparing EAX with 0, CF as
    /// `carry`. Unchanged for faults.
    pub fn rflags(self, rflags: u64) -> u64 {
        const CF: u64 = 1 << 0;
        const PF: u64 = 1 << 2;
        const AF: u64 = 1 << 4;
        const ZF: u64 = 1 << 6;
        const SF: u64 = 1 << 7;
        const OF: u64 = 1 << 11;
        let (eax, carry) = match self {
            Outcome::Done { eax, carry } => (eax as u32, carry),
            Outcome::Queried { .. } => (0, false),
            _ => return rflags,
        };
        let mut flags = rflags & !(CF | PF | AF | ZF | SF | OF);
        if carry {
            flags |= CF;
        }
        if (eax as u8).count_ones().is_multiple_of(2) {
            flags |= PF;
        }
        if eax == 0 {
            flags |= ZF;
        }
        if eax >> 31 != 0 {
            flags |= SF;
        }
        flags
    }

    const fn code(eax: u64) -> Outcome {
        Outcome::Done { eax, carry: false }
    }
}

/// A PVALIDATE whose operands are sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Pvalidate {
    pub va: u64,
    pub size: PageSize,
    pub validate: bool,
}

/// An RMPADJUST in the right mode, with a sound address. What RDX says is checked after the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RmpAdjust {
    pub va: u64,
    pub size: PageSize,
    pub caller: Vmpl,
    pub rdx: u64,
}

/// An RMPQUERY in the right mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RmpQuery {
    pub va: u64,
    pub caller: Vmpl,
    pub target: u8,
}

impl Pvalidate {
    /// Checks mode and operands. Outside 64-bit mode `rax` is truncated to 32 bits.
    ///
    /// Only VMPL0 may validate: elsewhere #GP(0) (public sources contradict each other; snp-semantics C1).
    pub fn decode(caller: Caller, rax: u64, rcx: u64, rdx: u64) -> Result<Pvalidate, Outcome> {
        caller.check(false)?;
        if caller.vmpl != Vmpl::Vmpl0 {
            return Err(Outcome::GeneralProtection);
        }
        let rax = if caller.long_mode_64 {
            rax
        } else {
            rax & 0xFFFF_FFFF
        };
        let (va, size) = operand(rax, rcx & 0xFFFF_FFFF)?;
        let validate = match rdx & 0xFFFF_FFFF {
            0 => false,
            1 => true,
            _ => return Err(Outcome::code(result::FAIL_INPUT)),
        };
        Ok(Pvalidate { va, size, validate })
    }
}

impl RmpAdjust {
    /// Checks mode, address and size.
    pub fn decode(caller: Caller, rax: u64, rcx: u64, rdx: u64) -> Result<RmpAdjust, Outcome> {
        caller.check(true)?;
        let (va, size) = operand(rax, rcx)?;
        Ok(RmpAdjust {
            va,
            size,
            caller: caller.vmpl,
            rdx,
        })
    }
}

impl RmpQuery {
    /// Checks the mode.
    pub fn decode(caller: Caller, rax: u64, rcx: u64) -> Result<RmpQuery, Outcome> {
        caller.check(true)?;
        Ok(RmpQuery {
            va: rax & !0xFFF,
            caller: caller.vmpl,
            target: rcx as u8,
        })
    }
}

/// Page address and size; FAIL_INPUT for a size that does not exist and for an address not aligned to it.
fn operand(rax: u64, rcx: u64) -> Result<(u64, PageSize), Outcome> {
    let fail = Outcome::code(result::FAIL_INPUT);
    let size = PageSize::from_bits(rcx).ok_or(fail)?;
    let va = rax & !0xFFF;
    if !va.is_multiple_of(size.bytes()) {
        return Err(fail);
    }
    Ok((va, size))
}

/// PVALIDATE on a walked operand. If the outcome is `Done { eax: 0, carry: false }` the page's validated bit changed:
/// the machine updates the nested page tables of every VMPL.
pub fn pvalidate(rmp: &mut Rmp<'_>, op: &Pvalidate, at: Mapping) -> Outcome {
    let (frame, entry) = match governing_entry(rmp, at) {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    // A running VMSA cannot be taken away (the same answer as for a store to it).
    if entry.in_use() {
        let violation = Violation::rmp(at.gpa, Rule::VmsaInUse, Access::READ, true, 0);
        return Outcome::Violation(violation);
    }
    if let Err(outcome) = check_size(entry, op.size, at.gpa) {
        return outcome;
    }
    if entry.validated() == op.validate {
        return Outcome::Done {
            eax: result::SUCCESS,
            carry: true,
        };
    }
    if let Some(entry) = rmp.entry_mut(frame) {
        entry.set_validated(op.validate);
    }
    Outcome::code(result::SUCCESS)
}

/// RMPADJUST on a walked operand. If the outcome is `Done { eax: 0, .. }` the target VMPL's rights changed: the machine
/// updates its nested page table and shoots down TLBs.
pub fn rmpadjust(rmp: &mut Rmp<'_>, op: &RmpAdjust, at: Mapping) -> Outcome {
    if let Err(outcome) = check_mapping(at) {
        return outcome;
    }
    let target = op.rdx as u8;
    if target <= op.caller as u8 {
        return Outcome::code(result::FAIL_PERMISSION);
    }
    let permissions = RmpPermissions::from_bits_retain((op.rdx >> 8) as u8);
    let vmsa = op.rdx & RMPADJUST_VMSA != 0;
    // Supervisor shadow stacks (VmplSSS) are not offered, so their bit is reserved like the others. A VMSA is 4 KiB.
    let malformed = op.rdx & !(RMPADJUST_VMSA | 0xFFFF) != 0
        || !ALL_PERMISSIONS.contains(permissions)
        || (vmsa && op.size == PageSize::Size2M);
    let target = match Vmpl::new(target) {
        Some(target) if !malformed => target,
        _ => return Outcome::code(result::FAIL_INPUT),
    };
    let (frame, entry) = match governing_entry(rmp, at) {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    if op.size == PageSize::Size4K && entry.size() == PageSize::Size2M {
        return Outcome::Violation(size_mismatch(at.gpa));
    }
    if entry.in_use() {
        let violation = Violation::rmp(at.gpa, Rule::VmsaInUse, Access::READ, true, 0);
        return Outcome::Violation(violation);
    }
    if !entry.validated() {
        return Outcome::Violation(Violation::not_validated(at.gpa));
    }
    if let Err(outcome) = check_size(entry, op.size, at.gpa) {
        return outcome;
    }
    if !entry.permissions(op.caller).contains(permissions) {
        return Outcome::code(result::FAIL_PERMISSION);
    }
    if let Some(entry) = rmp.entry_mut(frame) {
        entry.set_permissions(target, permissions);
        // Below VMPL0 the bit is ignored (MSVC __rmpadjust, EDK2), at VMPL0 it is always written.
        if op.caller == Vmpl::Vmpl0 {
            entry.set_vmsa(vmsa);
        }
    }
    Outcome::code(result::SUCCESS)
}

/// RMPQUERY on a walked operand: RDX has RMPADJUST's layout, RCX is the page size.
///
/// Only less privileged levels can be asked about (snp-semantics 1.7; whether the caller's own level may be is not
/// known, so it may not).
pub fn rmpquery(rmp: &Rmp<'_>, op: &RmpQuery, at: Mapping) -> Outcome {
    if let Err(outcome) = check_mapping(at) {
        return outcome;
    }
    let target = match Vmpl::new(op.target) {
        Some(target) if target > op.caller => target,
        _ => return Outcome::code(result::FAIL_PERMISSION),
    };
    let (_, entry) = match governing_entry(rmp, at) {
        Ok(found) => found,
        Err(outcome) => return outcome,
    };
    if !entry.validated() {
        return Outcome::Violation(Violation::not_validated(at.gpa));
    }
    Outcome::Queried {
        rdx: snp_abi::rmp::rmpadjust_rdx(target, entry.permissions(target), entry.vmsa()),
        rcx: entry.size() as u64,
    }
}

/// A C=0 mapping is a page fault with P and RSVD, not a result code.
fn check_mapping(at: Mapping) -> Result<u64, Outcome> {
    if !at.private {
        return Err(Outcome::PageFault {
            error_code: PF_PRESENT | PF_RESERVED,
        });
    }
    at.frame.ok_or(Outcome::Violation(Violation::not_mapped(
        at.gpa,
        Access::READ,
        true,
    )))
}

/// The entry of the operand's page, if it is the guest's and at this GPA.
fn governing_entry(rmp: &Rmp<'_>, at: Mapping) -> Result<(u64, RmpEntry), Outcome> {
    let frame = check_mapping(at)?;
    // Memory outside the RMP belongs to the hypervisor for good.
    let entry = rmp.entry(frame).unwrap_or(RmpEntry::HYPERVISOR);
    check_owner(entry, at.gpa, Access::READ).map_err(Outcome::Violation)?;
    Ok((frame, entry))
}

/// A smaller page than the entry: exit, the hypervisor smashes and retries. A larger one: a result code.
fn check_size(entry: RmpEntry, asked: PageSize, gpa: u64) -> Result<(), Outcome> {
    match (entry.size(), asked) {
        (PageSize::Size2M, PageSize::Size4K) => Err(Outcome::Violation(size_mismatch(gpa))),
        (PageSize::Size4K, PageSize::Size2M) => Err(Outcome::code(result::FAIL_SIZEMISMATCH)),
        // The virtual address is aligned, but a 4 KiB mapping leads into the middle of the large page.
        (PageSize::Size2M, PageSize::Size2M) if !gpa.is_multiple_of(LARGE_PAGE_SIZE) => {
            Err(Outcome::code(result::FAIL_INPUT))
        }
        _ => Ok(()),
    }
}

fn size_mismatch(gpa: u64) -> Violation {
    Violation::rmp(
        gpa,
        Rule::SizeMismatch,
        Access::READ,
        true,
        npf::SIZE_MISMATCH,
    )
}
