//! The guest's vCPUs as the SVSM knows them, and one round of serving them: let the guest run, see whether it left
//! with a call, answer it (58019 §5; for EFER.SVME, APM vol. 2 §15.36.12).
//!
//! A vCPU is its APIC ID, the VMSA it runs and its calling area. Any vCPU may change another's by CREATE_VCPU and
//! DELETE_VCPU, so both are atomic and every use of them is made under the call lock.

use crate::machine::MemoryFault;
use crate::request::Registers;
use crate::startup::Start;
use crate::sync::{AtomicU64, Ordering};
use core::mem::offset_of;
use snp_abi::exit;
use snp_abi::msr::EFER_SVME;
use snp_abi::vmsa::Vmsa;
use zerocopy::IntoBytes;

/// No page: not an address of one.
const NONE: u64 = u64::MAX;

/// One vCPU, as all vCPUs may see it.
#[derive(Debug)]
pub struct Vcpu {
    apic_id: u32,
    start: Start,
    vmsa: AtomicU64,
    calling_area: AtomicU64,
}

impl Vcpu {
    /// A vCPU without guest.
    pub fn new(apic_id: u32) -> Vcpu {
        Vcpu {
            apic_id,
            start: Start::new(),
            vmsa: AtomicU64::new(NONE),
            calling_area: AtomicU64::new(NONE),
        }
    }

    /// Its APIC ID.
    pub const fn apic_id(&self) -> u32 {
        self.apic_id
    }

    /// Its coming up.
    pub const fn start(&self) -> &Start {
        &self.start
    }

    /// Says that the SVSM runs on it: on the boot CPU, which needs no start.
    pub fn set_online(&self) {
        self.start.set_up();
    }

    /// Whether the SVSM runs on it. Settled for good when the boot CPU has waited.
    pub fn is_online(&self) -> bool {
        self.start.is_up()
    }

    /// GPA of the VMSA that it runs at the guest's VMPL.
    pub fn vmsa(&self) -> Option<u64> {
        page(&self.vmsa)
    }

    /// GPA of its calling area.
    pub fn calling_area(&self) -> Option<u64> {
        page(&self.calling_area)
    }

    /// Sets both, or takes the vCPU from the guest.
    pub fn set_guest(&self, guest: Option<(u64, u64)>) {
        let (vmsa, calling_area) = guest.unwrap_or((NONE, NONE));
        self.vmsa.store(vmsa, Ordering::Release);
        self.calling_area.store(calling_area, Ordering::Release);
    }
}

fn page(gpa: &AtomicU64) -> Option<u64> {
    Some(gpa.load(Ordering::Acquire)).filter(|&gpa| gpa != NONE)
}

/// All vCPUs. Complete before the second one runs; never changed in number.
#[derive(Clone, Copy, Debug)]
pub struct VcpuTable<'a>(pub &'a [Vcpu]);

impl<'a> VcpuTable<'a> {
    /// The vCPU with this APIC ID, if the SVSM runs on it.
    pub fn online(&self, apic_id: u32) -> Option<&'a Vcpu> {
        self.0
            .iter()
            .find(|vcpu| vcpu.apic_id() == apic_id && vcpu.is_online())
    }

    /// The vCPU that runs this VMSA.
    pub fn running(&self, vmsa: u64) -> Option<&'a Vcpu> {
        self.0.iter().find(|vcpu| vcpu.vmsa() == Some(vmsa))
    }
}

/// Access to a VMSA page, wherever it is, while its vCPU does not run.
pub trait VmsaAccess {
    /// Reads the quadword at `offset` of the VMSA at `gpa`.
    fn read_u64(&self, gpa: u64, offset: usize) -> Result<u64, MemoryFault>;
    /// Writes it.
    fn write_u64(&self, gpa: u64, offset: usize, value: u64) -> Result<(), MemoryFault>;
}

/// Allows or forbids the hypervisor to run the VMSA: VMRUN refuses one whose EFER.SVME is clear.
pub fn set_runnable(
    memory: &impl VmsaAccess,
    vmsa: u64,
    runnable: bool,
) -> Result<(), MemoryFault> {
    let efer = memory.read_u64(vmsa, offset_of!(Vmsa, efer))?;
    let wanted = if runnable {
        efer | EFER_SVME
    } else {
        efer & !EFER_SVME
    };
    memory.write_u64(vmsa, offset_of!(Vmsa, efer), wanted)
}

/// The registers of the call with which the guest left, if it left by VMGEXIT: every other exit is the hypervisor's
/// business and the guest is to be resumed.
pub fn call_registers(
    memory: &impl VmsaAccess,
    vmsa: u64,
) -> Result<Option<Registers>, MemoryFault> {
    if memory.read_u64(vmsa, offset_of!(Vmsa, guest_exit_code))? != exit::VMGEXIT {
        return Ok(None);
    }
    Ok(Some(Registers {
        rax: memory.read_u64(vmsa, offset_of!(Vmsa, rax))?,
        rcx: memory.read_u64(vmsa, offset_of!(Vmsa, rcx))?,
        rdx: memory.read_u64(vmsa, offset_of!(Vmsa, rdx))?,
        r8: memory.read_u64(vmsa, offset_of!(Vmsa, r8))?,
    }))
}

