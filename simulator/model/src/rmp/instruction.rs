//! PVALIDATE, RMPADJUST and RMPQUERY (APM vol. 3), the checks in the order of the processor.
//!
//! Each has two steps, because the guest's page walk lies between the checks: `Pvalidate::decode` looks at registers
//! and mode, the machine then walks RAX (`walk::translate`, an ordinary load) and finds the frame, and [`pvalidate`]
//! does the rest. Any step can give the final [`Outcome`].

use super::{Access, Rmp, Rule, Violation};
use snp_abi::{PageSize, RmpPermissions, Vmpl};

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
    /// From the vCPU's state.
    pub fn from_vmsa(vmsa: &snp_abi::vmsa::Vmsa) -> Option<Caller> {
        let _ = vmsa;
        todo!()
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
        let _ = rflags;
        todo!()
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

/// An RMPADJUST whose operands are sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RmpAdjust {
    pub va: u64,
    pub size: PageSize,
    pub caller: Vmpl,
    pub target: Vmpl,
    pub permissions: RmpPermissions,
    pub vmsa: bool,
}

/// An RMPQUERY whose operands are sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RmpQuery {
    pub va: u64,
    pub caller: Vmpl,
    pub target: Vmpl,
}

impl Pvalidate {
    /// Checks mode and operands. Outside 64-bit mode `rax` is truncated to 32 bits.
    pub fn decode(caller: Caller, rax: u64, rcx: u64, rdx: u64) -> Result<Pvalidate, Outcome> {
        let _ = (caller, rax, rcx, rdx);
        todo!()
    }
}

impl RmpAdjust {
    /// Checks mode and operands.
    pub fn decode(caller: Caller, rax: u64, rcx: u64, rdx: u64) -> Result<RmpAdjust, Outcome> {
        let _ = (caller, rax, rcx, rdx);
        todo!()
    }
}

impl RmpQuery {
    /// Checks mode and operands.
    pub fn decode(caller: Caller, rax: u64, rcx: u64) -> Result<RmpQuery, Outcome> {
        let _ = (caller, rax, rcx);
        todo!()
    }
}

/// PVALIDATE on a walked operand. If the outcome is `Done { eax: 0, carry: false }` the page's validated bit changed:
/// the machine updates the nested page tables of every VMPL.
pub fn pvalidate(rmp: &mut Rmp<'_>, op: &Pvalidate, at: Mapping) -> Outcome {
    let _ = (rmp, op, at, Access::READ, Rule::SizeMismatch);
    todo!()
}

/// RMPADJUST on a walked operand. If the outcome is `Done { eax: 0, .. }` the target VMPL's rights changed: the machine
/// updates its nested page table and shoots down TLBs.
pub fn rmpadjust(rmp: &mut Rmp<'_>, op: &RmpAdjust, at: Mapping) -> Outcome {
    let _ = (rmp, op, at);
    todo!()
}

/// RMPQUERY on a walked operand.
pub fn rmpquery(rmp: &Rmp<'_>, op: &RmpQuery, at: Mapping) -> Outcome {
    let _ = (rmp, op, at);
    todo!()
}
