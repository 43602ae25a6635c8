//! AMD SEV-SNP: the hypervisor is reached by VMGEXIT, through the GHCB MSR and a GHCB page per CPU (56421).

mod doorbell;
mod emulate;
mod ghcb;

use super::{Connection, CpuPages, Detail, Platform, PlatformError, PlatformResult};
use crate::arch::cpu;
use crate::arch::percpu::this_cpu;
use crate::arch::traps::TrapFrame;
use crate::console::log;
use crate::mm::{self, OwnPageError, SharedPage, VmsaPage};
use boot_abi::layout;
use core::ops::Range;
use snp_abi::exit;
use snp_abi::ghcb_msr;
use snp_abi::sev_features::{SEV_STATUS_SEV, SEV_STATUS_SEV_ES, SEV_STATUS_SNP};
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, PageSize, SevFeatures, Vmpl, msr};
use svsm_abi::termination::{Reason, SET};
use svsm_core::host_answer;
use svsm_core::vmsa::ApStart;

/// The platform.
pub struct Snp;

/// SEV features that this kernel may run with. Restricted injection is what keeps the host's interrupts out.
const REQUIRED: SevFeatures = SevFeatures::SNP_ACTIVE.union(SevFeatures::RESTRICTED_INJECTION);
/// Features that change nothing for it.
const HARMLESS: SevFeatures = SevFeatures::DEBUG_SWAP
    .union(SevFeatures::SECURE_TSC)
    .union(SevFeatures::PREVENT_HOST_IBS)
    .union(SevFeatures::BTB_ISOLATION)
    .union(SevFeatures::SMT_PROTECTION);

/// Level of the guest.
const GUEST_VMPL: Vmpl = Vmpl::Vmpl2;

impl Platform for Snp {
    fn connect(&self, c_bit: u32) -> PlatformResult<Connection> {
        let features = features()?;
        let unsuitable = |error| PlatformError {
            reason: Reason::HostFeatures,
            detail: Detail::Host(error),
        };
        let info = cpu::vmgexit(ghcb_msr::SEV_INFO_REQUEST);
        host_answer::sev_info(info, c_bit as u64).map_err(unsuitable)?;
        let host_features = cpu::vmgexit(ghcb_msr::HV_FEATURES_REQUEST);
        let host_features = host_answer::features(host_features).map_err(unsuitable)?;
        Ok(Connection {
            features,
            host_features,
            // The VMM's choice for the VP that the image's VMSA is of; KVM's is 0.
            boot_apic_id: 0,
            cpuid: mm::adopt(layout::CPUID_GPA)?,
            secrets: Some(mm::adopt(layout::SECRETS_GPA)?),
        })
    }

    fn new_cpu_pages(&self) -> PlatformResult<CpuPages> {
        Ok(CpuPages {
            ghcb: Some(new_shared_page()?),
            doorbell: Some(new_shared_page()?),
        })
    }

    fn init_cpu(&self) -> PlatformResult<()> {
        let Some(page) = this_cpu().ghcb.get() else {
            return Ok(());
        };
        let answer = cpu::vmgexit(page.gpa() | ghcb_msr::REGISTER_GPA_REQUEST);
        host_answer::registration(answer, page.gpa())?;
        if let Some(page) = this_cpu().doorbell.take()
            && let Err(error) = doorbell::init(page)
            && this_cpu().index.get() == 0
        {
            // What the boot CPU says of it holds for the others, too.
            log!("the host has no timer for services: {error}; their slices have no end");
        }
        Ok(())
    }

    fn console_write(&self, bytes: &[u8]) {
        if let Some(page) = this_cpu().ghcb.get() {
            ghcb::output_string(page, bytes);
        }
    }

    fn terminate(&self, reason: Reason) -> ! {
        loop {
            cpu::vmgexit(ghcb_msr::terminate(SET, reason as u8));
            cpu::halt();
        }
    }

    fn accept_own_memory(&self, range: Range<u64>, shared: bool) -> PlatformResult<()> {
        if shared {
            ghcb::make_private(ghcb::current()?, pieces(range.clone()))?;
        }
        for (gpa, size) in pieces(range) {
            if mm::validate_own(gpa, size)? {
                continue;
            }
            // The host keeps this large page as small ones.
            for page in 0..size.pages() {
                let gpa = gpa + page * PAGE_SIZE;
                if !mm::validate_own(gpa, PageSize::Size4K)? {
                    return Err(OwnPageError::Instruction { gpa, code: 6 }.into());
                }
            }
        }
        Ok(())
    }

