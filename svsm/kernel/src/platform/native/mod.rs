//! A machine without confidential computing: an ordinary VM, for development and debugging. The host sees and changes
//! everything, and there is no level below the SVSM's for a guest.

mod apic;
mod serial;

use super::{Connection, CpuPages, Detail, Platform, PlatformError, PlatformResult};
use crate::arch::boot_stage::{SIPI_VECTOR, add_ap_start};
use crate::arch::cpu;
use crate::arch::percpu::this_cpu;
use crate::arch::traps::TrapFrame;
use crate::mm;
use core::ops::Range;
use snp_abi::SevFeatures;
use snp_abi::cpuid::{CpuidEntry, CpuidPage};
use svsm_abi::termination::Reason;
use svsm_core::vmsa::ApStart;
use zerocopy::FromZeros;

/// The platform.
pub struct Native;

/// Leaves of CPUID that the SVSM asks for, in the order of the page that stands for the firmware's.
const LEAVES: [u32; 9] = [
    0,
    1,
    7,
    0x15,
    0x16,
    0x4000_0010,
    0x8000_0000,
    0x8000_0001,
    0x8000_0008,
];

/// Where QEMU has its `isa-debug-exit` device, if it is told to.
const EXIT_PORT: u16 = 0xF4;
/// Where Bochs takes the word that ends it.
const BOCHS_PORT: u16 = 0x8900;
const BOCHS_WORD: &[u8] = b"Shutdown";

/// Mask registers of the two 8259s.
const INTERRUPT_MASKS: [u16; 2] = [0x21, 0xA1];

/// RFLAGS.IF: a service's timer is an interrupt.
const INTERRUPTS: u64 = 1 << 9;

/// This CPU's APIC ID: of 32 bits where the processor has leaf 0xB, else of 8.
fn apic_id() -> u32 {
    let topology = cpu::cpuid(0xB, 0);
    if cpu::cpuid(0, 0).eax >= 0xB && topology.ebx != 0 {
        topology.edx
    } else {
        cpu::cpuid(1, 0).ebx >> 24
    }
}

/// There is no guest on this platform.
const NO_GUEST: PlatformError = PlatformError {
    reason: Reason::NoGuest,
    detail: Detail::Value(
        "the native platform has no guest; levels below the SVSM:",
        0,
    ),
};

impl Platform for Native {
    fn connect(&self, _c_bit: u32) -> PlatformResult<Connection> {
        serial::PORT.init();
        // The PC's interrupt controllers: firmware leaves them on, with vectors that are exceptions here.
        for port in INTERRUPT_MASKS {
            cpu::out8(port, 0xFF);
        }
        let page = mm::allocate_slice(1, |_| CpuidPage::new_zeroed())?;
        let page = &mut page[0];
        let hypervisor = cpu::cpuid(1, 0).ecx & 1 << 31 != 0;
        let has = |leaf: u32| {
            let class = leaf & 0xF000_0000;
            cpu::cpuid(class, 0).eax >= leaf && (class != 0x4000_0000 || hypervisor)
        };
        let mut count = 0;
        for (entry, leaf) in page
            .entries
            .iter_mut()
            .zip(LEAVES.into_iter().filter(|&leaf| has(leaf)))
        {
            let result = cpu::cpuid(leaf, 0);
            *entry = CpuidEntry {
                eax_in: leaf.into(),
                eax: result.eax.into(),
                ebx: result.ebx.into(),
                ecx: result.ecx.into(),
                edx: result.edx.into(),
                ..CpuidEntry::new_zeroed()
            };
            count += 1;
        }
        page.count = count.into();
        Ok(Connection {
            features: SevFeatures::empty(),
            host_features: 0,
            boot_apic_id: apic_id(),
            cpuid: page,
            secrets: None,
        })
    }

    fn new_cpu_pages(&self) -> PlatformResult<CpuPages> {
        Ok(CpuPages::default())
    }

    fn init_cpu(&self) -> PlatformResult<()> {
        apic::init()?;
        this_cpu().service_flags.set(INTERRUPTS);
        Ok(())
    }

    fn console_write(&self, bytes: &[u8]) {
        serial::write(bytes);
    }

    fn terminate(&self, reason: Reason) -> ! {
        apic::stop_others(apic_id());
        for &byte in BOCHS_WORD {
            cpu::out8(BOCHS_PORT, byte);
        }
        cpu::out8(EXIT_PORT, reason as u8);
        cpu::stop()
    }

    fn accept_own_memory(&self, _: Range<u64>, _: bool) -> PlatformResult<()> {
        Ok(())
    }

    fn start_cpu(
        &self,
        apic_id: u32,
        start: &'static ApStart,
        _: SevFeatures,
    ) -> PlatformResult<()> {
        if !apic::reaches(apic_id) {
            return Err(PlatformError {
                reason: Reason::Madt,
                detail: Detail::Value("without x2APIC there is no way to APIC ID", apic_id.into()),
            });
        }
        if !add_ap_start(apic_id, start) {
            return Err(mm::OutOfMemory.into());
        }
        apic::start_ap(apic_id, SIPI_VECTOR);
        Ok(())
    }

    #[cfg(feature = "tests")]
    fn send_ipi(&self, apic_id: u32) -> PlatformResult<()> {
        apic::send_ipi(apic_id);
        Ok(())
    }

    #[cfg(feature = "gdb")]
    fn stop_cpu(&self, apic_id: u32) -> bool {
        apic::send_nmi(apic_id);
        true
    }

    #[cfg(feature = "tests")]
    fn take_signal(&self) {
        self.idle();
    }

    #[cfg(feature = "tests")]
    fn send_nmi(&self, apic_id: u32) -> PlatformResult<()> {
        apic::send_nmi(apic_id);
        Ok(())
    }

    #[cfg(feature = "tests")]
    fn make_private(&self, _: u64) -> PlatformResult<()> {
        Ok(())
    }

    fn idle(&self) {
        cpu::wait_for_interrupt();
        apic::end_of_interrupt();
    }

    fn set_timer(&self, nanoseconds: u64) {
        apic::end_of_interrupt();
        apic::set_timer(nanoseconds);
    }

    fn calm(&self) {}

    fn register_guest(&self, _: u32, _: u64, _: SevFeatures) -> PlatformResult<()> {
        Err(NO_GUEST)
    }

    fn run_guest(&self) -> PlatformResult<()> {
        Err(NO_GUEST)
    }

    fn emulate(&self, _: &mut TrapFrame) -> Result<(), ()> {
        Err(())
    }
}
