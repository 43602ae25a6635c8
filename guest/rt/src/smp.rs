//! Starting other processors, and, for a payload at VMPL0, other VMPLs of a processor.

use crate::context::Context;
use crate::ghcb::{Ghcb, GhcbError};
use crate::params::{self, Environment};
use crate::vmsa::{self, Entry};
use crate::{memory, nae, pool, snp, svsm, time};
use core::sync::atomic::Ordering;
use snp_abi::{PageSize, RmpPermissions, SevFeatures, Vmpl, exit};

/// Why a processor could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// RMPADJUST of the VMSA page returned this.
    Rmpadjust(u64),
    /// The SVSM refused CREATE_VCPU.
    Svsm(svsm::SvsmError),
    /// The hypervisor refused AP_CREATION.
    ApCreation(GhcbError),
    /// Its GHCB could not be made.
    Ghcb(memory::MemoryError),
    /// It did not come up in time.
    Timeout,
}

/// Makes a VMSA page, a calling area under an SVSM, and a GHCB page for a new context, without starting it.
///
/// # Errors
/// When the GHCB page cannot be shared.
pub fn prepare(
    apic_id: u32,
    vmpl: Vmpl,
    features: SevFeatures,
    entry: Entry,
    argument: u64,
) -> Result<&'static Context, StartError> {
    let context = Context::new();
    context.apic_id.store(apic_id, Ordering::Relaxed);
    context.vmpl.store(vmpl as u32, Ordering::Relaxed);
    let page = pool::vmsa_page();
    context.vmsa.store(page, Ordering::Relaxed);
    if params::environment() == Environment::UnderSvsm {
        context.caa.store(pool::pages(1), Ordering::Relaxed);
    }
    let ghcb = Ghcb::new().map_err(StartError::Ghcb)?;
    context.prepared_ghcb.store(ghcb.gpa(), Ordering::Relaxed);
    let state = vmsa::for_context(context, vmpl, features, entry, argument);
    // SAFETY: the page was just allocated.
    unsafe { vmsa::write(page, &state) };
    Ok(context)
}

/// Makes the context's VMSA page a VMSA: RMPADJUST at VMPL0, CREATE_VCPU under an SVSM.
pub fn make_vmsa(context: &Context) -> Result<(), StartError> {
    let page = context.vmsa.load(Ordering::Relaxed);
    match params::environment() {
        Environment::Vmpl0 => {
            // SAFETY: the page is the context's own; no VMPL needs it as memory.
            let code = unsafe {
                snp::rmpadjust(
                    page,
                    PageSize::Size4K,
                    Vmpl::Vmpl1,
                    RmpPermissions::empty(),
                    true,
                )
            };
            if code == 0 {
                Ok(())
            } else {
                Err(StartError::Rmpadjust(code))
            }
        }
        Environment::UnderSvsm => {
            let caa = context.caa.load(Ordering::Relaxed);
            let apic_id = context.apic_id.load(Ordering::Relaxed);
            svsm::create_vcpu(page, caa, apic_id).map_err(StartError::Svsm)
        }
    }
}

/// Asks the hypervisor to start the context's processor with its VMSA, and waits up to 5 s until it runs.
pub fn launch(context: &'static Context, features: SevFeatures) -> Result<(), StartError> {
    let apic_id = context.apic_id.load(Ordering::Relaxed);
    let vmpl = context.vmpl.load(Ordering::Relaxed) as u8;
    let page = context.vmsa.load(Ordering::Relaxed);
    nae::ap_creation(exit::AP_CREATE, apic_id, vmpl, page, features.bits())
        .map_err(StartError::ApCreation)?;
    if time::wait_until(5000, || context.state.load(Ordering::Acquire) != 0) {
        Ok(())
    } else {
        Err(StartError::Timeout)
    }
}

/// Starts `entry(argument)` on the processor with this APIC ID, at the payload's own VMPL, and waits up to 5 s until it
/// runs. It gets a stack, a registered GHCB and, under an SVSM, a calling area; when `entry` returns it halts.
pub fn start(apic_id: u32, entry: Entry, argument: u64) -> Result<&'static Context, StartError> {
    let features = params::sev_features();
    let context = prepare(apic_id, params::vmpl(), features, entry, argument)?;
    make_vmsa(context)?;
    launch(context, features)?;
    Ok(context)
}
