//! The rules of the software SNP machine as pure logic: no hardware, no `unsafe`, tested on the host.
//!
//! The machine (`simulator/machine`) does the doing: it owns nested page tables, the VMCBs and the processors. What is
//! *allowed*, what an instruction returns and what a guest sees is decided here, each rule with its source:
//! APM = AMD64 Architecture Programmer's Manual (24593 vol. 2, 24594 vol. 3), 56421 = GHCB specification, 56860 = SNP
//! firmware ABI, Linux/KVM = `arch/x86/kvm/svm/sev.c`.
//!
//! | module | question it answers |
//! |---|---|
//! | [`rmp`] | who owns a page, what may a VMPL do with it, what do PVALIDATE, RMPADJUST, ... return |
//! | [`walk`] | which guest physical page does this virtual address mean, private or shared |
//! | [`event`] | what does the processor do when it delivers this exception |
//! | [`decode`] | which instruction caused this exit, and how long is it |
//! | [`ghcb`], [`ghcb_msr`], [`psc`] | what does the guest ask of its hypervisor |
//! | [`cpuid`], [`msr_policy`], [`apic`] | what processor does the guest see |
//! | [`lapic`] | what interrupts has a VMPL with an APIC of its own |
//! | [`vmsa_check`], [`fpu`] | may VMRUN enter this VMSA; how is its FPU state laid out |
//! | [`shootdown`] | when does no processor use rights any more that were taken away |
//! | [`trace`], [`calls`], [`call_log`] | what the person running the machine wants to see |
//!
//! Vcpu state is the VMSA everywhere ([`snp_abi::vmsa::Vmsa`]), also while a vCPU runs: the machine keeps it in step
//! with the VMCB.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, loom))]
#[macro_use]
extern crate std;

pub mod apic;
pub mod call_log;
pub mod calls;
pub mod cpuid;
pub mod decode;
pub mod event;
pub mod fpu;
pub mod ghcb;
pub mod ghcb_msr;
pub mod kvmclock;
pub mod lapic;
pub mod msr_policy;
pub mod psc;
pub mod rmp;
pub mod shootdown;
pub mod trace;
pub mod vmsa_check;
pub mod walk;

/// Where the C-bit is and how wide physical addresses are: what a page-table entry can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Position of the C-bit in a page-table entry (47 in this machine).
    pub c_bit: u8,
    /// Bits of a physical address in a page-table entry, the C-bit among them (48).
    pub physical_bits: u8,
}

impl Geometry {
    /// The C-bit as a mask.
    pub const fn c_mask(self) -> u64 {
        1 << self.c_bit
    }

    /// The bits of a page-table entry (51:12) that hold a guest physical address, the C-bit left out.
    pub const fn address_mask(self) -> u64 {
        ((1 << self.physical_bits) - 1) & !self.c_mask() & !0xFFF
    }

    /// First address beyond guest physical memory: the C-bit takes the top bit away.
    pub const fn gpa_limit(self) -> u64 {
        if self.c_bit < self.physical_bits {
            1 << self.c_bit
        } else {
            1 << self.physical_bits
        }
    }

    /// Splits an address that carries the C-bit (a nested fault's, say) into GPA and "private".
    pub const fn split(self, address: u64) -> (u64, bool) {
        (address & !self.c_mask(), address & self.c_mask() != 0)
    }
}
