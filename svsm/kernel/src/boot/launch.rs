//! The guest's launch: what it is handed, what the SVSM gives back, its first VMSA.

use super::or_stop;
use crate::console::log;
use crate::fatal::fatal;
use crate::kernel::Kernel;
use crate::mm::{self, VmsaPage};
use crate::platform::{self, Kind, platform};
use boot_abi::{BootParams, GpaRange, MemoryMapEntry};
use snp_abi::cpuid::CpuidPage;
use snp_abi::secrets::SecretsPage;
use snp_abi::{PAGE_SIZE, PageSize, RmpPermissions, SevFeatures, Vmpl};
use svsm_abi::termination::Reason;
use svsm_core::handoff;
use svsm_core::machine::{MemoryFault, Validation};
use svsm_core::page_map::{PageMap, PageState};
use svsm_core::vmsa::{GuestStart, guest_features};
use zerocopy::{FromZeros, IntoBytes};

/// The guest to be.
pub struct Launch {
    /// SEV features of its level.
    pub features: SevFeatures,
    /// Its first VMSA; none without a guest.
    pub vmsa: Option<VmsaPage>,
}

/// Builds the guest's first VMSA.
pub fn prepare(params: &BootParams, own: SevFeatures) -> Launch {
    let features = guest_features(own);
    let start = or_stop!(Reason::BootParams, GuestStart::from_image(&params.guest));
    let vmsa = start.map(|start| match VmsaPage::new(&start.vmsa(features)) {
        Ok(page) => page,
        Err(error) => fatal!(Reason::GuestLaunch, "guest VMSA: {error}"),
    });
    Launch { features, vmsa }
}

/// Gives the guest what is its own: its launched pages, filled, and low memory.
pub fn hand_over(
    params: &BootParams,
    pages: &PageMap<'static>,
    cpuid: &CpuidPage,
    secrets: &mut SecretsPage,
    launch: &Launch,
) {
    if launch.vmsa.is_some() {
        let guest = &params.guest;
        for (name, range) in [
            ("region", &guest.region),
            ("boot stage", &params.boot_stage),
        ] {
            let (base, size) = (range.base.get(), range.size.get());
            if !pages.ram().contains(base, size) {
                fatal!(
                    Reason::MemoryMap,
                    "memory map: the guest's {name} at {base:#x} with {size:#x} bytes is not RAM"
                );
            }
        }
        if fill(params, pages, cpuid, secrets).is_err() {
            fatal!(
                Reason::GuestLaunch,
                "guest: a launched page cannot be written"
            );
        }
        for gpa in pages_of(&guest.launched) {
            let granted = mm::rmpadjust_guest(
                gpa,
                PageSize::Size4K,
                Vmpl::Vmpl2,
                RmpPermissions::RWX,
                false,
            );
            if let Err(error) = granted {
                fatal!(
                    Reason::GuestLaunch,
                    "guest: page {gpa:#x} cannot be given: {error:?}"
                );
            }
        }
        pages.set_at_boot(
            guest.launched.base.get(),
            guest.launched.size.get() / PAGE_SIZE,
            PageState::Validated,
        );
        pages.set_at_boot(guest.caa_gpa.get(), 1, PageState::CallingArea);
    } else {
        secrets.zero();
    }
    give_back(params);
}

/// Fills the pages that the guest finds its environment in.
fn fill(
    params: &BootParams,
    pages: &PageMap<'static>,
    cpuid: &CpuidPage,
    secrets: &mut SecretsPage,
) -> Result<(), MemoryFault> {
    let guest = &params.guest;
    handoff::make_guest_secrets(secrets, params.svsm, guest.caa_gpa.get(), Vmpl::Vmpl2);
    mm::write_guest(guest.secrets_gpa.get(), secrets.as_bytes())?;
    // Nothing here needs the keys; the guest's copy is the only one left.
    secrets.zero();
    mm::write_guest(guest.cpuid_gpa.get(), cpuid.as_bytes())?;
    mm::zero_guest(guest.caa_gpa.get(), PAGE_SIZE)?;
    let area = &guest.memory_map;
    mm::zero_guest(area.base.get(), area.size.get())?;
    const ENTRY: u64 = size_of::<MemoryMapEntry>() as u64;
    for (i, entry) in handoff::memory_map_entries(pages.ram()).enumerate() {
        let offset = i as u64 * ENTRY;
        if offset + ENTRY > area.size.get() {
            return Err(MemoryFault);
        }
        mm::write_guest(area.base.get() + offset, entry.as_bytes())?;
    }
    Ok(())
}

/// Wipes and rescinds the low pages that the boot used: boot stage, CPUID and secrets pages become ordinary RAM.
fn give_back(params: &BootParams) {
    let firmware = [params.cpuid_gpa.get(), params.secrets_gpa.get()];
    for gpa in pages_of(&params.boot_stage_launched).chain(firmware) {
        if mm::zero_guest(gpa, PAGE_SIZE).is_err() {
            fatal!(
                Reason::GuestLaunch,
                "boot stage: page {gpa:#x} cannot be wiped"
            );
        }
        match mm::pvalidate_guest(gpa, PageSize::Size4K, false) {
            Ok(Validation::Changed) => {}
            other => fatal!(
                Reason::Validation,
                "boot stage: page {gpa:#x} not rescinded: {other:?}"
            ),
        }
    }
}

fn pages_of(range: &GpaRange) -> impl Iterator<Item = u64> {
    let base = range.base.get();
    (0..range.size.get() / PAGE_SIZE).map(move |page| base + page * PAGE_SIZE)
}

/// Starts the guest on the boot CPU and serves it.
pub fn start(params: &BootParams, kernel: &'static Kernel, launch: &Launch) -> ! {
    let Some(vmsa) = launch.vmsa else {
        if platform::kind() == Kind::Native {
            fatal!(
                Reason::NoGuest,
                "the native platform has no privilege level for a guest; done"
            );
        }
        fatal!(Reason::NoGuest, "no guest in the image; done");
    };
    let vcpu = &kernel.vcpus[0];
    vcpu.set_guest(Some((vmsa.gpa(), params.guest.caa_gpa.get())));
    or_stop!(platform().register_guest(vcpu.apic_id(), vmsa.gpa(), launch.features));
    log!("guest: starting at {:#x}, VMPL2", params.guest.entry);
    crate::serve::run(0)
}