/// Gives the guest its results.
pub fn set_results(
    memory: &impl VmsaAccess,
    vmsa: u64,
    registers: &Registers,
) -> Result<(), MemoryFault> {
    memory.write_u64(vmsa, offset_of!(Vmsa, rax), registers.rax)?;
    memory.write_u64(vmsa, offset_of!(Vmsa, rcx), registers.rcx)?;
    memory.write_u64(vmsa, offset_of!(Vmsa, rdx), registers.rdx)?;
    memory.write_u64(vmsa, offset_of!(Vmsa, r8), registers.r8)
}

/// Takes the call: reads `call_pending` and clears it, before the call is executed, so that a call which changes the
/// calling area is not taken twice. Memory that the guest took away counts as "no call".
pub fn take_call(memory: &impl crate::machine::GuestMemory, calling_area: u64) -> bool {
    let mut pending = 0u8;
    memory.read(calling_area, pending.as_mut_bytes()).is_ok()
        && pending == 1
        && memory.write(calling_area, &[0]).is_ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::machine::GuestMemory;
    use std::cell::RefCell;

    struct Page(RefCell<[u8; 4096]>);

    impl VmsaAccess for Page {
        fn read_u64(&self, gpa: u64, offset: usize) -> Result<u64, MemoryFault> {
            assert_eq!(gpa, 0x5000);
            let page = self.0.borrow();
            Ok(u64::from_le_bytes(
                page[offset..offset + 8].try_into().unwrap(),
            ))
        }
        fn write_u64(&self, gpa: u64, offset: usize, value: u64) -> Result<(), MemoryFault> {
            assert_eq!(gpa, 0x5000);
            self.0.borrow_mut()[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
            Ok(())
        }
    }

    impl GuestMemory for Page {
        fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<(), MemoryFault> {
            let at = (gpa - 0x5000) as usize;
            buffer.copy_from_slice(&self.0.borrow()[at..at + buffer.len()]);
            Ok(())
        }
        fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
            let at = (gpa - 0x5000) as usize;
            self.0.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
        fn zero(&self, _: u64, _: u64) -> Result<(), MemoryFault> {
            Err(MemoryFault)
        }
    }

    fn page() -> Page {
        Page(RefCell::new([0; 4096]))
    }

    #[test]
    fn only_a_vmgexit_is_a_call() {
        let page = page();
        for (code, is_call) in [
            (0x403, true),
            (0x60, false),
            (0x400, false),
            (u64::MAX, false),
            (0, false),
        ] {
            page.write_u64(0x5000, 0x3C0, code).unwrap();
            assert_eq!(
                call_registers(&page, 0x5000).unwrap().is_some(),
                is_call,
                "{code:#x}"
            );
        }
    }

    #[test]
    fn registers_come_from_and_go_to_their_places_in_the_vmsa() {
        let page = page();
        page.write_u64(0x5000, 0x3C0, 0x403).unwrap();
        for (offset, value) in [(0x1F8, 1), (0x308, 2), (0x310, 3), (0x340, 4)] {
            page.write_u64(0x5000, offset, value).unwrap();
        }
        let registers = call_registers(&page, 0x5000).unwrap().unwrap();
        assert_eq!(
            registers,
            Registers {
                rax: 1,
                rcx: 2,
                rdx: 3,
                r8: 4
            }
        );
        set_results(
            &page,
            0x5000,
            &Registers {
                rax: 5,
                rcx: 6,
                rdx: 7,
                r8: 8,
            },
        )
        .unwrap();
        for (offset, value) in [(0x1F8, 5), (0x308, 6), (0x310, 7), (0x340, 8), (0x348, 0)] {
            assert_eq!(page.read_u64(0x5000, offset).unwrap(), value);
        }
    }

    #[test]
    fn svme_alone_changes() {
        let page = page();
        page.write_u64(0x5000, 0xD0, 0xD00).unwrap();
        set_runnable(&page, 0x5000, true).unwrap();
        assert_eq!(page.read_u64(0x5000, 0xD0).unwrap(), 0x1D00);
        set_runnable(&page, 0x5000, false).unwrap();
        assert_eq!(page.read_u64(0x5000, 0xD0).unwrap(), 0xD00);
    }

    #[test]
    fn a_call_is_taken_once() {
        let page = page();
        assert!(!take_call(&page, 0x5000));
        page.write(0x5000, &[1, 7]).unwrap();
        assert!(take_call(&page, 0x5000));
        assert!(!take_call(&page, 0x5000));
        assert_eq!(page.0.borrow()[1], 7);
        page.write(0x5000, &[2]).unwrap();
        assert!(!take_call(&page, 0x5000));
    }

    #[test]
    fn vcpus_are_found_by_apic_id_when_online_and_by_vmsa() {
        let vcpus = [Vcpu::new(0), Vcpu::new(7)];
        let table = VcpuTable(&vcpus);
        vcpus[0].set_online();
        assert!(table.online(0).is_some());
        assert!(table.online(7).is_none());
        vcpus[1].set_online();
        assert_eq!(table.online(7).unwrap().apic_id(), 7);
        assert!(table.running(0x9000).is_none());
        vcpus[1].set_guest(Some((0x9000, 0xA000)));
        assert_eq!(table.running(0x9000).unwrap().apic_id(), 7);
        assert_eq!(vcpus[1].calling_area(), Some(0xA000));
        vcpus[1].set_guest(None);
        assert!(table.running(0x9000).is_none());
        assert_eq!(vcpus[1].calling_area(), None);
    }
}