    fn start_cpu(
        &self,
        apic_id: u32,
        start: &'static ApStart,
        features: SevFeatures,
    ) -> PlatformResult<()> {
        let vmsa = VmsaPage::new(&start.vmsa(features))?;
        create(exit::AP_CREATE, apic_id, Vmpl::Vmpl0, vmsa.gpa(), features)
    }

    fn register_guest(&self, apic_id: u32, vmsa: u64, features: SevFeatures) -> PlatformResult<()> {
        create(exit::AP_CREATE_ON_INIT, apic_id, GUEST_VMPL, vmsa, features)
    }

    #[cfg(feature = "tests")]
    fn send_ipi(&self, apic_id: u32) -> PlatformResult<()> {
        doorbell::send(apic_id)
    }

    #[cfg(feature = "gdb")]
    fn stop_cpu(&self, _: u32) -> bool {
        // There is no NMI with restricted injection, and #HV means nothing to ring 0.
        false
    }

    #[cfg(feature = "tests")]
    fn take_signal(&self) {
        core::hint::spin_loop();
        doorbell::take();
    }

    #[cfg(feature = "tests")]
    fn send_nmi(&self, _: u32) -> PlatformResult<()> {
        Err(PlatformError {
            reason: Reason::HostAnswer,
            detail: Detail::Value("restricted injection has no vector but #HV, of", 1),
        })
    }

    #[cfg(feature = "tests")]
    fn make_private(&self, gpa: u64) -> PlatformResult<()> {
        let page = core::iter::once((gpa, PageSize::Size4K));
        Ok(ghcb::make_private(ghcb::current()?, page)?)
    }

    fn idle(&self) {
        cpu::halt();
        doorbell::take();
    }

    fn set_timer(&self, nanoseconds: u64) {
        doorbell::set_timer(nanoseconds);
    }

    fn calm(&self) {
        cpu::set_ghcb(ghcb_msr::SEV_INFO_REQUEST);
    }

    fn run_guest(&self) -> PlatformResult<()> {
        let vmpl = GUEST_VMPL as u64;
        let answer = cpu::vmgexit(vmpl << 32 | ghcb_msr::RUN_VMPL_REQUEST);
        Ok(host_answer::run_vmpl(answer, vmpl)?)
    }

    fn emulate(&self, frame: &mut TrapFrame) -> Result<(), ()> {
        emulate::emulate(frame)
    }
}

/// The features that this level runs with, if they are such that this kernel can.
fn features() -> PlatformResult<SevFeatures> {
    const ON: u64 = SEV_STATUS_SEV | SEV_STATUS_SEV_ES | SEV_STATUS_SNP;
    let status = cpu::rdmsr(msr::SEV_STATUS);
    let features = SevFeatures::from_sev_status(status);
    let known = REQUIRED.union(HARMLESS).bits();
    if status & ON != ON || !features.contains(REQUIRED) || features.bits() & !known != 0 {
        return Err(PlatformError {
            reason: Reason::SevStatus,
            detail: Detail::Value("SEV_STATUS is", status),
        });
    }
    Ok(features)
}

/// A page that the host can reach.
fn new_shared_page() -> PlatformResult<SharedPage> {
    let page = mm::share_page(|gpa| {
        let request = ghcb_msr::psc_request(gpa, ghcb_msr::PSC_SHARED);
        host_answer::page_state(cpu::vmgexit(request), gpa)
    })??;
    Ok(page)
}

/// AP creation event (56421 §4.1.9).
fn create(
    action: u64,
    apic_id: u32,
    vmpl: Vmpl,
    vmsa: u64,
    features: SevFeatures,
) -> PlatformResult<()> {
    let info1 = (apic_id as u64) << 32 | (vmpl as u64) << 16 | action;
    let page = ghcb::current()?;
    ghcb::Event::new(exit::AP_CREATION, info1, vmsa)
        .with(ghcb::RAX, features.bits())
        .issue(page)
        .map_err(PlatformError::from)
}

/// A range as pages, large ones where they fit.
fn pieces(range: Range<u64>) -> impl Iterator<Item = (u64, PageSize)> + Clone {
    let mut next = range.start;
    core::iter::from_fn(move || {
        let gpa = next;
        if gpa >= range.end {
            return None;
        }
        let size = if gpa.is_multiple_of(LARGE_PAGE_SIZE) && range.end - gpa >= LARGE_PAGE_SIZE {
            PageSize::Size2M
        } else {
            PageSize::Size4K
        };
        next += size.bytes();
        Some((gpa, size))
    })
}
